"""From cells and their scan to one folder an annotator: labels, sets, who it is, expected counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from aida_tools.annotate import combine
from aida_tools.annotate.annotation import SCORES, Annotation
from aida_tools.annotate.card import CARD, Card, read_card
from aida_tools.annotate.inputs import Inputs
from aida_tools.annotate.registry import find
from aida_tools.core.errors import AidaError
from aida_tools.core.files import file_of, staged
from aida_tools.core.names import CONSENSUS
from aida_tools.core.schema import write_tables
from aida_tools.core.tables import CELLS, EXPECTED, LABELS, SETS, read_cells, read_denominators, uncounted
from aida_tools.core.words import left_out


def annotate(
    cohort_path: Path,
    cells_path: Path,
    scan_path: Path | None,
    annotator: str,
    out: Path,
    *,
    label_map: Path | None = None,
    classifier_folder: Path = Path("classifiers"),
    fetched: Path | None = None,
) -> None:
    """Write what one annotator says: `labels.parquet`, `sets.tsv`, `annotator.json`, perhaps `expected.tsv`.

    Parameters
    ----------
    cohort_path
        The cohort file.
    cells_path, scan_path
        `cells.parquet` and `scan.parquet`, or their folders; `author` and `protein` need no scan.
    annotator
        An annotator of the registry, a classifier of the scan, or the common name of classifiers trained in folds.
    out
        Folder for the results; its name is the annotator's name in all tables.
    label_map
        Table that says what each label is counted as; by default the classifier's own, or the one in config.
    classifier_folder
        Folder of classifiers.
    fetched
        Folder in which `fetch` left its results; only `protein` needs it.

    Raises
    ------
    AidaError
        If an input is missing or wrong.
    """
    entry = find(annotator)
    given = Inputs(
        entry, cohort_path, file_of(cells_path, CELLS.file), scan_path, fetched, label_map, classifier_folder
    )
    if entry.run is None:
        raise AidaError(
            f"annotator '{annotator}' ({entry.words}) is made by a command of its own: `aida-tools {annotator}`."
        )
    found = entry(given)
    write_annotation(found, out, step="annotate", inputs=given.read, config={"annotator": annotator})


def write_annotation(
    found: Annotation, out: Path, *, step: str, inputs: Sequence[Path], config: dict[str, object]
) -> None:
    """Write an annotator's folder, under the name of the folder."""
    name = out.resolve().name
    with staged(out, step=step, inputs=[*inputs, *found.inputs], config=config) as staging:
        LABELS.write(found.labels, staging)
        SETS.write(found.sets.assign(annotator=name), staging)
        found.card.write(name, staging)
        if found.expected is not None:
            EXPECTED.write(found.expected, staging)
        write_tables(found.tables, staging)
    if lost := uncounted(found.labels):
        text = left_out("cell", sum(lost.values()), len(found.labels), lost)
        click.echo(f"aida-tools: not counted by annotator '{name}': {text}", err=True)
    if found.expected is None:
        (out / EXPECTED.file).unlink(missing_ok=True)


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
        raise AidaError(f"consensus needs the folders of two annotators at least, not {len(label_folders)}.")
    tables = [read_cells(folder / LABELS.file, columns=["cell_id", "cell_type"]) for folder in label_folders]
    ids = tables[0]["cell_id"].to_numpy()
    for folder, table in zip(label_folders, tables, strict=True):
        if not np.array_equal(table["cell_id"].to_numpy(), ids):
            first = label_folders[0] / LABELS.file
            raise AidaError(f"{folder / LABELS.file}: its cells are not those of {first}. Annotate the same cells.")
    members: dict[str, set[str]] = {}
    for folder in label_folders:
        for row in read_denominators(folder / SETS.file).itertuples():
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
    classifiers = {one["sha256"]: one for card in cards for one in card["classifiers"]}
    card = Card(find(CONSENSUS), text, list(classifiers.values()), any(card["thinned"] for card in cards))
    inputs = [folder / name for folder in label_folders for name in (LABELS.file, SETS.file, CARD)]
    found = Annotation(labels, pd.DataFrame(rows, columns=["denominator", "cell_type"]), card)
    write_annotation(found, out, step="consensus", inputs=inputs, config={"annotators": names})
