"""Reading obs columns as a cohort file says: source column, pattern, levels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.cohort.read import INDEX
from aida_tools.core.cohort_file import Column
from aida_tools.core.errors import AidaError


class ObsReader:
    """Turns obs columns into canonical ones, level by level: some hundred of them, however many the cells."""

    def __init__(self, obs: pd.DataFrame, source: Path | str, cohort_path: Path | str) -> None:
        self.obs = obs
        self.source = source
        self.cohort_path = cohort_path
        self._factorized: dict[str, tuple[np.ndarray, list[str]]] = {}

    def levels(self, column: str) -> tuple[np.ndarray, list[str]]:
        """Return codes, shape (n_cells,), and their levels as text; missing is the level ''."""
        if column not in self._factorized:
            codes, values = pd.factorize(self.obs[column])
            levels = [text_of(v) for v in np.asarray(values, dtype=object).tolist()]
            if (codes < 0).any():
                codes = np.where(codes < 0, len(levels), codes)
                levels.append("")
            self._factorized[column] = codes, levels
        return self._factorized[column]

    def describe(self, rows: np.ndarray) -> str:
        """Name the first of the cells at fault, and say how many there are."""
        return f"cell '{self.obs[INDEX].iloc[rows[0]]}' (row {rows[0] + 1}; {len(rows)} such cells)"

    def wrong(self, spec: Column, key: str, rows: np.ndarray, value: str, reason: str) -> AidaError:
        """Make the error for a value that cannot be turned into the canonical one."""
        where = f"obs column '{spec.column}', " if spec.column else ""
        return AidaError(
            f"{self.source}: {where}{self.describe(rows)}: value '{value}' {reason} "
            f"({self.cohort_path}, key 'columns.{key}')."
        )

    def raw(self, spec: Column, key: str) -> tuple[np.ndarray, list[str]]:
        """Read one column after its `pattern` and `levels`: codes, shape (n_cells,), and values ('' is missing)."""
        if spec.column is None:
            return np.zeros(len(self.obs), dtype=np.intp), [str(spec.value)]
        codes, values = self.levels(spec.column)
        if spec.pattern:
            search, group = (regex := re.compile(spec.pattern)).search, min(regex.groups, 1)
            # What is missing stays missing, for whoever reads the column to accept or refuse.
            found = [value and (match[group] if (match := search(value)) else None) for value in values]
            if None in found:
                i = found.index(None)
                reason = f"does not match the pattern {spec.pattern!r}. Correct the pattern"
                raise self.wrong(spec, key, np.flatnonzero(codes == i), values[i], reason)
            values = [str(value) for value in found]
        small, cut = pd.factorize(np.array(values, dtype=object))
        return small[codes], [spec.levels.get(v, v) for v in cut]

    def read(self, spec: Column, key: str, convert: Callable[[str], Any]) -> pd.Categorical:
        """Read one canonical column; `convert` may raise ValueError with the reason why a value is wrong."""
        codes, values = self.raw(spec, key)
        made = []
        for i, value in enumerate(values):
            try:
                made.append(convert(value))
            except ValueError as error:
                raise self.wrong(spec, key, np.flatnonzero(codes == i), value, str(error)) from error
        # Missing (None, nan) becomes code -1 here and stays -1 for the cells.
        small, unique = pd.factorize(np.array(made, dtype=object))
        return categorical(small[codes], unique)


def categorical(codes: np.ndarray, values: Iterable[Any]) -> pd.Categorical:
    """Make a categorical column of codes, shape (n_cells,), -1 for missing, and their values."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(values)))


def text_of(value: Any) -> str:
    """Write a value as the cohort file would: `1` for the number 1.0."""
    return value if isinstance(value, str) else f"{value:.15g}" if isinstance(value, float) else str(value)
