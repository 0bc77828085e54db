"""The calibration benchmark's modules, whose drawn cohorts the tests share; it is a folder of scripts, no package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks" / "calibration"

sys.path.insert(0, str(FOLDER))
try:
    # Their types are checked where they live.
    designs, judge, run, simulate, summarise = (
        import_module(name) for name in ("designs", "judge", "run", "simulate", "summarise")
    )
finally:
    sys.path.remove(str(FOLDER))
