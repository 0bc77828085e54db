"""Contrasts as they are written: `population: A - B`, `population: A - rest`, `sex: male - female`, `age`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pandas as pd

from aida_tools.compare.formula import ParsedFormula
from aida_tools.errors import AidaError, did_you_mean

REST = "rest"


@dataclass(frozen=True)
class Contrast:
    """Two sides of a column, or a step of one unit of a numeric column.

    Attributes
    ----------
    column
        Column of the samples table, such as `population`.
    a, b
        Its two levels; `b` is `rest` for all others together. Both empty for the step of a number.
    """

    column: str
    a: str = ""
    b: str = ""

    def __str__(self) -> str:
        return f"{self.column}: {self.a} - {self.b}" if self.a else self.column

    @property
    def kind(self) -> str:
        """`pair`, `rest` or `slope`: contrasts of one kind are corrected together."""
        return "rest" if self.b == REST else "pair" if self.a else "slope"

    @property
    def refit(self) -> tuple[str, str] | None:
        """The column and level of the 0/1 dummy that a one-vs-rest contrast is fitted with."""
        return (self.column, self.a) if self.b == REST else None


def _levels(text: str, sides: str, levels: list[str]) -> tuple[str, str]:
    parts = sides.split(" - ")
    # A level may itself hold ' - ', so every place to cut is tried.
    for cut in range(1, len(parts)):
        a, b = " - ".join(parts[:cut]).strip(), " - ".join(parts[cut:]).strip()
        if a in levels and (b in levels or b == REST) and a != b:
            return a, b
    if len(parts) != 2:
        msg = f"--contrast '{text}': write the two sides as 'population: A - B', with spaces around the minus."
        raise AidaError(msg)
    a, b = (part.strip() for part in parts)
    if a == b:
        msg = f"--contrast '{text}': both sides are '{a}'."
        raise AidaError(msg)
    absent = a if a not in levels else b
    raise AidaError(f"--contrast '{text}': '{absent}' is not in the samples. {did_you_mean(absent, levels)}")


def parse_contrast(text: str, formula: ParsedFormula, samples: pd.DataFrame) -> Contrast:
    """Read one contrast.

    Parameters
    ----------
    text
        Such as `population: Korean - Japanese`, `population: Korean - rest`, `sex: male - female` or `age`.
    formula
        Its column must be in it.
    samples
        The samples table before filters: a level that was there and was filtered out is not a typing mistake.

    Raises
    ------
    AidaError
        Naming the contrast, the unknown column or level, and the nearest known one.
    """
    column, _, sides = (part.strip() for part in text.partition(":"))
    if column not in formula.variables:
        hint = did_you_mean(column, formula.variables)
        raise AidaError(f"--contrast '{text}': column '{column}' is not in the formula '{formula.text}'. {hint}")
    numeric = pd.api.types.is_numeric_dtype(samples[column])
    if numeric and not sides:
        return Contrast(column)
    if numeric:
        raise AidaError(f"--contrast '{text}': '{column}' is a number; write '{column}' alone for one unit of it.")
    levels = sorted(samples[column].dropna().astype(str).unique())
    if not sides:
        example = " - ".join([*levels, "B"][:2])
        raise AidaError(f"--contrast '{text}': '{column}' has levels; write two of them: '{column}: {example}'.")
    return Contrast(column, *_levels(text, sides, levels))


def all_pairs(column: str, levels: list[str]) -> list[Contrast]:
    """Return every pair of levels, in their order."""
    return [Contrast(column, a, b) for a, b in itertools.combinations(levels, 2)]


def one_vs_rest(column: str, levels: list[str]) -> list[Contrast]:
    """Return each level against all others together (nothing for two levels: that is their pair)."""
    return [Contrast(column, a, REST) for a in levels] if len(levels) > 2 else []
