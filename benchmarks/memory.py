"""Peak memory of the process that asks."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak_mb() -> int:
    """Return the most memory this process ever had resident, MB.

    Linux tells it of the program alone; `ru_maxrss` also holds what the process had that started it.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return round(int(found[1]) / 1024)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
