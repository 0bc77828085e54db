"""The section of the page on what such a comparison can find."""

from __future__ import annotations

import pandas as pd

from aida_tools.power.tables import POWER
from aida_tools.results.page import Labels, Section, register
from aida_tools.results.results import Results
from aida_tools.results.words import clear, effect, of_contrast, steps


def limits(results: Results, labels: Labels) -> list[str]:
    """Say what could have been found, where the headline is that nothing was."""
    row = results.headline()
    if row is None or clear(row):
        return []
    least = of_contrast(results.of_focus(results[POWER]), row).get("mdor")
    if pd.isna(least):
        return []
    contrast = results.contrast(row["contrast"])
    least **= steps(contrast)
    of = "" if contrast.a else f" for {effect(contrast)}"
    return [
        f"This comparison has 80 % power to find an odds ratio of {least:.2f} (or {1 / least:.2f}){of}; it would "
        "mostly miss one nearer to 1."
    ]


register(Section("power", "What could have been found?", place=50, limits=limits))
