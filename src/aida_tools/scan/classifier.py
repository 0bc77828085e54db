"""Linear classifiers in CellTypist's form, in a format that cannot carry code: arrays in `.npz`, text in `.json`."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import sha256, write_json
from aida_tools.scan.blocks import Genes

FORMAT = "aida-tools linear classifier"
VERSION = 1
RECORD, ARRAYS = "classifier.json", "classifier.npz"
LINKS = ("sigmoid", "softmax")
_ARRAYS = ("coef", "intercept", "mean", "scale", "genes", "symbols", "classes")
#: What its record holds beside them.
_OPTIONS = ("clip", "target", "link", "temperature", "about")


@dataclass(frozen=True)
class LinearClassifier:
    """A linear classifier on standardised log1p expression.

    Attributes
    ----------
    name
        Its name as an annotator.
    genes
        Features, array of shape (n_genes,), none twice: symbols or Ensembl ids.
    symbols
        Symbols of the features where `genes` are ids; the same as `genes` where nothing else is known.
    classes
        Labels, array of shape (n_classes,), at least two.
    coef
        Weights on standardised expression, array of shape (n_classes, n_genes).
    intercept
        Array of shape (n_classes,).
    mean, scale
        Mean and standard deviation of each gene's log1p expression, arrays of shape (n_genes,).
    clip
        Standardised expression is cut off above this.
    target
        Library size that cells are scaled to before log1p.
    link
        How scores become probabilities: `sigmoid` of each class by itself, as CellTypist does, or `softmax`.
    temperature
        Scores are divided by this first; other than 1 only for calibrated classifiers.
    about
        Source, licence, attribution, how it was made: shown by `aida-tools classifier show`, kept with the classifier.
    """

    name: str
    genes: NDArray[np.str_]
    classes: NDArray[np.str_]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    symbols: NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=str))
    clip: float = 10.0
    target: float = 1e4
    link: str = "sigmoid"
    temperature: float = 1.0
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_classes, n_genes = len(self.classes), len(self.genes)
        if not len(self.symbols):
            object.__setattr__(self, "symbols", self.genes)
        if len(self.symbols) != n_genes:
            raise AidaError(f"classifier '{self.name}': {len(self.symbols)} symbols for {n_genes} genes.")
        wanted = {"coef": (n_classes, n_genes), "intercept": (n_classes,), "mean": (n_genes,), "scale": (n_genes,)}
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise AidaError(
                    f"classifier '{self.name}': '{name}' must be finite numbers of shape {shape}, not {array.shape}."
                )
        if n_classes < 2 or not n_genes:
            raise AidaError(
                f"classifier '{self.name}': it has {n_classes} classes and {n_genes} genes; two and one are the least."
            )
        for name in ("genes", "classes"):
            values, repeats = np.unique(getattr(self, name), return_counts=True)
            if (repeats > 1).any():
                raise AidaError(f"classifier '{self.name}': '{name}' has '{values[repeats > 1][0]}' twice.")
        if not ((self.scale > 0).all() and self.clip > 0 and self.target > 0 and self.temperature > 0):
            raise AidaError(f"classifier '{self.name}': scale, clip, target and temperature must be above 0.")
        if self.link not in LINKS:
            raise AidaError(f"classifier '{self.name}': unknown link '{self.link}'. {did_you_mean(self.link, LINKS)}")


@dataclass(frozen=True)
class Prepared:
    """A classifier matched to the genes of one file, ready for `kernels.linear_scores`.

    Attributes
    ----------
    slot, weight, cap, constant
        See `kernels.linear_scores`.
    n_shared
        How many of the classifier's genes the file has.
    """

    slot: NDArray[np.int32]
    weight: NDArray[np.float64]
    cap: NDArray[np.float64]
    constant: NDArray[np.float64]
    n_shared: int


def match_genes(name: str, own_ids: NDArray[np.str_], own_symbols: NDArray[np.str_], genes: Genes) -> NDArray[np.int32]:
    """Find which gene of a classifier each gene of a file is.

    Genes are matched by Ensembl id or by symbol, whichever finds more (ids where equal). Of genes that share a name
    the first counts, as in CellTypist.

    Returns
    -------
    Place in the classifier, array of shape (n_genes,); -1 for none.

    Raises
    ------
    AidaError
        If no gene is shared.
    """
    places = []
    for mine, names in ((own_ids, genes.ids), (own_ids, genes.symbols), (own_symbols, genes.symbols)):
        first = ~pd.Series(mine).duplicated().to_numpy()
        place = pd.Series(np.flatnonzero(first), index=mine[first]).reindex(names).fillna(-1).to_numpy(np.int64)
        place[pd.Series(names).duplicated().to_numpy()] = -1
        places.append(place)
    slot = max(places, key=lambda p: int((p >= 0).sum())).astype(np.int32)
    if not (slot >= 0).any():
        few = ", ".join(own_ids[:3]), ", ".join(str(s) for s in genes.symbols[:3])
        raise AidaError(
            f"classifier '{name}': none of its genes (such as {few[0]}) is among the file's (such as {few[1]})."
        )
    return slot


def prepare(classifier: LinearClassifier, genes: Genes) -> Prepared:
    """Match a classifier to the genes of a file; genes the file lacks drop out, as in CellTypist.

    Raises
    ------
    AidaError
        If no gene is shared.
    """
    slot = match_genes(classifier.name, classifier.genes, classifier.symbols, genes)
    shared = np.zeros(len(classifier.genes), dtype=bool)
    shared[slot[slot >= 0]] = True
    weight = np.ascontiguousarray((classifier.coef / classifier.scale).T)
    constant = classifier.intercept - classifier.mean[shared] @ weight[shared]
    return Prepared(slot, weight, classifier.mean + classifier.clip * classifier.scale, constant, int(shared.sum()))


def probabilities(classifier: LinearClassifier, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn scores into probabilities by the classifier's link.

    Parameters
    ----------
    scores
        Array of shape (n_cells, n_classes); for `sigmoid` of any shape.

    Returns
    -------
    Array of the same shape, values in [0, 1]; rows sum to 1 for `softmax`.
    """
    from scipy.special import expit, softmax

    scaled = scores / classifier.temperature
    return softmax(scaled, axis=1) if classifier.link == "softmax" else expit(scaled)


def save_linear(classifier: LinearClassifier, folder: Path) -> None:
    """Write `classifier.npz` and `classifier.json` into a folder; the JSON holds the digest of the arrays."""
    np.savez_compressed(folder / ARRAYS, **{name: getattr(classifier, name) for name in _ARRAYS})
    record: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    record |= {key: getattr(classifier, key) for key in ("name", *_OPTIONS)}
    write_json(folder / RECORD, record | {"arrays_sha256": sha256(folder / ARRAYS)})


def find_classifier(name: str, folder: Path) -> Path:
    """Find the folder of a classifier, given by its path or by its name in a folder of classifiers.

    Raises
    ------
    AidaError
        If there is none; it names the nearest.
    """
    for place in (Path(name), folder / name):
        if (place / RECORD).is_file():
            return place
    there = [path.parent.name for path in folder.glob(f"*/{RECORD}")]
    msg = f"--classifier {name}: neither the folder of a classifier nor the name of one in {folder}. "
    msg += did_you_mean(name, there)
    raise AidaError(msg)


def load_linear(folder: Path) -> LinearClassifier:
    """Read a classifier from its folder; nothing in it can run.

    Raises
    ------
    AidaError
        If a file is absent, damaged, of another format or version, or does not belong with the other.
    """
    path, arrays = folder / RECORD, folder / ARRAYS
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise AidaError(
                f"{path}: this is not a classifier of aida-tools. `aida-tools classifier import` converts those of "
                "CellTypist."
            )
        if record.get("version") != VERSION:
            found = record.get("version")
            raise AidaError(f"{path}: format version {found}, but this aida-tools reads {VERSION}. Convert it again.")
        if sha256(arrays) != record["arrays_sha256"]:
            raise AidaError(f"{arrays}: its SHA-256 is not the one in {RECORD}. Get both files again.")
        with np.load(arrays, allow_pickle=False) as stored:
            loaded = {name: stored[name] for name in _ARRAYS}
        options = {key: record[key] for key in _OPTIONS}
        return LinearClassifier(name=record["name"], **loaded, **options)
    except FileNotFoundError as error:
        raise AidaError(f"{error.filename}: there is no such file.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise AidaError(
            f"{path}: not a readable classifier ({type(error).__name__}: {error}). Convert or train it again."
        ) from error
