"""Classifiers as annotators: converting, showing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from aida_tools.annotate.labels import read_label_map
from aida_tools.annotate.pickles import read_celltypist
from aida_tools.annotate.registry import ANNOTATORS
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256, staged
from aida_tools.scan.classifier import ARRAYS, LinearClassifier, find_classifier, save_linear
from aida_tools.scan.scorers import load_classifier
from aida_tools.scan.tables import LABEL_MAP


def check_name(name: str) -> None:
    """Check that a classifier can be called so.

    Raises
    ------
    AidaError
        If not: the name becomes part of file and column names.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*", name) or name in ANNOTATORS:
        raise AidaError(
            f"--name {name}: start with a letter, go on with letters, digits and _.+-, and not {', '.join(ANNOTATORS)}."
        )


def write_classifier(
    classifier: LinearClassifier,
    out: Path,
    *,
    step: str,
    inputs: list[Path],
    label_map: Path | None,
    seed: int | None = None,
) -> None:
    """Write a classifier's folder: `classifier.npz`, `classifier.json` and, if there is one, `labels.tsv`.

    Raises
    ------
    AidaError
        If the label map is wrong or lacks a class of the classifier.
    """
    if label_map is not None:
        holes = sorted(set(classifier.classes.tolist()) - set(read_label_map(label_map)["label"]))
        if holes:
            raise AidaError(f"{label_map}: column 'label': no row for {', '.join(holes)}. Say what each is counted as.")
        inputs = [*inputs, label_map]
    with staged(out, step=step, inputs=inputs, seed=seed) as staging:
        save_linear(classifier, staging)
        if label_map is not None:
            shutil.copyfile(label_map, staging / LABEL_MAP.file)


def import_classifier(path: Path, out: Path, *, name: str | None, label_map: Path | None) -> None:
    """Convert a pickled CellTypist classifier, without running what is in the pickle.

    Parameters
    ----------
    path
        The `.pkl` file.
    out
        Folder of classifiers; the classifier becomes a folder in it.
    name
        Name as an annotator; by default that of the file.
    label_map
        Table that says what each of its labels is counted as.

    Raises
    ------
    AidaError
        See `read_celltypist` and `write_classifier`.
    """
    name = name or re.sub(r"[^A-Za-z0-9_.+-]", "_", path.stem)
    check_name(name)
    write_classifier(
        read_celltypist(path, name), out / name, step="classifier import", inputs=[path], label_map=label_map
    )


def show_classifier(name: str, folder: Path) -> str:
    """Describe a classifier: classes, genes, where it is from, its licence, its digest.

    Raises
    ------
    AidaError
        If there is no such classifier or it cannot be read.
    """
    place = find_classifier(name, folder)
    classifier = load_classifier(place)
    some, mapped = ", ".join(classifier.genes[:3]), (place / LABEL_MAP.file).is_file()
    lines = [f"{classifier.name}: {len(classifier.classes)} classes, {len(classifier.genes)} genes ({some}, ...)"]
    if isinstance(classifier, LinearClassifier):
        lines += [
            f"probabilities: {classifier.link} of scores / {classifier.temperature:g}",
            f"expression: log1p(counts per {classifier.target:g}), standardised, cut off above {classifier.clip:g}",
        ]
    else:
        lines += [f"network: {len(classifier.coarse_classes)} coarse classes; '{classifier.parent}' is divided further"]
    return "\n".join(
        [
            *lines,
            f"sha256 of its arrays: {sha256(place / ARRAYS)}",
            f"label map: {LABEL_MAP.file if mapped else 'none: give one to annotate --label-map'}",
            *[f"{key}: {value}" for key, value in classifier.about.items()],
            "classes:",
            *[f"  {label}" for label in classifier.classes],
        ]
    )
