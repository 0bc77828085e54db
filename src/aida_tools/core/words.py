"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


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


def left_out(unit: str, n: int, of: int, reasons: Mapping[str, int], most: int = 4) -> str:
    """Say what a step leaves out: `3 of 120 samples (age is missing: 2, control sample: 1)`."""
    ranked = sorted(reasons.items(), key=lambda reason: -reason[1])
    said = [f"{why}: {n_of:,}" for why, n_of in ranked[:most]]
    said += [counted(len(ranked) - most, "further reason")] if len(ranked) > most else []
    return f"{n:,} of {counted(of, unit)} ({', '.join(said)})"


def units(name: str, unit: str = "cells") -> str:
    """Write a type with what is counted of it: `Treg cells`, `B cells` (of `B cell` and `B cells`)."""
    one = unit.removesuffix("s")
    if re.search(rf"\b{one}s?$", name, re.IGNORECASE):
        return re.sub(rf"\b{one}$", unit, name)
    return f"{name} {unit}"


def labelled(text: str, labels: Mapping[str, str]) -> str:
    """Write the names of populations into a sentence of a table, which has their codes.

    Tables keep codes, by which they are joined; only what is shown has names. A code that differs from its name by
    capitals alone (`unknown`) may be a word of the sentence and stays.

    Parameters
    ----------
    text
        Such as `no batch holds both SG_Malay and Thai`.
    labels
        Population code -> name to print.
    """
    codes = [code for code, label in labels.items() if code.casefold() != label.casefold()]
    if not codes:
        return text
    pattern = "|".join(map(re.escape, sorted(codes, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)({pattern})(?!\w)", lambda found: labels[found[0]], text)


def cell(value: Any) -> str:
    """Write one value of a table: short numbers, empty for missing."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value == int(value) and abs(value) < 1e6:
            return f"{int(value):,}"
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
