"""Classifiers matched to the genes of one file: from a block of counts to labels, probabilities and margins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError
from aida_tools.core.schema import read_tsv
from aida_tools.scan import kernels, network
from aida_tools.scan.blocks import Block, Genes
from aida_tools.scan.classifier import (
    RECORD,
    LinearClassifier,
    find_classifier,
    load_linear,
    match_genes,
    prepare,
    probabilities,
)
from aida_tools.scan.network import Network, hidden_to_log_probabilities, join_stages, load_network
from aida_tools.scan.tables import LABEL_MAP

Classifier = LinearClassifier | Network


@dataclass(frozen=True)
class Scored:
    """What a classifier says of a block of cells, arrays of shape (n_cells,).

    Attributes
    ----------
    label
        Place in the classifier's classes.
    probability
        Of the label, 0 to 1.
    margin
        Score of the label minus that of the best other class; for networks, of logarithms of probabilities.
    treg_margin
        Score of Treg classes minus that of the classes they are told from (see `Contrast`); None where the classifier
        has no such classes.
    probabilities
        Of every class, array of shape (n_cells, n_classes), rows summing to 1; None for classifiers whose classes do
        not exclude one another, and for networks.
    """

    label: NDArray[np.int16]
    probability: NDArray[np.float64]
    margin: NDArray[np.float64]
    treg_margin: NDArray[np.float64] | None
    probabilities: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Contrast:
    """The classes that are Tregs, and the classes they must be told from: `treg` is in or out in the label map."""

    inside: NDArray[np.intp]
    outside: NDArray[np.intp]

    def best(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Best score inside minus best outside, for scores of classes each by itself."""
        return scores[:, self.inside].max(axis=1) - scores[:, self.outside].max(axis=1)

    def summed(self, log_probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log odds of inside against outside, for probabilities that exclude one another."""
        from scipy.special import logsumexp

        inside, outside = log_probability[:, self.inside], log_probability[:, self.outside]
        return np.asarray(logsumexp(inside, axis=1) - logsumexp(outside, axis=1))


class Scorer(Protocol):
    """A classifier ready for the genes of one file."""

    name: str
    classes: NDArray[np.str_]
    n_shared: int

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block, given the total count of each of its cells."""


class LinearScorer:
    """A linear classifier on one file."""

    def __init__(self, classifier: LinearClassifier, genes: Genes, contrast: Contrast | None):
        self.name, self.classes = classifier.name, classifier.classes
        self._classifier, self._ready, self._contrast = classifier, prepare(classifier, genes), contrast
        self.n_shared = self._ready.n_shared

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block, given the total count of each of its cells."""
        ready, classifier = self._ready, self._classifier
        scores: NDArray[np.float64] = kernels.linear_scores(
            block.indptr, block.indices, block.data, total, ready.slot, ready.weight, ready.cap, ready.constant,
            classifier.target,
        )  # fmt: skip
        label, best, runner_up = kernels.best_two(scores)
        exclusive = classifier.link == "softmax"
        every = probabilities(classifier, scores) if exclusive else None
        # The probability of a class by itself needs its own score only.
        probability = probabilities(classifier, best) if every is None else every[np.arange(len(label)), label]
        treg = None
        if self._contrast is not None:
            treg = self._contrast.summed(scores / classifier.temperature) if exclusive else self._contrast.best(scores)
        return Scored(label, probability, best - runner_up, treg, every)


class NetworkScorer:
    """A network on one file."""

    def __init__(self, classifier: Network, genes: Genes, contrast: Contrast | None):
        self.name, self.classes = classifier.name, classifier.classes
        self._classifier, self._contrast = classifier, contrast
        self._slot = match_genes(classifier.name, classifier.genes, classifier.symbols, genes)
        # Its library size is over its own genes.
        self._own = np.where(self._slot >= 0, np.int32(0), np.int32(-1))
        self.n_shared = int((self._slot >= 0).sum())
        # Both first layers in one go; log2 is log1p over log 2.
        self._split = classifier.coarse[0][0].shape[1]
        first = np.hstack([classifier.coarse[0][0], classifier.fine[0][0]]) / np.log(2)
        self._first = np.ascontiguousarray(first)
        self._bias = np.concatenate([classifier.coarse[0][1], classifier.fine[0][1]])
        self._no_cap = np.full(len(classifier.genes), np.inf)

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block; the total count over all genes is not used."""
        csr = block.indptr, block.indices, block.data
        own = kernels.gather(*csr, self._own, 1)[:, 0].astype(np.int64)
        hidden = kernels.linear_scores(*csr, own, self._slot, self._first, self._no_cap, self._bias, 1e4)
        coarse = hidden_to_log_probabilities(hidden[:, : self._split], self._classifier.coarse)
        fine = hidden_to_log_probabilities(hidden[:, self._split :], self._classifier.fine)
        joint, label = join_stages(self._classifier, coarse, fine)
        rows = np.arange(len(label))
        mine = joint[rows, label]
        others = joint.copy()
        others[rows, label] = -np.inf
        treg = None if self._contrast is None else self._contrast.summed(joint)
        return Scored(label, np.exp(mine), mine - others.max(axis=1), treg)


def read_contrast(folder: Path, classes: Sequence[str]) -> Contrast | None:
    """Read which classes of a classifier are Tregs and which they are told from, if its label map says so.

    Raises
    ------
    AidaError
        If the label map's column `treg` holds anything but `in`, `out` and nothing.
    """
    path = folder / LABEL_MAP.file
    if not path.is_file():
        return None
    table = read_tsv(path)
    if "treg" not in table.columns:
        return None
    odd = sorted(set(table["treg"].dropna()) - {"in", "out"})
    if odd:
        raise AidaError(f"{path}: column 'treg': value '{odd[0]}' must be in, out or empty.")
    role = table.set_index("label")["treg"].reindex(list(classes))
    inside, outside = (np.flatnonzero(role == side) for side in ("in", "out"))
    return Contrast(inside, outside) if len(inside) and len(outside) else None


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier of either kind from its folder.

    Raises
    ------
    AidaError
        If it is neither.
    """
    try:
        record: Any = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if isinstance(record, dict) and record.get("format") == network.FORMAT:
        return load_network(folder)
    return load_linear(folder)


def load_classifiers(names: Sequence[str], folder: Path) -> list[tuple[Classifier, Contrast | None]]:
    """Read several classifiers, by path or by name, with their Treg contrasts.

    Raises
    ------
    AidaError
        If one is absent or damaged, or two have one name.
    """
    found = []
    seen: set[str] = {"gate", "author"}
    for name in names:
        place = find_classifier(name, folder)
        classifier = load_classifier(place)
        if classifier.name in seen:
            raise AidaError(f"--classifier: two annotators are called '{classifier.name}'. Rename one.")
        seen.add(classifier.name)
        found.append((classifier, read_contrast(place, pd.Index(classifier.classes).tolist())))
    return found


def make_scorer(classifier: Classifier, contrast: Contrast | None, genes: Genes) -> Scorer:
    """Match a classifier to the genes of a file.

    Raises
    ------
    AidaError
        If it shares no gene with the file.
    """
    kind = NetworkScorer if isinstance(classifier, Network) else LinearScorer
    return kind(classifier, genes, contrast)  # type: ignore[arg-type]
