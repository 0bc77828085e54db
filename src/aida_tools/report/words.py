"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def percent(share: float) -> str:
    """Write a share (0-1) as a percentage with two significant digits at least: 0.0233 is `2.3 %`."""
    value = 100 * share
    digits = 1 if abs(value) >= 1 else 2
    return f"{value:.{digits}f} %"


def p_value(value: float) -> str:
    """Write a p-value as journals do: `p = 0.034`, `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def interval(value: float, low: float, high: float) -> str:
    """Write an estimate with its 95 % interval: `0.50 (95 % interval 0.34 to 0.76)`."""
    if math.isnan(low) or math.isnan(high):
        return f"{value:.2f} (no interval)"
    return f"{value:.2f} (95 % interval {low:.2f} to {high:.2f})"


def listed(names: Sequence[str]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])


def counted(n: int, word: str, plural: str | None = None) -> str:
    """Write a number with its noun: `1 batch`, `1,204 donors`."""
    return f"{n:,} {word if n == 1 else plural or f'{word}s'}"


def cell(value: Any) -> str:
    """Write one value of a table: short numbers, empty for missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value == int(value) and abs(value) < 1e6:
            return f"{int(value):,}"
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
