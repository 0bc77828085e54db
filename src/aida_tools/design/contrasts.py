"""Contrasts as they are written: `population: A - B`, `population: A - rest`, `sex: male - female`, `age`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.design.formula import ParsedFormula

#: The column of populations, and the word for all other levels of a column together.
POPULATION, REST = "population", "rest"
#: The population of control samples, where they stay in the models; it is never on a side that is not named.
CONTROL = "control"


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

    @classmethod
    def parse(cls, text: str, levels: Collection[str] = ()) -> Contrast:
        """Read a contrast as tables have it.

        Parameters
        ----------
        text
            Such as `population: Korean - rest`, or `age`.
        levels
            Names of levels, to find the minus between two that hold ' - ' themselves; without them, or where none
            fits, the first minus is it.
        """
        column, colon, sides = text.partition(": ")
        if not colon:
            return cls(column)
        parts = sides.split(" - ")
        cuts = [(" - ".join(parts[:k]), " - ".join(parts[k:])) for k in range(1, len(parts))]
        if not cuts:
            return cls(column, sides)
        known = (cut for cut in cuts if cut[0] in levels and (cut[1] in levels or cut[1] == REST))
        # `rest` is no name of a level: what stands before it is the whole other side.
        return cls(column, *next(known, cuts[-1] if parts[-1] == REST else cuts[0]))

    def __str__(self) -> str:
        return f"{self.column}: {self.a} - {self.b}" if self.a else self.column

    @property
    def kind(self) -> str:
        """`pair`, `rest` or `slope`: contrasts of one kind are corrected together."""
        return "rest" if self.b == REST else "pair" if self.a else "slope"

    @property
    def of_populations(self) -> bool:
        """Whether its sides are populations."""
        return self.column == POPULATION and bool(self.a)

    @property
    def refit(self) -> tuple[str, str] | None:
        """The column and level of the 0/1 dummy that a one-vs-rest contrast is fitted with."""
        return (self.column, self.a) if self.b == REST else None

    def flipped(self) -> Contrast:
        """Return the contrast with its sides exchanged."""
        return Contrast(self.column, self.b, self.a)

    def sides(self, labels: Mapping[str, str] | None = None) -> tuple[str, str]:
        """Return both sides as a reader knows them: names and not codes, `all others` for the rest; empty for a slope.

        Parameters
        ----------
        labels
            Population code -> name to print; a code that is not there is printed without its underscores. None for a
            sentence that is kept in a table: it has codes, which become names where it is shown.
        """

        def name(level: str) -> str:
            if self.column != POPULATION or labels is None:
                return level
            return labels.get(level, level.replace("_", " "))

        return name(self.a), "all others" if self.b == REST else name(self.b)

    def words(self, labels: Mapping[str, str] | None = None, between: str = " against ") -> str:
        """Write it for readers: `Korean against all others`, `male against female`, `age`; see `sides`."""
        return between.join(self.sides(labels)) if self.a else self.column


def split(contrasts: pd.Series, parse: Callable[[str], Contrast] = Contrast.parse) -> pd.DataFrame:
    """Read a column of contrasts: `column, a, b, kind` and `of_populations`, with the index of the column."""
    read = {text: parse(text) for text in contrasts.unique()}
    rows = [(c.column, c.a, c.b, c.kind, c.of_populations) for c in (read[text] for text in contrasts)]
    table = pd.DataFrame(rows, columns=["column", "a", "b", "kind", "of_populations"], index=contrasts.index)
    return table.astype({"of_populations": bool})


def _levels(text: str, sides: str, levels: list[str]) -> tuple[str, str]:
    parts = sides.split(" - ")
    # A level may itself hold ' - ', so every place to cut is tried.
    for cut in range(1, len(parts)):
        a, b = " - ".join(parts[:cut]).strip(), " - ".join(parts[cut:]).strip()
        if a in levels and (b in levels or b == REST) and a != b:
            return a, b
    if len(parts) != 2:
        raise AidaError(
            f"--contrast '{text}': write the two sides as 'population: A - B', with spaces around the minus."
        )
    a, b = (part.strip() for part in parts)
    if a == b:
        raise AidaError(f"--contrast '{text}': both sides are '{a}'.")
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


def rest_of(level: str, values: pd.Series) -> list[str]:
    """Return the levels that are the rest of one: all others but the controls."""
    return sorted(set(values.dropna().astype(str)) - {level, CONTROL})


def all_pairs(column: str, levels: list[str]) -> list[Contrast]:
    """Return every pair of levels, in their order."""
    return [Contrast(column, a, b) for a, b in itertools.combinations(levels, 2)]


def one_vs_rest(column: str, levels: list[str]) -> list[Contrast]:
    """Return each level against all others together (nothing for two levels: that is their pair)."""
    return [Contrast(column, a, REST) for a in levels] if len(levels) > 2 else []
