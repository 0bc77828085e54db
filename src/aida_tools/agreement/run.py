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
  that the truth puts in the set; none where it has no word for the focus type. Cells the truth leaves unresolved tell
  nothing of error and are left out.

`unresolved.tsv`: the same columns for the share of cells without a definite label (the types of `--unresolved`, those
that end in `_unresolved`, and no label), by annotator, site, batch and depth.

`depth.tsv`: least depth and number of cells of every tenth. Only with a scan, as are the strata of depth.

`curves.tsv`, one row a point of a precision-recall curve: `annotator_a` (the truth), `annotator_b`, `within, stratum,
level, point, threshold, recall, precision, n_called`, in all cells and by site, for every annotator with a score of the
focus type. `point` is `curve` (cells with at least the `threshold` called; 100 steps of recall) or `labels` (where the
annotator's own labels stand). Its area is the measure `average_precision` of `agreement.tsv`.

`calibration.tsv`, for annotators whose score is the log odds of a probability, among the cells that the truth puts in
its narrowest set with the focus type, with the columns of `agreement.tsv`, `bin` and `predicted`. Measures:

- `observed_share`: share of the focus type in a `bin` (ten of equal width from 0 to 1), beside the mean probability
  `predicted`;
- `expected_to_observed`: the number of focus cells that the probabilities promise, divided by the number there are:
  what soft counts would be off by if lineages were right. Cells without a score are left out;
- `calibration_error`: the mean distance of probability and share;
- `soft_to_observed`: where there are soft counts, their sum in all cells, divided by the number there are: what these
  soft counts are off by, with the errors of lineage in it. Its intervals are between donors only.

`thinned.tsv`, for every annotator X that is there as X-thinned too (labels of counts thinned to the depth of the
shallowest site): `annotator, within, stratum` (`all`, `site`, `batch`), `level, rate, rate_thinned, difference,
donor_std_error, donor_ci_low, donor_ci_high, n_cells, n_donors`; the interval is that of the difference, between donors
who are their own controls. Stratum `between sites`: the distance of the highest and the lowest site; with one site
`between batches`.

`annotators.tsv`, one row an annotator: `annotator, kind, description, models, licence, attribution, thinned`, as its
`annotator.json` has them.

`status`: `ok`; `undefined` (no cell to estimate from), `one_answer` (kappa with an annotator that gives one answer),
`no_spread` (0 or 1, or the same in every donor: no interval between donors), `one_donor` (none either), `no_error`
(no spread between donors), `point` (a figure that has no interval); `note` says it in words.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from aida_tools.agreement import measures, scored, thinned
from aida_tools.agreement.inputs import ALL, Annotator, read_annotator, read_where
from aida_tools.annotate.combine import UNRESOLVED
from aida_tools.annotate.run import SETS
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import staged
from aida_tools.tables import AUTHOR, THINNED, write_tsv

UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Options:
    """What to look at; see `aida-tools agreement --help`."""

    truth: str | None = None
    focus: str = "Treg"
    within: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ("CD4+_T", "T", UNRESOLVED)


def confusion(a: Annotator, b: Annotator) -> pd.DataFrame:
    """Count the pairs of types that two annotators give the cells; pairs without a cell have no row."""
    columns = {"cell_type_a": a.types, "cell_type_b": b.types}
    pairs = pd.DataFrame({c: pd.Series(types).astype(object).fillna(UNLABELLED) for c, types in columns.items()})
    table = pairs.groupby(list(columns)).size().reset_index(name="n_cells")
    table.insert(0, "annotator_a", a.name)
    table.insert(1, "annotator_b", b.name)
    return table


def describe(annotators: Sequence[Annotator]) -> pd.DataFrame:
    """Return what the annotators say of themselves, one row each; what nothing is known of is missing."""
    rows = []
    for one in annotators:
        models = one.card.get("models", [])
        said = {
            key: "; ".join(f"{m['name']}: {m[key]}" for m in models if m.get(key)) for key in ("licence", "attribution")
        }
        # The sentence ends with the attribution, which has a column of its own here.
        text = one.card.get("description", "").removesuffix(".").removesuffix(f" ({said['attribution']})")
        row = {"annotator": one.name, "kind": one.card.get("kind"), "description": f"{text}." if text else None}
        row["models"] = "; ".join(str(m["name"]) for m in models)
        thin = bool(one.card.get("thinned", one.name.endswith(THINNED)))
        rows.append({key: value or None for key, value in (row | said).items()} | {"thinned": thin})
    return pd.DataFrame(rows)


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
    focus, open_ = options.focus, options.unresolved
    ids, cells, inputs = read_where(cells_path, scan_path)
    annotators = []
    for folder in label_folders:
        one, read = read_annotator(folder, inputs[0], ids, cells, focus)
        annotators.append(one)
        inputs += read
    _check_options(options, annotators, label_folders)
    names = [one.name for one in annotators]
    truth_name = options.truth or (AUTHOR if AUTHOR in names else names[0])
    described = describe(annotators)
    # The truth comes first, so that it is the first of its pairs.
    annotators.sort(key=lambda one: one.name != truth_name)
    truth, *others = annotators
    pairs = list(itertools.combinations(annotators, 2))
    found: list[pd.DataFrame] = []
    curves: list[pd.DataFrame] = []
    changes: list[pd.DataFrame] = []
    for within in dict.fromkeys([ALL, *options.within]):
        for one in annotators:
            found += measures.rates(one, cells, within, focus)
        for a, b in pairs:
            found += measures.agreements(a, b, cells, within, focus)
            if a is truth and truth.knows(focus):
                found += measures.errors(a, b, cells, within, focus, open_)
                drawn, areas = scored.curves(a, b, cells, within, focus, open_)
                curves += drawn
                found += areas
        for full, matched in thinned.pairs(annotators):
            changes += thinned.changes(full, matched, cells, within, focus)
    judged = others if truth.knows(focus) else []
    calibrated = [t for one in judged for t in scored.calibrations(truth, one, cells, focus, open_)]
    calibrated += [t for one in judged for t in scored.soft_counts(truth, one, cells, focus)]
    vague = [table for one in annotators for table in measures.unresolved_shares(one, cells, open_)]
    pair_columns = ("annotator_a", "annotator_b", "cell_type_a", "cell_type_b", "n_cells")
    tables: dict[str, pd.DataFrame | None] = {
        "confusion": _join([confusion(a, b) for a, b in pairs], pair_columns),
        "agreement": _join(found, measures.COLUMNS),
        "unresolved": _join(vague, measures.COLUMNS),
        "curves": _join(curves, scored.CURVE_COLUMNS),
        "calibration": _join(calibrated, scored.CALIBRATION_COLUMNS),
        "thinned": _join(changes, thinned.COLUMNS),
        "annotators": described,
        "depth": cells.depth,
    }
    config: dict[str, Any] = asdict(options) | {"truth": truth_name}
    with staged(out, step="agreement", inputs=inputs, config=config) as staging:
        for name, table in tables.items():
            if table is not None:
                write_tsv(table, staging / f"{name}.tsv")


#: Columns that may be all missing in one table and not in another: pandas is about to change how it joins those.
_TYPES = {"annotator_b": "str", "note": "object", "bin": "Int64", "n_donors": "Int64", "n_cells": "Int64"}


def _join(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(columns=list(columns))
    types = {column: kind for column, kind in _TYPES.items() if column in columns}
    return pd.concat([table.astype(types) for table in tables], ignore_index=True)
