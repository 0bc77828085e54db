"""Annotators whose labels a scan gave: the gate, a classifier, one in folds, and those made of classifiers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from aida_tools.annotate import combine
from aida_tools.annotate.annotation import TREG_MARGIN, Annotation
from aida_tools.annotate.card import Card, describe_classifier
from aida_tools.annotate.folds import assign_donors, check_scanned_with, find_folds
from aida_tools.annotate.inputs import Inputs
from aida_tools.annotate.labels import map_labels, read_label_map
from aida_tools.annotate.registry import ANNOTATORS, find
from aida_tools.annotate.tables import DONORS
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.names import ACTINN, STCAT
from aida_tools.core.tables import LABELS, read_cells
from aida_tools.scan.classifier import find_classifier
from aida_tools.scan.scorers import load_classifier

CD8_GENES = ("CD8A", "CD8B")


def _take(inputs: Inputs, name: str, card: Card) -> Annotation:
    """Take what the scan says of every cell by this name, counted as its label map says."""
    label_map = inputs.map_of(name)
    table, known = inputs.scan.read(name), read_label_map(label_map)
    cell_type, sets = map_labels(table["label"], known, label_map)
    expected = inputs.scan.read_expected(name, known, label_map)
    return Annotation(table.assign(cell_type=cell_type)[LABELS.names], sets, card, expected, [label_map])


def from_gate(inputs: Inputs) -> Annotation:
    """Take the labels of the marker gate."""
    genes = [c.removeprefix("count:") for c in inputs.scan.columns if c.startswith("count:")]
    text = (
        "Each cell was called by itself with a marker gate: T cells by CD3 genes against genes of other lineages, "
        "CD4 T cells by the lack of CD8 genes, regulatory T cells among them by the log odds of markers seen and "
        f"not seen (genes {', '.join(genes)})"
    )
    return _take(inputs, inputs.annotator.name, Card(inputs.annotator, text, thinned=inputs.scan.is_thinned))


def from_classifier(inputs: Inputs) -> Annotation:
    """Take the labels of a classifier, or of those that were trained in folds under this name.

    Raises
    ------
    AidaError
        If the scan is of other cells or lacks the classifier, or gave labels the map does not have.
    """
    name, scan = inputs.annotator.name, inputs.scan
    if name in scan.annotators:
        return _from_one(inputs, name)
    if folds := find_folds(name, scan.annotators):
        return _from_folds(inputs, folds)
    raise AidaError(
        f"{scan.path}: this scan has no annotator '{name}'. {did_you_mean(name, [*ANNOTATORS, *scan.annotators])}"
    )


def _from_one(inputs: Inputs, name: str) -> Annotation:
    described = describe_classifier(name, inputs.classifier_folder)
    text = f"Each cell was labelled by itself with the classifier '{name}' ({described['origin']})"
    found = _take(inputs, name, Card(find(name), text, [described], inputs.scan.is_thinned))
    if getattr(load_classifier(find_classifier(name, inputs.classifier_folder)), "link", None) == "sigmoid":
        # Of each class by itself: not the probability that the label is right, and the margins are no log odds.
        found.labels["probability"] = np.nan
    return found


def _from_folds(inputs: Inputs, folds: list[str]) -> Annotation:
    """Label every donor by the fold that did not see it.

    Raises
    ------
    AidaError
        If every fold has seen a donor, or the scan was made with other classifiers than those in the folder.
    """
    scan, folder = inputs.scan, inputs.classifier_folder
    check_scanned_with(folds, folder, scan.path)
    cells = read_cells(inputs.cells_path, columns=["sample_id", "donor_id"])
    fold_of_donor = assign_donors(folds, folder, pd.Series(cells["donor_id"].unique()))
    fold_of_cell = fold_of_donor.reindex(cells["donor_id"]).to_numpy()
    sample = cells.assign(fold=fold_of_cell).drop_duplicates("sample_id").set_index("sample_id")["fold"]
    parts, expected = [], []
    for k, name in enumerate(folds):
        one = _from_one(inputs, name)
        mine = None if one.expected is None else one.expected[one.expected["sample_id"].map(sample) == k]
        parts.append(Annotation(one.labels[fold_of_cell == k], one.sets, one.card, mine, one.inputs))
        if mine is not None:
            expected.append(mine)
    if expected and len(expected) < len(folds):
        lacking = next(n for n, part in zip(folds, parts, strict=True) if part.expected is None)
        raise AidaError(
            f"{scan.path.parent}: no expected counts of fold '{lacking}'. Scan with --expected {lacking} too, or none."
        )
    classifiers = [one for part in parts for one in part.card.classifiers]
    text = (
        f"Each cell was labelled by itself with the one of {len(folds)} classifiers that did not see its donor "
        f"({classifiers[0]['origin']}; folds of donors)"
    )
    card = Card(find(inputs.annotator.name, len(folds)), text, classifiers, scan.is_thinned)
    sets = pd.concat([part.sets for part in parts]).drop_duplicates().sort_values(["denominator", "cell_type"])
    read = [*(path for part in parts for path in part.inputs), *(folder / name / DONORS.file for name in folds)]
    joined = _join_expected(expected) if expected else None
    return Annotation(_join(parts), sets.reset_index(drop=True), card, joined, list(dict.fromkeys(read)))


def _join(parts: list[Annotation]) -> pd.DataFrame:
    """Put the cells of the folds together again, in file order."""
    tables = [part.labels.copy() for part in parts]
    for column in ("cell_type", "label"):
        levels = sorted({str(level) for table in tables for level in table[column].cat.categories})
        for table in tables:
            table[column] = table[column].astype(pd.CategoricalDtype(levels))
    return pd.concat(tables).sort_index()


def _join_expected(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Put the expected counts of the folds together; a type one fold does not know is expected nowhere in it."""
    wide = pd.concat(parts).pivot(index="sample_id", columns="cell_type", values="n_expected").fillna(0.0)
    return wide.reset_index().melt("sample_id", value_name="n_expected").sort_values(["sample_id", "cell_type"])


def from_blood(inputs: Inputs) -> Annotation:
    """Label blood cells without labels: lineage by actinn, Treg where actinn and STCAT agree (errs less)."""
    return _from_both(inputs, sensitive=False)


def from_sensitive_blood(inputs: Inputs) -> Annotation:
    """Label blood cells without labels: lineage by actinn, Treg by the sum of both Treg margins (finds more)."""
    return _from_both(inputs, sensitive=True)


def _from_both(inputs: Inputs, *, sensitive: bool) -> Annotation:
    """Take the lineage from actinn and Treg from actinn and STCAT together.

    Returns
    -------
    The annotation; its margins, for CD4 T cells, are the scaled sum, or the smaller of the two scaled margins.

    Raises
    ------
    AidaError
        If the scan is of other cells or was made without the two classifiers.
    """
    scan = inputs.scan
    for name in inputs.annotator.classifiers:
        if name not in scan.annotators:
            raise AidaError(
                f"{scan.path}: annotator '{inputs.annotator.name}' needs the classifier '{name}', which this scan did "
                f"not apply. Bring it with `aida-tools classifier add {name} --out classifiers` and scan with "
                f"--classifier {name}; or choose gate, which needs no classifier."
            )
    label_map = inputs.label_map
    table, margins = scan.read(ACTINN), scan.read(STCAT)[TREG_MARGIN].to_numpy(float)
    cell_type, sets = map_labels(table["label"], read_label_map(label_map), label_map)
    cd4 = cell_type.isin(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]).to_numpy()
    both = combine.scale_margins(margins, table[TREG_MARGIN].to_numpy(float))
    score = both.sum(axis=0) if sensitive else both.min(axis=0)
    treg = score > 0 if sensitive else (cell_type == "Treg").to_numpy() & (margins > 0)
    cd8 = scan.has_any(CD8_GENES)
    types = combine.blood_types(cell_type.astype(object).to_numpy(), cd4, cd8, treg)
    score = np.where(cd4 & ~cd8, score, np.nan)
    counted = pd.Categorical(types, categories=cell_type.cat.categories)
    table = table.assign(cell_type=counted, probability=np.nan, margin=np.abs(score), **{TREG_MARGIN: score})
    rule = "the sum of actinn's and STCAT's scaled Treg margins is above 0" if sensitive else "actinn and STCAT agree"
    text = (
        "Lineages were taken from actinn, cell by cell (its CD4 T cells with CD8A or CD8B transcripts as CD8 T cells), "
        f"and CD4 T cells counted as regulatory where {rule}"
    )
    described = [describe_classifier(name, inputs.classifier_folder) for name in inputs.annotator.classifiers]
    card = Card(inputs.annotator, text, described, scan.is_thinned)
    return Annotation(table[LABELS.names], sets, card, inputs=[label_map])
