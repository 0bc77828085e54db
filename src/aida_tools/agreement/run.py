"""From cells and the labels of several annotators to tables of agreement and error; `tables` says what each holds.

One annotator is the reference: `annotator_a` where errors are measured. Cells that it leaves unresolved say nothing of
errors and are left out. Intervals between donors are to be preferred to those from cells alone, because the cells of a
donor are alike. `expected_to_observed` is what soft counts would be off by if lineages were right; `soft_to_observed`
is what they are off by, with the errors of lineage.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from aida_tools.agreement import measures, scored, tables, thinned
from aida_tools.agreement.inputs import ALL, Answers, read_annotator, read_where
from aida_tools.agreement.step import Options
from aida_tools.annotate.combine import UNRESOLVED
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import staged
from aida_tools.core.names import AUTHOR, THINNED
from aida_tools.core.options import recorded
from aida_tools.core.tables import SETS

UNLABELLED = "unlabelled"
#: What the classifiers of an annotator ask to be said of them.
_CREDITS = ("licence", "attribution")


def confusion(a: Answers, b: Answers) -> pd.DataFrame:
    """Count the pairs of types that two annotators give the cells; pairs without a cell have no row."""
    columns = {"cell_type_a": a.types, "cell_type_b": b.types}
    pairs = pd.DataFrame({c: pd.Series(types).astype(object).fillna(UNLABELLED) for c, types in columns.items()})
    table = pairs.groupby(list(columns)).size().reset_index(name="n_cells")
    return tables.CONFUSION.frame(table.assign(annotator_a=a.name, annotator_b=b.name))


def describe(annotators: Sequence[Answers]) -> pd.DataFrame:
    """Return what the annotators say of themselves, one row each; what nothing is known of is missing."""
    rows = []
    for one in annotators:
        card, used = one.card, one.card.get("classifiers", [])
        said = {key: "; ".join(f"{c['name']}: {c[key]}" for c in used if c.get(key)) for key in _CREDITS}
        # The sentence ends with the attribution, which has a column of its own here.
        text = card.get("description", "").removesuffix(".").removesuffix(f" ({said['attribution']})")
        row = {"kind": card.get("kind"), "words": card.get("words")}
        row |= {key: bool(card.get(key)) for key in ("taught", "reference")}
        row |= {"description": f"{text}." if text else None, "classifiers": "; ".join(str(c["name"]) for c in used)}
        row |= said | {"thinned": bool(card.get("thinned", one.name.endswith(THINNED)))}
        rows.append({"annotator": one.name} | {key: None if value == "" else value for key, value in row.items()})
    return tables.ANNOTATORS.frame(rows)


def _check_options(options: Options, annotators: Sequence[Answers], folders: Sequence[Path]) -> None:
    names = [one.name for one in annotators]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise AidaError(
            f"two folders of labels have the name '{repeated[0]}', which is the annotator's. Rename one of them."
        )
    if options.truth is not None and options.truth not in names:
        raise AidaError(
            f"--truth {options.truth}: no folder of labels has this name. {did_you_mean(options.truth, names)}"
        )
    known = {str(t) for one in annotators for t in (*one.types.categories, *itertools.chain(*one.sets.values()))}
    if options.focus not in known:
        raise AidaError(
            f"--focus {options.focus}: no annotator gives this type. {did_you_mean(options.focus, sorted(known))}"
        )
    for within in options.within:
        for one, folder in zip(annotators, folders, strict=True):
            if within != ALL and within not in one.sets:
                known_sets = sorted(one.sets)
                hint = did_you_mean(within, known_sets)
                raise AidaError(f"--within {within}: {folder / SETS.file} has no such denominator. {hint}")
            if within != ALL and one.among({options.focus}).any() and options.focus not in one.sets[within]:
                raise AidaError(
                    f"--within {within}: in {folder / SETS.file} it does not hold the focus type '{options.focus}'."
                )


def agreement(
    cells_path: Path,
    label_folders: Sequence[Path],
    out: Path,
    *,
    scan_path: Path | None = None,
    cohort_path: Path | None = None,
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
        Folder for the tables, which `aida_tools.agreement.tables` describes.
    scan_path
        `scan.parquet` or its folder, for the depth of each cell.
    cohort_path
        A cohort file, for its unresolved labels.
    options
        What to look at. The truth is by default the annotator `author`, else the first.

    Raises
    ------
    AidaError
        If a file is missing or is not of these cells, or an option names what is not there.
    """
    options = options or Options()
    ids, cells, inputs = read_where(cells_path, scan_path)
    if cohort_path is not None:
        inputs.append(cohort_path)
        if not options.unresolved:
            options = replace(options, unresolved=tuple(load_cohort(cohort_path).labels.unresolved))
    focus, open_ = options.focus, (*options.unresolved, UNRESOLVED)
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
    made = {
        tables.CONFUSION: [confusion(a, b) for a, b in pairs],
        tables.AGREEMENT: found,
        tables.UNRESOLVED: vague,
        tables.CURVES: curves,
        tables.CALIBRATION: calibrated,
        tables.THINNED: changes,
        tables.ANNOTATORS: [described],
        tables.DEPTH: [] if cells.depth is None else [cells.depth],
    }
    config: dict[str, Any] = recorded(options) | {"truth": truth_name}
    with staged(out, step="agreement", inputs=inputs, config=config) as staging:
        for table, parts in made.items():
            if parts or table is not tables.DEPTH:
                table.write(table.join(parts), staging)
