"""What must hold between the columns of a cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.cohort.columns import ObsReader, text_of
from aida_tools.cohort.labels import resolve_labels
from aida_tools.core.cohort_file import CohortConfig
from aida_tools.core.errors import AidaError, did_you_mean


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distinct pairs of two codes (-1 in the second is a value like others), shape (2, n_pairs)."""
    width = int(b.max()) + 2
    distinct = pd.unique(a.astype(np.int64) * width + (b + 1))
    return np.stack([distinct // width, distinct % width - 1])


def check_one_per_donor(cells: pd.DataFrame, column: str, source: Path | str) -> None:
    """Check that a column has one value in each donor.

    Raises
    ------
    AidaError
        Naming the first donor with several values, and these.
    """
    donor = cells["donor_id"].cat
    codes, _ = pd.factorize(cells[column])
    pairs = _pairs(donor.codes.to_numpy(), codes)
    twice = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if len(twice):
        name = donor.categories[twice[0]]
        values = cells.loc[cells["donor_id"] == name, column].unique()
        listed = ", ".join("missing" if pd.isna(v) else text_of(v) for v in values[:5])
        raise AidaError(
            f"{source}: donor_id '{name}' has {len(values)} values of '{column}': {listed} ({len(twice)} such donors). "
            "Correct the data or the column mapping; people measured twice at different ages need two donor ids."
        )


def check_partitions(cells: pd.DataFrame, reader: ObsReader, cohort: CohortConfig) -> list[str]:
    """Compare canonical columns with obs columns that must divide the cells in the same way."""
    warnings = []
    for key, column in cohort.checks.one_to_one.items():
        ours = cells[key].cat
        codes, values = reader.levels(column)
        pairs = _pairs(ours.codes.to_numpy(), codes)
        for here, names, there, others in (
            (pairs[0], ours.categories, pairs[1], values),
            (pairs[1], values, pairs[0], ours.categories),
        ):
            several = np.flatnonzero(np.bincount(here) > 1)
            if len(several):
                first = ", ".join(f"'{others[i]}'" for i in there[here == several[0]][:3])
                warnings.append(
                    f"{reader.source}: '{key}' and obs column '{column}' are not one to one: "
                    f"'{names[several[0]]}' goes with {first} ({len(several)} such)."
                )
                break
    return warnings


def check_sets(cells: pd.DataFrame, reader: ObsReader, cohort: CohortConfig, cohort_path: Path | str) -> list[str]:
    """Resolve the labels, so that a hole in the cohort file shows now, and compare sets with other columns."""
    if cohort.labels.column is None and cohort.labels.ids is None:
        return []
    cell_type, sets = resolve_labels(cohort.labels, cells["author_label"], cells["cell_type_id"], str(cohort_path))
    warnings = []
    for name, check in cohort.checks.sets.items():
        if name not in sets:
            raise AidaError(
                f"{cohort_path}: key 'checks.sets.{name}': there is no such set. {did_you_mean(name, sets)}"
            )
        codes, values = reader.levels(check.column)
        differs = np.flatnonzero(cell_type.isin(sets[name]).to_numpy() != np.isin(values, check.values)[codes])
        if len(differs):
            warnings.append(
                f"{reader.source}: set '{name}' and obs column '{check.column}' disagree about {len(differs)} cells, "
                f"first {reader.describe(differs)} with label '{cells['author_label'].iloc[differs[0]]}'."
            )
    return warnings
