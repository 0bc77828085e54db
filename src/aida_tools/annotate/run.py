"""From cells and their scan to one folder an annotator: labels, sets, who it is, expected counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.annotate import combine
from aida_tools.annotate.annotation import COLUMNS, SCORES, Annotation
from aida_tools.annotate.card import CARD, Card, read_card
from aida_tools.annotate.proteins import from_proteins
from aida_tools.annotate.scanned import Scan, find_label_map, from_scan
from aida_tools.cohort.labels import resolve_labels
from aida_tools.cohort.source import SOURCE
from aida_tools.config import load_cohort
from aida_tools.errors import AidaError
from aida_tools.files import file_of, staged
from aida_tools.tables import AUTHOR, CELLS, PROTEIN, read_cells, read_denominators, write_parquet, write_tsv

LABELS, SETS, EXPECTED = "labels.parquet", "sets.tsv", "expected.tsv"


def from_author(cells_path: Path, cohort_path: Path) -> Annotation:
    """Take the authors' labels as the cohort file says they are counted.

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
    column = labels.column or labels.ids
    text = f"Cell types are the labels the authors gave, of the column '{column}', united as the cohort file says"
    return Annotation(
        table.assign(**dict.fromkeys(SCORES, np.nan)), pd.DataFrame(rows, columns=["denominator", "cell_type"]),
        Card("author", text),
    )  # fmt: skip


def annotate(
    cohort_path: Path,
    cells_path: Path,
    scan_path: Path | None,
    annotator: str,
    out: Path,
    *,
    label_map: Path | None = None,
    model_folder: Path = Path("models"),
    fetched: Path | None = None,
) -> None:
    """Write what one annotator says: `labels.parquet`, `sets.tsv`, `annotator.json`, perhaps `expected.tsv`.

    Parameters
    ----------
    cohort_path
        The cohort file.
    cells_path, scan_path
        `cells.parquet` and `scan.parquet`, or their folders. `author` and `protein` need no scan.
    annotator
        `author`, `protein`, `gate`, a model the scan was given, the common name of models trained in folds, or one
        made of models: `blood`, `blood-sensitive`.
    out
        Folder for the results; its name is the annotator's name in all tables.
    label_map
        Table that says what each label is counted as; by default the model's own, or the one in config.
    model_folder
        Folder of models.
    fetched
        Folder in which `fetch` left its results; only `protein` needs it.

    Raises
    ------
    AidaError
        If an input is missing or wrong.
    """
    cells_path = file_of(cells_path, CELLS)
    inputs = [cohort_path, cells_path]
    if annotator == AUTHOR:
        found = from_author(cells_path, cohort_path)
    elif annotator == PROTEIN:
        if fetched is None:
            msg = f"annotator '{PROTEIN}' reads the data's proteins: name the folder of `aida-tools fetch`, --fetched."
            raise AidaError(msg)
        label_map = label_map or find_label_map(PROTEIN, model_folder)
        found = from_proteins(cells_path, cohort_path, fetched, label_map)
        inputs.append(fetched / SOURCE)
    elif scan_path is None:
        msg = f"annotator '{annotator}' needs the folder of `aida-tools scan` as third argument."
        raise AidaError(msg)
    else:
        scan = Scan.open(scan_path, cells_path)
        found = from_scan(scan, annotator, label_map, model_folder)
        inputs.append(scan.path)
    write_annotation(found, out, step="annotate", inputs=inputs, config={"annotator": annotator})


def write_annotation(
    found: Annotation, out: Path, *, step: str, inputs: Sequence[Path], config: dict[str, object]
) -> None:
    """Write an annotator's folder, under the name of the folder."""
    name = out.resolve().name
    with staged(out, step=step, inputs=[*inputs, *found.inputs], config=config) as staging:
        write_parquet(found.labels[list(COLUMNS)], staging / LABELS)
        sets = found.sets.assign(annotator=name)[["denominator", "annotator", "cell_type"]]
        write_tsv(sets, staging / SETS)
        found.card.write(name, staging)
        if found.expected is not None:
            write_tsv(found.expected, staging / EXPECTED)
        for file, table in found.tables.items():
            write_tsv(table, staging / file)
    if found.expected is None:
        (out / EXPECTED).unlink(missing_ok=True)


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
        if not np.array_equal(table["cell_id"].to_numpy(), ids):
            msg = f"{folder / LABELS}: its cells are not those of {label_folders[0] / LABELS}. Annotate the same cells."
            raise AidaError(msg)
    members: dict[str, set[str]] = {}
    for folder in label_folders:
        for row in read_denominators(folder / SETS).itertuples():
            members.setdefault(str(row.denominator), set()).add(str(row.cell_type))
    types, extended = combine.agree([table["cell_type"] for table in tables], members)
    labels = pd.DataFrame({"cell_id": ids, "cell_type": pd.Categorical(types)})
    labels = labels.assign(label=labels["cell_type"], **dict.fromkeys(SCORES, np.nan))
    rows = [(name, member) for name, listed in sorted(extended.items()) for member in sorted(listed)]
    names, cards = [folder.name for folder in label_folders], [read_card(folder) for folder in label_folders]
    text = (
        f"A cell is what more than half of the annotators {', '.join(names)} say, else unresolved within the narrowest "
        "set of types more than half agree on"
    )
    models = {model["sha256"]: model for card in cards for model in card["models"]}
    card = Card("consensus", text, list(models.values()), any(card["thinned"] for card in cards))
    inputs = [folder / name for folder in label_folders for name in (LABELS, SETS, CARD)]
    found = Annotation(labels, pd.DataFrame(rows, columns=["denominator", "cell_type"]), card)
    write_annotation(found, out, step="consensus", inputs=inputs, config={"annotators": names})
