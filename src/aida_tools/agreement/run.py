"""From cells and the labels of several annotators to tables of agreement and error.

`confusion.tsv`, one row a pair of annotators and pair of cell types that some cell has: `annotator_a, annotator_b,
cell_type_a, cell_type_b, n_cells`. Pairs of types without a cell have no row; a cell without a label is `unlabelled`.

`agreement.tsv`, one row a `measure` in one level of one stratum (`all`, `site`, `batch`, `donor`, `depth`: tenth of the
cells by depth, 1 the shallowest; `site|depth`), with the columns of `kernel.Estimates`: intervals from cells alone
(`ci_...`) and between donors (`donor_ci_...`; to be preferred, as cells of a donor are alike). `within` is a set of
cell types, or `all` cells with a label. Measures of the focus type against all others:

- `rate`: its share of the cells that `annotator_a` puts in the set;
- `kappa`, `agreement`: Cohen's kappa, and the share of equal answers, among the cells that both put in the set;
- `sensitivity`, `specificity`, `precision`, `f1` of `annotator_b`, taking `annotator_a` for the truth, among the cells
  that the truth puts in the set. Cells the truth leaves unresolved tell nothing of error and are left out.

`unresolved.tsv`: the same columns for the share of cells without a definite label (the types of `--unresolved`, those
that end in `_unresolved`, and no label), by annotator and site.

`depth.tsv`: least depth and number of cells of every tenth. Only with a scan, as are the strata of depth.

`status`: `ok`; `undefined` (no cell to estimate from), `one_answer` (kappa with an annotator that gives one answer),
`no_spread` (0 or 1: no interval between donors), `one_donor` (none either); `note` says it in words.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.agreement import kernel
from aida_tools.annotate.combine import UNRESOLVED
from aida_tools.annotate.run import AUTHOR, LABELS, SETS
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import staged
from aida_tools.scan.run import SCAN
from aida_tools.tables import read_cells, read_denominators, write_tsv

ALL, UNLABELLED = "all", "unlabelled"
_KEYS = ("annotator_a", "annotator_b", "within", "stratum", "level", "measure")
COLUMNS = (*_KEYS, *(f.name for f in fields(kernel.Estimates)), "status", "note")

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Options:
    """What to look at; see `aida-tools agreement --help`."""

    truth: str | None = None
    focus: str = "Treg"
    within: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ("CD4+_T", "T", UNRESOLVED)


@dataclass(frozen=True)
class Annotator:
    """One annotator's answers on every cell.

    Attributes
    ----------
    name
        Its name.
    types
        Counted type of each cell, categorical; missing where it has none.
    sets
        Denominator -> its counted types.
    """

    name: str
    types: pd.Categorical
    sets: dict[str, set[str]]

    def among(self, names: set[str]) -> Mask:
        """Return which cells have one of these types, shape (n_cells,)."""
        # Categories are few and cells are many.
        known = np.append(self.types.categories.isin(sorted(names)), False)
        return np.asarray(known[self.types.codes], dtype=bool)

    def inside(self, denominator: str) -> Mask:
        """Return which cells it puts in a denominator; `all` is every cell with a label."""
        return self.types.codes >= 0 if denominator == ALL else self.among(self.sets[denominator])

    def unresolved(self, names: Sequence[str]) -> Mask:
        """Return which cells it leaves unresolved."""
        suffixed = [t for t in self.types.categories if str(t).endswith(f"_{UNRESOLVED}")]
        return self.among({*names, *suffixed}) | (self.types.codes < 0)


@dataclass(frozen=True)
class Stratum:
    """The cells sorted into levels, and in each by donor.

    Attributes
    ----------
    name
        Such as `site`.
    levels
        Names of the levels.
    group
        Group (donor in a level) of each cell, shape (n_cells,); -1 where the cell has no level.
    level
        Level of each group, shape (n_groups,).
    """

    name: str
    levels: list[str]
    group: NDArray[np.int64]
    level: NDArray[np.int64]

    def tabulate(self, a: Mask, b: Mask, keep: Mask) -> NDArray[np.int64]:
        """See `kernel.tabulate`."""
        return kernel.tabulate(a, b, self.group, len(self.level), keep)


def make_stratum(name: str, codes: NDArray[np.integer], levels: Sequence[Any], donors: NDArray[np.integer]) -> Stratum:
    """Sort cells into levels, and in each by donor.

    Parameters
    ----------
    name
        Name of the stratum.
    codes
        Level of each cell, shape (n_cells,), places in `levels`; -1 is left out.
    levels
        Names of the levels.
    donors
        Donor of each cell as a code, shape (n_cells,).
    """
    n_donors = int(donors.max()) + 1
    group, keys = pd.factorize(np.where(codes >= 0, codes.astype(np.int64) * n_donors + donors, -1))
    # The cells without a level have the key -1: their group is taken out and the later ones move up.
    none = np.flatnonzero(keys < 0)
    if len(none):
        group = np.where(group == none[0], -1, group - (group > none[0]))
        keys = np.delete(keys, none)
    return Stratum(name, [str(level) for level in levels], group, keys // n_donors)


def _strata(cells: pd.DataFrame, total: NDArray[np.number] | None) -> tuple[list[Stratum], pd.DataFrame | None]:
    """Return the strata, and the table of depth."""
    columns = {"site": "site", "batch": "batch", "donor": "donor_id"}
    known = {name: pd.factorize(cells[column].astype(object), sort=True) for name, column in columns.items()}
    donors = known["donor"][0]
    known = {ALL: (np.zeros(len(cells), dtype=np.int64), pd.Index([ALL]))} | known
    depth = None
    if total is not None:
        bins, edges = kernel.depth_bins(total)
        n = len(edges)
        tenths = pd.Index(range(1, n + 1))
        depth = pd.DataFrame({"depth": tenths, "least_counts": edges, "n_cells": np.bincount(bins, minlength=n)})
        site, sites = known["site"]
        both = pd.Index([f"{s}|{d}" for s in sites for d in tenths], dtype=object)
        known |= {"depth": (bins, tenths), "site|depth": (np.where(site >= 0, site * n + bins, -1), both)}
    return [make_stratum(name, codes, list(levels), donors) for name, (codes, levels) in known.items()], depth


def _rows(stratum: Stratum, keys: dict[str, str | None], estimates: kernel.Estimates, undefined: str) -> pd.DataFrame:
    """Arrange one measure in all levels of a stratum, each with its status."""
    table = pd.DataFrame(asdict(estimates)).assign(**keys, stratum=stratum.name, level=stratum.levels)
    share = table["estimate"]
    states = {
        "undefined": (share.isna(), undefined),
        "one_answer": (
            (keys["measure"] == "kappa") & table["std_error"].isna() & (share < 1),
            "one annotator gives these cells a single answer: kappa is 0 whatever the other says",
        ),
        "no_spread": (
            (share == 1) | ((share == 0) & (keys["measure"] != "kappa")),
            "the same in all cells: no interval between donors",
        ),
        "one_donor": (table["n_donors"] < 2, "one donor: the interval is of its cells alone"),
    }
    conditions = [condition for condition, _ in states.values()]
    table["status"] = np.select(conditions, list(states), "ok")
    table["note"] = pd.Series(np.select(conditions, [note for _, note in states.values()], "")).replace("", None)
    return table[list(COLUMNS)]


def rates(one: Annotator, strata: Sequence[Stratum], within: str, focus: str) -> Iterator[pd.DataFrame]:
    """Give an annotator's rate of the focus type in a set, in every stratum; tables with the columns `COLUMNS`."""
    inside, is_focus = one.inside(within), one.among({focus})
    keys = {"annotator_a": one.name, "annotator_b": None, "within": within, "measure": "rate"}
    for s in strata:
        tables = s.tabulate(is_focus, is_focus, inside)
        found = kernel.share(tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        yield _rows(s, keys, found, f"{one.name} puts no cell in '{within}'")


def agreements(
    a: Annotator, b: Annotator, strata: Sequence[Stratum], within: str, focus: str
) -> Iterator[pd.DataFrame]:
    """Give kappa and the share of equal answers of two annotators in a set; tables with the columns `COLUMNS`."""
    keys: dict[str, str | None] = {"annotator_a": a.name, "annotator_b": b.name, "within": within}
    both = a.inside(within) & b.inside(within)
    for s in strata:
        tables = s.tabulate(a.among({focus}), b.among({focus}), both)
        equal = kernel.share(tables[:, 0, 0] + tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        beyond = kernel.kappa(tables, s.level, len(s.levels))
        yield _rows(s, keys | {"measure": "kappa"}, beyond, "no cells, or one answer to all of them by both")
        yield _rows(s, keys | {"measure": "agreement"}, equal, f"no cell that both put in '{within}'")


def errors(
    truth: Annotator, b: Annotator, strata: Sequence[Stratum], within: str, options: Options
) -> Iterator[pd.DataFrame]:
    """Give sensitivity, specificity, precision and F1 of an annotator in a set; tables with the columns `COLUMNS`."""
    focus = options.focus
    keys: dict[str, str | None] = {"annotator_a": truth.name, "annotator_b": b.name, "within": within}
    keep = truth.inside(within) & ~truth.unresolved(options.unresolved) & b.inside(ALL)
    for s in strata:
        tables = s.tabulate(truth.among({focus}), b.among({focus}), keep)
        both, n = tables[:, 1, 1], len(s.levels)
        shares = {
            "sensitivity": (both, tables[:, 1].sum(axis=1), f"no {focus} by {truth.name}"),
            "specificity": (tables[:, 0, 0], tables[:, 0].sum(axis=1), f"all cells are {focus} by {truth.name}"),
            "precision": (both, tables[:, :, 1].sum(axis=1), f"no {focus} by {b.name}"),
        }
        for measure, (hits, totals, undefined) in shares.items():
            yield _rows(s, keys | {"measure": measure}, kernel.share(hits, totals, s.level, n), undefined)
        yield _rows(s, keys | {"measure": "f1"}, kernel.f1(tables, s.level, n), f"no {focus} by either")


def confusion(a: Annotator, b: Annotator) -> pd.DataFrame:
    """Count the pairs of types that two annotators give the cells; pairs without a cell have no row."""
    columns = {"cell_type_a": a.types, "cell_type_b": b.types}
    pairs = pd.DataFrame({c: pd.Series(types).astype(object).fillna(UNLABELLED) for c, types in columns.items()})
    table = pairs.groupby(list(columns)).size().reset_index(name="n_cells")
    table.insert(0, "annotator_a", a.name)
    table.insert(1, "annotator_b", b.name)
    return table


def unresolved(one: Annotator, strata: Sequence[Stratum], names: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Give the share of cells an annotator leaves unresolved; tables with the columns `COLUMNS`."""
    open_, everyone = one.unresolved(names), np.ones(len(one.types), dtype=bool)
    keys = {"annotator_a": one.name, "annotator_b": None, "within": ALL, "measure": UNRESOLVED}
    for s in strata:
        tables = s.tabulate(open_, open_, everyone)
        found = kernel.share(tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        yield _rows(s, keys, found, "no cells")


def _check_cells(path: Path, table: pd.DataFrame, cells_path: Path, cells: pd.DataFrame, command: str) -> None:
    if len(table) != len(cells) or not (table["cell_id"].to_numpy() == cells["cell_id"].to_numpy()).all():
        msg = (
            f"{path}: its {len(table)} cells are not the {len(cells)} cells of {cells_path}, in the same order. "
            f"Run `aida-tools {command}` again on the same fetch."
        )
        raise AidaError(msg)


def _read_annotator(folder: Path, cells_path: Path, cells: pd.DataFrame) -> Annotator:
    labels = read_cells(folder / LABELS, columns=["cell_id", "cell_type"])
    _check_cells(folder / LABELS, labels, cells_path, cells, "annotate")
    sets = read_denominators(folder / SETS)
    members = {str(name): set(rows) for name, rows in sets.groupby("denominator")["cell_type"]}
    return Annotator(folder.name, pd.Categorical(labels["cell_type"]), members)


def _check_options(options: Options, annotators: Sequence[Annotator], folders: Sequence[Path]) -> None:
    names = [one.name for one in annotators]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        msg = f"two folders of labels have the name '{repeated[0]}', which is the annotator's. Rename one of them."
        raise AidaError(msg)
    if options.truth is not None and options.truth not in names:
        msg = f"--truth {options.truth}: no folder of labels has this name. {did_you_mean(options.truth, names)}"
        raise AidaError(msg)
    known = {str(t) for one in annotators for t in (*one.types.categories, *itertools.chain(*one.sets.values()))}
    if options.focus not in known:
        msg = f"--focus {options.focus}: no annotator gives this type. {did_you_mean(options.focus, sorted(known))}"
        raise AidaError(msg)
    for within in options.within:
        for one, folder in zip(annotators, folders, strict=True):
            if within != ALL and within not in one.sets:
                known_sets = sorted(one.sets)
                msg = f"--within {within}: {folder / SETS} has no such denominator. {did_you_mean(within, known_sets)}"
                raise AidaError(msg)
            if within != ALL and one.among({options.focus}).any() and options.focus not in one.sets[within]:
                msg = f"--within {within}: in {folder / SETS} it does not hold the focus type '{options.focus}'."
                raise AidaError(msg)


def agreement(
    cells_path: Path,
    label_folders: Sequence[Path],
    out: Path,
    *,
    scan_path: Path | None = None,
    options: Options | None = None,
) -> None:
    """Write how far annotators agree and how often they are wrong, by site, batch, donor and depth.

    Parameters
    ----------
    cells_path
        `cells.parquet` or its folder.
    label_folders
        One folder per annotator, named after it, with `labels.parquet` and `sets.tsv`. One alone gives rates only.
    out
        Folder for the tables; the module describes them.
    scan_path
        `scan.parquet` or its folder, for the depth of each cell.
    options
        What to look at. The truth is by default the annotator `author`, else the first.

    Raises
    ------
    AidaError
        If a file is missing or is not of these cells, or an option names what is not there.
    """
    options = options or Options()
    cells_path = cells_path / "cells.parquet" if cells_path.is_dir() else cells_path
    cells = read_cells(cells_path, columns=["cell_id", "donor_id", "site", "batch"])
    if cells.empty:
        msg = f"{cells_path}: there is no cell in this cohort. Check the filters of the cohort file."
        raise AidaError(msg)
    annotators = [_read_annotator(folder, cells_path, cells) for folder in label_folders]
    _check_options(options, annotators, label_folders)
    inputs = [cells_path, *(folder / name for folder in label_folders for name in (LABELS, SETS))]
    total = None
    if scan_path is not None:
        scan_path = scan_path / SCAN if scan_path.is_dir() else scan_path
        scan = read_cells(scan_path, columns=["cell_id", "total"])
        _check_cells(scan_path, scan, cells_path, cells, "scan")
        total = scan["total"].to_numpy()
        inputs.append(scan_path)
    names = [one.name for one in annotators]
    truth = options.truth or (AUTHOR if AUTHOR in names else names[0])
    # The truth comes first, so that it is the first of its pairs.
    annotators.sort(key=lambda one: one.name != truth)
    strata, depth = _strata(cells, total)
    sets = list(dict.fromkeys([ALL, *options.within]))
    found: list[pd.DataFrame] = []
    pairs = list(itertools.combinations(annotators, 2))
    for within in sets:
        for one in annotators:
            found += rates(one, strata, within, options.focus)
        for a, b in pairs:
            found += agreements(a, b, strata, within, options.focus)
            if a.name == truth:
                found += errors(a, b, strata, within, options)
    coarse = [s for s in strata if s.name in (ALL, "site")]
    open_ = [table for one in annotators for table in unresolved(one, coarse, options.unresolved)]
    empty = pd.DataFrame(columns=["annotator_a", "annotator_b", "cell_type_a", "cell_type_b", "n_cells"])
    tables: dict[str, pd.DataFrame | None] = {
        "confusion": pd.concat([confusion(a, b) for a, b in pairs], ignore_index=True) if pairs else empty,
        "agreement": _join(found),
        "unresolved": _join(open_),
        "depth": depth,
    }
    config: dict[str, Any] = asdict(options) | {"truth": truth}
    with staged(out, step="agreement", inputs=inputs, config=config) as staging:
        for name, table in tables.items():
            if table is not None:
                write_tsv(table, staging / f"{name}.tsv")


def _join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    # Columns as text first: pandas is about to change how it joins columns that are all missing.
    return pd.concat([t.astype({"annotator_b": "str", "note": "object"}) for t in tables], ignore_index=True)
