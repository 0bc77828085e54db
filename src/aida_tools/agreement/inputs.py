"""What is read: the cells and how they are sorted into strata, and what each annotator says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aida_tools.agreement import kernel
from aida_tools.annotate.card import CARD, read_card
from aida_tools.annotate.combine import UNRESOLVED
from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of
from aida_tools.core.schema import read_tsv
from aida_tools.core.tables import CELLS, EXPECTED, LABELS, SETS, read_cells, read_denominators
from aida_tools.scan.tables import SCAN

ALL = "all"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """One annotator's answers on every cell.

    Attributes
    ----------
    name
        Its name.
    types
        Counted type of each cell, categorical; missing where it has none.
    sets
        Denominator -> its counted types.
    score
        Its score for the focus type against the rest of the narrowest set that holds it, natural logarithm of odds
        where `probable`; shape (n_cells,), NaN where it has none. None where it scores no cell.
    probable
        Whether the score is the log odds of a probability.
    card
        What `annotator.json` says of it; empty without one.
    expected
        Expected number of cells of the focus type in each sample; None where it gives none.
    """

    name: str
    types: pd.Categorical
    sets: dict[str, set[str]]
    score: kernel.Floats | None
    probable: bool
    card: dict[str, Any]
    expected: pd.Series | None

    def among(self, names: set[str]) -> Mask:
        """Return which cells have one of these types, shape (n_cells,)."""
        # Categories are few and cells are many.
        known = np.append(self.types.categories.isin(sorted(names)), False)
        return np.asarray(known[self.types.codes], dtype=bool)

    def knows(self, cell_type: str) -> bool:
        """Return whether it has a word for this type: an annotator without this type cannot be the reference."""
        return cell_type in self.types.categories or any(cell_type in members for members in self.sets.values())

    def inside(self, denominator: str) -> Mask:
        """Return which cells it puts in a denominator; `all` is every cell with a label."""
        return self.types.codes >= 0 if denominator == ALL else self.among(self.sets[denominator])

    def unresolved(self, names: Sequence[str]) -> Mask:
        """Return which cells it leaves unresolved."""
        suffixed = [t for t in self.types.categories if str(t).endswith(f"_{UNRESOLVED}")]
        return self.among({*names, *suffixed}) | (self.types.codes < 0)

    def narrowest(self, focus: str) -> str:
        """Return its smallest denominator that holds the focus type; `all` where none does."""
        return min((s for s in self.sets if focus in self.sets[s]), key=lambda s: (len(self.sets[s]), s), default=ALL)


@dataclass(frozen=True)
class Stratum:
    """Atoms sorted into levels, and in each by donor.

    Attributes
    ----------
    name
        Such as `site`.
    levels
        Names of the levels.
    group
        Group (donor in a level) of each atom, shape (n_atoms,); -1 where it has no level.
    level
        Level of each group, shape (n_groups,).
    """

    name: str
    levels: list[str]
    group: NDArray[np.int64]
    level: NDArray[np.int64]

    def gather[T: np.generic](self, tables: NDArray[T]) -> NDArray[T]:
        """Add up the tables of atoms, shape (n_atoms, ...), in every group: shape (n_groups, ...)."""
        out = np.zeros((len(self.level), *tables.shape[1:]), tables.dtype)
        known = self.group >= 0
        np.add.at(out, self.group[known], tables[known])
        return out


@dataclass(frozen=True)
class Cells:
    """Where the cells stand: cells alike in donor, site, batch and depth are one atom, which all strata are made of.

    Attributes
    ----------
    atom
        Atom of each cell, shape (n_cells,).
    donor
        Donor of each atom as a code, shape (n_atoms,).
    sample
        Sample -> one of its atoms; all of them are of the same donor, site and batch.
    strata
        The strata.
    depth
        Least depth and number of cells of each tenth; None without a scan.
    """

    atom: NDArray[np.int32]
    donor: NDArray[np.int64]
    sample: pd.Series
    strata: list[Stratum]
    depth: pd.DataFrame | None

    def tabulate(self, a: Mask, b: Mask, keep: Mask) -> NDArray[np.int64]:
        """Count the answers of two annotators in every atom; see `kernel.tabulate`."""
        return kernel.tabulate(a, b, self.atom, len(self.donor), keep)

    def chosen(self, *names: str) -> list[Stratum]:
        """Return the strata of these names."""
        return [stratum for stratum in self.strata if stratum.name in names]


def sort_cells(cells: pd.DataFrame, total: NDArray[np.number] | None) -> Cells:
    """Sort cells into atoms and strata.

    Parameters
    ----------
    cells
        Columns `sample_id, donor_id, site, batch`; a cell may lack the last two.
    total
        Counts of each cell, shape (n_cells,).
    """
    columns = {"site": "site", "batch": "batch", "donor": "donor_id"}
    known = {name: pd.factorize(cells[column].astype(object), sort=True) for name, column in columns.items()}
    codes = {name: code for name, (code, _) in known.items()}
    levels = {name: list(level) for name, (_, level) in known.items()}
    depth = None
    if total is not None:
        codes["depth"], edges = kernel.depth_bins(total)
        levels["depth"] = list(range(1, len(edges) + 1))
        n_cells = np.bincount(codes["depth"], minlength=len(edges))
        depth = pd.DataFrame({"depth": levels["depth"], "least_counts": edges, "n_cells": n_cells})
    key = np.zeros(len(cells), dtype=np.int64)
    for name, code in codes.items():
        key = key * (len(levels[name]) + 1) + code + 1
    keys, first, atom = np.unique(key, return_index=True, return_inverse=True)
    of_atom = {name: code[first].astype(np.int64) for name, code in codes.items()}
    of_atom = {ALL: np.zeros(len(keys), dtype=np.int64)} | of_atom
    levels = {ALL: [ALL]} | levels
    if depth is not None:
        n = len(depth)
        of_atom["site|depth"] = np.where(of_atom["site"] >= 0, of_atom["site"] * n + of_atom["depth"], -1)
        levels["site|depth"] = [f"{site}|{tenth}" for site in levels["site"] for tenth in levels["depth"]]
    strata = [_stratum(name, of_atom[name], levels[name], of_atom["donor"]) for name in levels]
    small: NDArray[np.int32] = atom.astype(np.int32)
    sample = pd.Series(small, index=cells["sample_id"].to_numpy(object))
    return Cells(small, of_atom["donor"], sample[~sample.index.duplicated()], strata, depth)


def _stratum(name: str, level: NDArray[np.int64], levels: Sequence[Any], donor: NDArray[np.int64]) -> Stratum:
    known = level >= 0
    n_donors = int(donor.max()) + 1
    keys, places = np.unique(level[known] * n_donors + donor[known], return_inverse=True)
    group = np.full(len(level), -1, dtype=np.int64)
    group[known] = places
    return Stratum(name, [str(one) for one in levels], group, keys // n_donors)


def read_where(cells_path: Path, scan_path: Path | None) -> tuple[NDArray[Any], Cells, list[Path]]:
    """Read the cells, and their depth if there is a scan.

    Returns
    -------
    Ids of the cells, shape (n_cells,); where they stand; the files that were read.

    Raises
    ------
    AidaError
        If a file is missing, has no cell, or the scan is of other cells.
    """
    cells_path = file_of(cells_path, CELLS.file)
    table = read_cells(cells_path, columns=["cell_id", "sample_id", "donor_id", "site", "batch"])
    if table.empty:
        raise AidaError(f"{cells_path}: there is no cell in this cohort. Check the filters of the cohort file.")
    ids = table["cell_id"].to_numpy()
    if scan_path is None:
        return ids, sort_cells(table, None), [cells_path]
    scan_path = file_of(scan_path, SCAN.file)
    scan = read_cells(scan_path, columns=["cell_id", "total"])
    _check_ids(scan_path, scan, cells_path, ids, "scan")
    return ids, sort_cells(table, scan["total"].to_numpy()), [cells_path, scan_path]


def _check_ids(path: Path, table: pd.DataFrame, cells_path: Path, ids: NDArray[Any], command: str) -> None:
    if not np.array_equal(table["cell_id"].to_numpy(), ids):
        raise AidaError(
            f"{path}: its {len(table)} cells are not the {len(ids)} cells of {cells_path}, in the same order. "
            f"Run `aida-tools {command}` again on the same fetch."
        )


def read_annotator(
    folder: Path, cells_path: Path, ids: NDArray[Any], cells: Cells, focus: str
) -> tuple[Answers, list[Path]]:
    """Read what an annotator says of the cells, and what is said of it.

    Parameters
    ----------
    folder
        Folder of `aida-tools annotate`, named after the annotator.
    cells_path, ids, cells
        The cells that it must be of, in this order.
    focus
        The focus type, whose scores are read.

    Returns
    -------
    The annotator, and the files that were read.

    Raises
    ------
    AidaError
        If a file is missing or wrong.
    """
    path = folder / LABELS.file
    labels = read_cells(path, columns=["cell_id", "cell_type"])
    _check_ids(path, labels, cells_path, ids, "annotate")
    sets = read_denominators(folder / SETS.file)
    members = {str(name): set(rows) for name, rows in sets.groupby("denominator")["cell_type"]}
    margin = f"margin_{focus}"
    score, probable = None, False
    if margin in pq.read_schema(path).names:
        numbers = read_cells(path, columns=[margin, "probability"])
        for column in numbers:
            if not pd.api.types.is_numeric_dtype(numbers[column]):
                raise AidaError(f"{path}: column '{column}' holds no numbers. Run `aida-tools annotate` again.")
        score = numbers[margin].to_numpy(float) if numbers[margin].notna().any() else None
        probable = score is not None and bool(numbers["probability"].notna().any())
    read, card = [path, folder / SETS.file], {}
    # Labels by other means may come without.
    if (folder / CARD).is_file():
        card = read_card(folder)
        read.append(folder / CARD)
    expected = None
    if (folder / EXPECTED.file).is_file():
        expected = _read_expected(folder / EXPECTED.file, cells, focus)
        read.append(folder / EXPECTED.file)
    return Answers(folder.name, pd.Categorical(labels["cell_type"]), members, score, probable, card, expected), read


def _read_expected(path: Path, cells: Cells, focus: str) -> pd.Series:
    """Read the expected number of cells of the focus type in each sample; a sample without a row has none."""
    table = EXPECTED.check(read_tsv(path), path)
    unknown = table.loc[~table["sample_id"].isin(cells.sample.index), "sample_id"]
    if len(unknown):
        raise AidaError(
            f"{path}: sample '{unknown.iloc[0]}' is not one of these cells'. Run `aida-tools annotate` again."
        )
    return table[table["cell_type"] == focus].groupby("sample_id")["n_expected"].sum()
