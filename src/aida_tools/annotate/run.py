"""From cells and their scan to `labels.parquet` and `sets.tsv`, one folder an annotator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.annotate import combine
from aida_tools.annotate.labels import map_labels, read_label_map
from aida_tools.cohort.labels import resolve_labels
from aida_tools.config import load_cohort
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.files import staged
from aida_tools.scan.model import LABEL_MAP
from aida_tools.scan.run import SCAN
from aida_tools.tables import read_cells, read_denominators, write_parquet, write_tsv

AUTHOR, BLOOD, BLOOD_SENSITIVE = "author", "blood", "blood-sensitive"
ACTINN, STCAT = "actinn", "stcat"
LABELS, SETS = "labels.parquet", "sets.tsv"


def from_author(cells_path: Path, cohort_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the authors' labels as the cohort file says they are counted.

    Returns
    -------
    Table `cell_id, cell_type, label, probability, margin` (the last two missing) and table
    `denominator, cell_type`.

    Raises
    ------
    AidaError
        If the cohort has no labels, or its file names one that is not there.
    """
    cells = read_cells(cells_path, columns=["cell_id", "author_label", "cell_type_id"])
    label = cells["author_label"].astype(object)
    if label.isna().all():
        label = cells["cell_type_id"].astype(object)
    if label.isna().all():
        msg = (
            f"{cohort_path}: the cells of this cohort have no labels, so there is nothing for the annotator 'author' "
            "to take. Name the obs column under 'labels.column', or choose another annotator, such as gate."
        )
        raise AidaError(msg)
    labels = load_cohort(cohort_path).labels
    cell_type, sets = resolve_labels(labels, cells["author_label"], cells["cell_type_id"], str(cohort_path))
    table = pd.DataFrame({"cell_id": cells["cell_id"], "cell_type": cell_type, "label": label.astype("category")})
    rows = [(name, member) for name, members in sets.items() for member in members]
    return table.assign(probability=np.nan, margin=np.nan), pd.DataFrame(rows, columns=["denominator", "cell_type"])


def _read_scan(cells_path: Path, scan_path: Path, columns: list[str]) -> pd.DataFrame:
    """Read `cell_id` and columns of a scan, and check that it is of these cells."""
    cells = read_cells(cells_path, columns=["cell_id"])
    scan = read_cells(scan_path, columns=["cell_id", *columns])
    if len(scan) != len(cells) or not (scan["cell_id"].to_numpy() == cells["cell_id"].to_numpy()).all():
        msg = (
            f"{scan_path}: its {len(scan)} cells are not the {len(cells)} cells of {cells_path}, in the same order. "
            "Make both from the same fetch."
        )
        raise AidaError(msg)
    return scan


def from_scan(
    cells_path: Path, scan_path: Path, annotator: str, label_map_path: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take what the scan said of every cell and count it as the label map says.

    Returns
    -------
    As `from_author`.

    Raises
    ------
    AidaError
        If the scan is of other cells, or gave labels the map does not have.
    """
    fields = ("label", "probability", "margin")
    scan = _read_scan(cells_path, scan_path, [f"{annotator}:{f}" for f in fields])
    scan.columns = pd.Index(["cell_id", *fields])
    cell_type, sets = map_labels(scan["label"], read_label_map(label_map_path), label_map_path)
    return scan.assign(cell_type=cell_type)[["cell_id", "cell_type", *fields]], sets


def _check_scanned(scan_path: Path, annotator: str, needed_by: str | None = None) -> None:
    """Check that a scan is there and has labels by the annotator."""
    import pyarrow.parquet as pq

    if not scan_path.exists():
        msg = f"{scan_path}: there is no such file. Run `aida-tools scan` first."
        raise AidaError(msg)
    known = [c.removesuffix(":label") for c in pq.read_schema(scan_path).names if c.endswith(":label")]
    if annotator not in known and needed_by is not None:
        msg = (
            f"{scan_path}: annotator '{needed_by}' needs the model '{annotator}'. Bring it with `aida-tools model add "
            f"{annotator} --out models` and scan with --model {annotator}; or choose gate, which needs no model."
        )
        raise AidaError(msg)
    if annotator not in known:
        msg = f"{scan_path}: no labels by annotator '{annotator}'. {did_you_mean(annotator, [AUTHOR, *known])}"
        raise AidaError(msg)


def from_blood(
    cells_path: Path, scan_path: Path, model_folder: Path, *, sensitive: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Label blood cells without labels: lineage by actinn, Treg by actinn and STCAT together.

    Parameters
    ----------
    cells_path, scan_path
        `cells.parquet` and `scan.parquet`.
    model_folder
        Folder of models, with the label map of actinn.
    sensitive
        Whether a positive scaled sum of both margins makes a Treg (finds more); by default both models must agree
        (errs less).

    Returns
    -------
    As `from_author`; `margin` is the scaled sum for CD4 T cells.

    Raises
    ------
    AidaError
        If the scan is of other cells or was made without the two models.
    """
    label_map = find_label_map(ACTINN, model_folder)
    columns = ["actinn:label", "actinn:margin_Treg", "stcat:margin_Treg"]
    scan = _read_scan(cells_path, scan_path, columns)
    cell_type, sets = map_labels(scan["actinn:label"], read_label_map(label_map), label_map)
    cd4 = cell_type.isin(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]).to_numpy()
    actinn, stcat = scan["actinn:margin_Treg"].to_numpy(float), scan["stcat:margin_Treg"].to_numpy(float)
    total = combine.scaled_sum(stcat, actinn)
    treg = total > 0 if sensitive else (cell_type == "Treg").to_numpy() & (stcat > 0)
    types = combine.blood_types(cell_type.astype(object).to_numpy(), cd4, treg)
    scan["cell_type"] = pd.Categorical(types, categories=cell_type.cat.categories)
    scan = scan.rename(columns={"actinn:label": "label"}).assign(
        margin=np.where(cd4, total, np.nan), probability=np.nan
    )
    return scan[["cell_id", "cell_type", "label", "probability", "margin"]], sets


def find_label_map(annotator: str, model_folder: Path) -> Path:
    """Find the table that says what an annotator's labels are counted as.

    Raises
    ------
    AidaError
        If neither its model nor config has one.
    """
    places = [model_folder / annotator / LABEL_MAP, Path("config/annotators") / f"{annotator}.labels.tsv"]
    for place in places:
        if place.is_file():
            return place
    msg = (
        f"annotator '{annotator}': nothing says what its labels are counted as (looked for {places[0]}, {places[1]}). "
        "Write a table with the columns label, cell_type, cell_type_id, sets and name it with --label-map."
    )
    raise AidaError(msg)


def annotate(
    cohort_path: Path,
    cells_path: Path,
    scan_path: Path | None,
    annotator: str,
    out: Path,
    *,
    label_map: Path | None = None,
    model_folder: Path = Path("models"),
) -> None:
    """Write one annotator's `labels.parquet` and `sets.tsv`.

    Parameters
    ----------
    cohort_path
        The cohort file.
    cells_path, scan_path
        `cells.parquet` and `scan.parquet`, or their folders. `author` needs no scan.
    annotator
        `author`, `gate`, a model the scan was given, or one made of models: `blood`, `blood-sensitive`.
    out
        Folder for the results; its name is the annotator's name in the tables of counts.
    label_map
        Table that says what each label is counted as; by default the model's own, or the one in config.
    model_folder
        Folder of models.

    Raises
    ------
    AidaError
        If an input is missing or wrong.
    """
    cells_path = cells_path / "cells.parquet" if cells_path.is_dir() else cells_path
    inputs = [cohort_path, cells_path]
    if annotator == AUTHOR:
        labels, sets = from_author(cells_path, cohort_path)
    else:
        if scan_path is None:
            msg = f"annotator '{annotator}' needs the folder of `aida-tools scan` as third argument."
            raise AidaError(msg)
        scan_path = scan_path / SCAN if scan_path.is_dir() else scan_path
        inputs.append(scan_path)
        if annotator in (BLOOD, BLOOD_SENSITIVE):
            for model in (ACTINN, STCAT):
                _check_scanned(scan_path, model, needed_by=annotator)
            labels, sets = from_blood(cells_path, scan_path, model_folder, sensitive=annotator == BLOOD_SENSITIVE)
        else:
            _check_scanned(scan_path, annotator)
            label_map = label_map or find_label_map(annotator, model_folder)
            labels, sets = from_scan(cells_path, scan_path, annotator, label_map)
            inputs.append(label_map)
    sets.insert(1, "annotator", annotator)
    with staged(out, step="annotate", inputs=inputs, config={"annotator": annotator}) as staging:
        write_parquet(labels, staging / LABELS)
        write_tsv(sets, staging / SETS)


def consensus(label_folders: Sequence[Path], out: Path) -> None:
    """Write the consensus of several annotators as one more.

    Parameters
    ----------
    label_folders
        Folders of `aida-tools annotate` on the same cells, two at least.
    out
        Folder for the results; see `combine.agree` for the rule.

    Raises
    ------
    AidaError
        If there is only one, or they are of different cells.
    """
    if len(label_folders) < 2:
        msg = f"consensus needs the folders of two annotators at least, not {len(label_folders)}."
        raise AidaError(msg)
    tables = [read_cells(folder / LABELS, columns=["cell_id", "cell_type"]) for folder in label_folders]
    ids = tables[0]["cell_id"].to_numpy()
    for folder, table in zip(label_folders, tables, strict=True):
        if len(table) != len(ids) or not (table["cell_id"].to_numpy() == ids).all():
            msg = f"{folder / LABELS}: its cells are not those of {label_folders[0] / LABELS}. Annotate the same cells."
            raise AidaError(msg)
    members: dict[str, set[str]] = {}
    for folder in label_folders:
        for row in read_denominators(folder / SETS).itertuples():
            members.setdefault(str(row.denominator), set()).add(str(row.cell_type))
    types, extended = combine.agree([table["cell_type"] for table in tables], members)
    labels = pd.DataFrame({"cell_id": ids, "cell_type": pd.Categorical(types)})
    labels = labels.assign(label=labels["cell_type"], probability=np.nan, margin=np.nan)
    rows = [(name, out.name, member) for name, listed in sorted(extended.items()) for member in sorted(listed)]
    inputs = [folder / name for folder in label_folders for name in (LABELS, SETS)]
    config = {"annotators": [folder.name for folder in label_folders]}
    with staged(out, step="consensus", inputs=inputs, config=config) as staging:
        write_parquet(labels, staging / LABELS)
        write_tsv(pd.DataFrame(rows, columns=["denominator", "annotator", "cell_type"]), staging / SETS)
