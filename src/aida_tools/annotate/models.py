"""Models as annotators: converting, showing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from aida_tools.annotate.labels import read_label_map
from aida_tools.annotate.pickles import read_celltypist
from aida_tools.errors import AidaError
from aida_tools.files import sha256, staged
from aida_tools.scan.model import ARRAYS, LABEL_MAP, LinearModel, find_model, save_model
from aida_tools.scan.scorers import load_any
from aida_tools.tables import AUTHOR, BLOOD, BLOOD_SENSITIVE, CONSENSUS, GATE, PROTEIN

RESERVED = (AUTHOR, GATE, BLOOD, BLOOD_SENSITIVE, CONSENSUS, PROTEIN)


def check_name(name: str) -> None:
    """Check that a model can be called so.

    Raises
    ------
    AidaError
        If not: the name becomes part of file and column names.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.+-]*", name) or name in RESERVED:
        msg = f"--name {name}: start with a letter, go on with letters, digits and _.+-, and not {', '.join(RESERVED)}."
        raise AidaError(msg)


def write_model(
    model: LinearModel, out: Path, *, step: str, inputs: list[Path], label_map: Path | None, seed: int | None = None
) -> None:
    """Write a model's folder: `model.npz`, `model.json` and, if there is one, `labels.tsv`.

    Raises
    ------
    AidaError
        If the label map is wrong or lacks a class of the model.
    """
    if label_map is not None:
        holes = sorted(set(model.classes.tolist()) - set(read_label_map(label_map)["label"]))
        if holes:
            msg = f"{label_map}: column 'label': no row for {', '.join(holes)}. Say what each is counted as."
            raise AidaError(msg)
        inputs = [*inputs, label_map]
    with staged(out, step=step, inputs=inputs, seed=seed) as staging:
        save_model(model, staging)
        if label_map is not None:
            shutil.copyfile(label_map, staging / LABEL_MAP)


def import_model(path: Path, out: Path, *, name: str | None, label_map: Path | None) -> None:
    """Convert a pickled CellTypist model, without running what is in the pickle.

    Parameters
    ----------
    path
        The `.pkl` file.
    out
        Folder of models; the model becomes a folder in it.
    name
        Name as an annotator; by default that of the file.
    label_map
        Table that says what each of its labels is counted as.

    Raises
    ------
    AidaError
        See `read_celltypist` and `write_model`.
    """
    name = name or re.sub(r"[^A-Za-z0-9_.+-]", "_", path.stem)
    check_name(name)
    write_model(read_celltypist(path, name), out / name, step="model import", inputs=[path], label_map=label_map)


def show_model(name: str, folder: Path) -> str:
    """Describe a model: classes, genes, where it is from, its licence, its digest.

    Raises
    ------
    AidaError
        If there is no such model or it cannot be read.
    """
    place = find_model(name, folder)
    model = load_any(place)
    lines = [
        f"{model.name}: {len(model.classes)} classes, {len(model.genes)} genes ({', '.join(model.genes[:3])}, ...)"
    ]
    if isinstance(model, LinearModel):
        lines += [
            f"probabilities: {model.link} of scores / {model.temperature:g}",
            f"expression: log1p(counts per {model.target:g}), standardised, cut off above {model.clip:g}",
        ]
    else:
        lines += [f"network: {len(model.coarse_classes)} coarse classes; '{model.parent}' is divided further"]
    return "\n".join(
        [
            *lines,
            f"sha256 of its arrays: {sha256(place / ARRAYS)}",
            f"label map: {LABEL_MAP if (place / LABEL_MAP).is_file() else 'none: give one to annotate --label-map'}",
            *[f"{key}: {value}" for key, value in model.about.items()],
            "classes:",
            *[f"  {label}" for label in model.classes],
        ]
    )
