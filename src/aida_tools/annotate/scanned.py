"""Annotators whose labels a scan gave: the gate, a model, a model in folds, and those made of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aida_tools.annotate import combine
from aida_tools.annotate.annotation import COLUMNS, TREG_MARGIN, Annotation
from aida_tools.annotate.card import Card, describe_model
from aida_tools.annotate.folds import DONORS, assign_donors, check_scanned_with, find_folds
from aida_tools.annotate.labels import map_labels, read_label_map
from aida_tools.defaults import default_file
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import file_of
from aida_tools.scan.model import LABEL_MAP, find_model
from aida_tools.scan.run import SCAN
from aida_tools.scan.scorers import load_any
from aida_tools.scan.thin import THINNING
from aida_tools.tables import ACTINN, AUTHOR, BLOOD, BLOOD_SENSITIVE, GATE, STCAT, read_cells

CD8_GENES = ("CD8A", "CD8B")
_FIELDS = ("label", "probability", "margin", TREG_MARGIN)


@dataclass(frozen=True)
class Scan:
    """A scan of the cells of a cohort.

    Attributes
    ----------
    path
        `scan.parquet`.
    cells_path
        `cells.parquet`.
    columns
        Columns of the scan.
    """

    path: Path
    cells_path: Path
    columns: list[str]

    @classmethod
    def open(cls, path: Path, cells_path: Path) -> Scan:
        """Open a scan, named by its folder or its file.

        Raises
        ------
        AidaError
            If it is not there.
        """
        path = file_of(path, SCAN)
        if not path.exists():
            msg = f"{path}: there is no such file. Run `aida-tools scan` first."
            raise AidaError(msg)
        return cls(path, cells_path, pq.read_schema(path).names)

    @property
    def annotators(self) -> list[str]:
        """Who labelled the cells in this scan."""
        return [c.removesuffix(":label") for c in self.columns if c.endswith(":label")]

    @property
    def is_thinned(self) -> bool:
        """Whether its counts were thinned to a common depth."""
        return (self.path.parent / THINNING).is_file()

    def has_any(self, genes: tuple[str, ...]) -> NDArray[np.bool_]:
        """Say of every cell whether a molecule of any of these genes of the gate was seen."""
        counts = read_cells(self.path, columns=[f"count:{gene}" for gene in genes])
        return np.asarray((counts > 0).any(axis=1))

    def read(self, annotator: str) -> pd.DataFrame:
        """Read what an annotator said: `cell_id, label, probability, margin, margin_Treg` (missing if not there).

        Raises
        ------
        AidaError
            If the scan is of other cells.
        """
        cells = read_cells(self.cells_path, columns=["cell_id"])
        there = [f for f in _FIELDS if f"{annotator}:{f}" in self.columns]
        scan = read_cells(self.path, columns=["cell_id", *[f"{annotator}:{f}" for f in there]])
        if not np.array_equal(scan["cell_id"].to_numpy(), cells["cell_id"].to_numpy()):
            msg = (
                f"{self.path}: its {len(scan)} cells are not the {len(cells)} cells of {self.cells_path}, in the same "
                "order. Make both from the same fetch."
            )
            raise AidaError(msg)
        scan.columns = pd.Index(["cell_id", *there])
        return scan.assign(**{f: np.nan for f in _FIELDS if f not in there})

    def read_expected(self, annotator: str, label_map: pd.DataFrame, source: Path) -> pd.DataFrame | None:
        """Read the expected counts of a model as `sample_id, cell_type, n_expected`, if the scan summed them.

        Raises
        ------
        AidaError
            If the label map lacks a class, or a sample has no expected counts.
        """
        path = self.path.parent / f"expected.{annotator}.parquet"
        if not path.is_file():
            return None
        table = read_cells(path, columns=["sample_id", "label", "n_expected"])
        table["cell_type"] = map_labels(table["label"], label_map, source)[0].astype(str)
        lacking = set(read_cells(self.cells_path, columns=["sample_id"])["sample_id"]) - set(table["sample_id"])
        if lacking:
            msg = f"{path}: no expected counts of sample '{min(lacking)}'. Scan again with --samples {self.cells_path}."
            raise AidaError(msg)
        return table.groupby(["sample_id", "cell_type"], sort=False)["n_expected"].sum().reset_index()


def find_label_map(annotator: str, model_folder: Path) -> Path:
    """Find the table that says what an annotator's labels are counted as.

    Raises
    ------
    AidaError
        If neither its model nor config has one.
    """
    places = [model_folder / annotator / LABEL_MAP, default_file(f"annotators/{annotator}.labels.tsv")]
    for place in places:
        if place.is_file():
            return place
    msg = (
        f"annotator '{annotator}': nothing says what its labels are counted as (looked for {places[0]}, {places[1]}). "
        "Write a table with the columns label, cell_type, cell_type_id, sets and name it with --label-map."
    )
    raise AidaError(msg)


def from_scan(scan: Scan, annotator: str, label_map: Path | None, model_folder: Path) -> Annotation:
    """Take what a scan says of every cell, by whichever annotator.

    Parameters
    ----------
    scan
        The scan.
    annotator
        `gate`, a model of the scan, the common name of models in folds, `blood` or `blood-sensitive`.
    label_map
        Table that says what each label is counted as; by default the model's own, or the one in config.
    model_folder
        Folder of models.

    Raises
    ------
    AidaError
        If the scan is of other cells or lacks the annotator, or gave labels the map does not have.
    """
    if annotator in (BLOOD, BLOOD_SENSITIVE):
        return from_blood(scan, model_folder, sensitive=annotator == BLOOD_SENSITIVE)
    if annotator in scan.annotators:
        return from_one(scan, annotator, label_map or find_label_map(annotator, model_folder), model_folder)
    folds = find_folds(annotator, scan.annotators)
    if not folds:
        msg = (
            f"{scan.path}: no labels by annotator '{annotator}'. {did_you_mean(annotator, [AUTHOR, *scan.annotators])}"
        )
        raise AidaError(msg)
    return from_folds(scan, folds, label_map, model_folder)


def from_one(scan: Scan, annotator: str, label_map: Path, model_folder: Path) -> Annotation:
    """Take the labels of the gate or of one model, and count them as the label map says."""
    table, known = scan.read(annotator), read_label_map(label_map)
    cell_type, sets = map_labels(table["label"], known, label_map)
    if annotator == GATE:
        genes = [c.removeprefix("count:") for c in scan.columns if c.startswith("count:")]
        text = (
            "Each cell was called by itself with a marker gate: T cells by CD3 genes against genes of other lineages, "
            "CD4 T cells by the lack of CD8 genes, regulatory T cells among them by the log odds of markers seen and "
            f"not seen (genes {', '.join(genes)})"
        )
        card = Card("gate", text, thinned=scan.is_thinned)
    else:
        model = load_any(find_model(annotator, model_folder))
        if getattr(model, "link", None) == "sigmoid":
            # Of each class by itself: not the probability that the label is right, and the margins are no log odds.
            table["probability"] = np.nan
        described = describe_model(annotator, model_folder)
        text = f"Each cell was labelled by itself with the model '{annotator}' ({described['origin']})"
        card = Card("model", text, [described], scan.is_thinned)
    expected = scan.read_expected(annotator, known, label_map)
    return Annotation(table.assign(cell_type=cell_type)[list(COLUMNS)], sets, card, expected, [label_map])


def from_folds(scan: Scan, folds: list[str], label_map: Path | None, model_folder: Path) -> Annotation:
    """Label every donor by the fold that has not seen it.

    Raises
    ------
    AidaError
        If a donor is unseen by none, or the scan was made with other models than those in the folder.
    """
    check_scanned_with(folds, model_folder, scan.path)
    cells = read_cells(scan.cells_path, columns=["sample_id", "donor_id"])
    fold_of_donor = assign_donors(folds, model_folder, pd.Series(cells["donor_id"].unique()))
    fold_of_cell = fold_of_donor.reindex(cells["donor_id"]).to_numpy()
    sample = cells.assign(fold=fold_of_cell).drop_duplicates("sample_id").set_index("sample_id")["fold"]
    parts, expected = [], []
    for k, name in enumerate(folds):
        one = from_one(scan, name, label_map or find_label_map(name, model_folder), model_folder)
        mine = None if one.expected is None else one.expected[one.expected["sample_id"].map(sample) == k]
        parts.append(Annotation(one.labels[fold_of_cell == k], one.sets, one.card, mine, one.inputs))
        if mine is not None:
            expected.append(mine)
    if expected and len(expected) < len(folds):
        lacking = next(n for n, part in zip(folds, parts, strict=True) if part.expected is None)
        msg = (
            f"{scan.path.parent}: no expected counts of fold '{lacking}'. Scan with --expected {lacking} too, or none."
        )
        raise AidaError(msg)
    models = [model for part in parts for model in part.card.models]
    text = (
        f"Each cell was labelled by itself with the one of {len(folds)} models that had not seen its donor "
        f"({models[0]['origin']}; folds of donors)"
    )
    sets = pd.concat([part.sets for part in parts]).drop_duplicates().sort_values(["denominator", "cell_type"])
    inputs = [*(path for part in parts for path in part.inputs), *(model_folder / name / DONORS for name in folds)]
    return Annotation(
        _join(parts), sets.reset_index(drop=True), Card("folds", text, models, scan.is_thinned),
        _join_expected(expected) if expected else None, list(dict.fromkeys(inputs)),
    )  # fmt: skip


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


def from_blood(scan: Scan, model_folder: Path, *, sensitive: bool) -> Annotation:
    """Label blood cells without labels: lineage by actinn, Treg by actinn and STCAT together.

    Parameters
    ----------
    scan
        The scan, with both models.
    model_folder
        Folder of models, with the label map of actinn.
    sensitive
        Whether a positive scaled sum of both margins makes a Treg (finds more); by default both models must agree
        (errs less).

    Returns
    -------
    The annotation; its margins, for CD4 T cells, are the scaled sum, or the smaller of the two scaled margins.

    Raises
    ------
    AidaError
        If the scan is of other cells or was made without the two models.
    """
    for model in (ACTINN, STCAT):
        if model not in scan.annotators:
            msg = (
                f"{scan.path}: annotator '{BLOOD_SENSITIVE if sensitive else BLOOD}' needs the model '{model}'. Bring "
                f"it with `aida-tools model add {model} --out models` and scan with --model {model}; or choose gate, "
                "which needs no model."
            )
            raise AidaError(msg)
    label_map = find_label_map(ACTINN, model_folder)
    table, margins = scan.read(ACTINN), scan.read(STCAT)[TREG_MARGIN].to_numpy(float)
    cell_type, sets = map_labels(table["label"], read_label_map(label_map), label_map)
    cd4 = cell_type.isin(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]).to_numpy()
    both = combine.scale_margins(margins, table[TREG_MARGIN].to_numpy(float))
    score = both.sum(axis=0) if sensitive else both.min(axis=0)
    treg = score > 0 if sensitive else (cell_type == "Treg").to_numpy() & (margins > 0)
    cd8 = scan.has_any(CD8_GENES)
    types = combine.blood_types(cell_type.astype(object).to_numpy(), cd4, cd8, treg)
    score = np.where(cd4 & ~cd8, score, np.nan)
    table = table.assign(
        cell_type=pd.Categorical(types, categories=cell_type.cat.categories), probability=np.nan, margin=np.abs(score),
        **{TREG_MARGIN: score},
    )  # fmt: skip
    rule = "the sum of actinn's and STCAT's scaled Treg margins is above 0" if sensitive else "actinn and STCAT agree"
    text = (
        "Lineages were taken from actinn, cell by cell (its CD4 T cells with CD8A or CD8B transcripts as CD8 T cells), "
        f"and CD4 T cells counted as regulatory where {rule}"
    )
    card = Card("blood", text, [describe_model(name, model_folder) for name in (ACTINN, STCAT)], scan.is_thinned)
    return Annotation(table[list(COLUMNS)], sets, card, inputs=[label_map])
