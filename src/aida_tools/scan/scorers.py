"""Models fitted to the genes of one file: from a block of counts to labels, probabilities and margins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.errors import AidaError
from aida_tools.scan import kernels, network
from aida_tools.scan.blocks import Block, Genes
from aida_tools.scan.model import (
    LABEL_MAP,
    RECORD,
    LinearModel,
    find_model,
    load_model,
    match_genes,
    prepare,
    probabilities,
)
from aida_tools.scan.network import Network, hidden_to_log_probabilities, join_stages, load_network
from aida_tools.tables import read_tsv

Model = LinearModel | Network


@dataclass(frozen=True)
class Scored:
    """What a model says of a block of cells, arrays of shape (n_cells,).

    Attributes
    ----------
    label
        Place in the model's classes.
    probability
        Of the label, 0 to 1.
    margin
        Score of the label minus that of the best other class; for networks, of logarithms of probabilities.
    treg_margin
        Score of Treg classes minus that of the classes they are told from (see `Contrast`); None where the model
        has no such classes.
    probabilities
        Of every class, array of shape (n_cells, n_classes), rows summing to 1; None for models whose classes do not
        exclude one another, and for networks.
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
    """A model ready for the genes of one file."""

    name: str
    classes: NDArray[np.str_]
    n_shared: int

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block, given the total count of each of its cells."""


class LinearScorer:
    """A linear model on one file."""

    def __init__(self, model: LinearModel, genes: Genes, contrast: Contrast | None):
        self.name, self.classes = model.name, model.classes
        self._model, self._ready, self._contrast = model, prepare(model, genes), contrast
        self.n_shared = self._ready.n_shared

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block, given the total count of each of its cells."""
        ready, model = self._ready, self._model
        scores: NDArray[np.float64] = kernels.linear_scores(
            block.indptr, block.indices, block.data, total, ready.slot, ready.weight, ready.cap, ready.constant,
            model.target,
        )  # fmt: skip
        label, best, runner_up = kernels.best_two(scores)
        exclusive = model.link == "softmax"
        every = probabilities(model, scores) if exclusive else None
        # The probability of a class by itself needs its own score only.
        probability = probabilities(model, best) if every is None else every[np.arange(len(label)), label]
        treg = None
        if self._contrast is not None:
            treg = self._contrast.summed(scores / model.temperature) if exclusive else self._contrast.best(scores)
        return Scored(label, probability, best - runner_up, treg, every)


class NetworkScorer:
    """A network on one file."""

    def __init__(self, model: Network, genes: Genes, contrast: Contrast | None):
        self.name, self.classes = model.name, model.classes
        self._model, self._contrast = model, contrast
        self._slot = match_genes(model.name, model.genes, model.symbols, genes)
        # Its library size is over its own genes.
        self._own = np.where(self._slot >= 0, np.int32(0), np.int32(-1))
        self.n_shared = int((self._slot >= 0).sum())
        # Both first layers in one go; log2 is log1p over log 2.
        self._split = model.coarse[0][0].shape[1]
        first = np.hstack([model.coarse[0][0], model.fine[0][0]]) / np.log(2)
        self._first = np.ascontiguousarray(first)
        self._bias = np.concatenate([model.coarse[0][1], model.fine[0][1]])
        self._no_cap = np.full(len(model.genes), np.inf)

    def score(self, block: Block, total: NDArray[np.int64]) -> Scored:
        """Score a block; the total count over all genes is not used."""
        csr = block.indptr, block.indices, block.data
        own = kernels.gather(*csr, self._own, 1)[:, 0].astype(np.int64)
        hidden = kernels.linear_scores(*csr, own, self._slot, self._first, self._no_cap, self._bias, 1e4)
        coarse = hidden_to_log_probabilities(hidden[:, : self._split], self._model.coarse)
        fine = hidden_to_log_probabilities(hidden[:, self._split :], self._model.fine)
        joint, label = join_stages(self._model, coarse, fine)
        rows = np.arange(len(label))
        mine = joint[rows, label]
        others = joint.copy()
        others[rows, label] = -np.inf
        treg = None if self._contrast is None else self._contrast.summed(joint)
        return Scored(label, np.exp(mine), mine - others.max(axis=1), treg)


def read_contrast(folder: Path, classes: Sequence[str]) -> Contrast | None:
    """Read which classes of a model are Tregs and which they are told from, if its label map says so.

    Raises
    ------
    AidaError
        If the label map's column `treg` holds anything but `in`, `out` and nothing.
    """
    path = folder / LABEL_MAP
    if not path.is_file():
        return None
    table = read_tsv(path)
    if "treg" not in table.columns:
        return None
    odd = sorted(set(table["treg"].dropna()) - {"in", "out"})
    if odd:
        msg = f"{path}: column 'treg': value '{odd[0]}' must be in, out or empty."
        raise AidaError(msg)
    role = table.set_index("label")["treg"].reindex(list(classes))
    inside, outside = (np.flatnonzero(role == side) for side in ("in", "out"))
    return Contrast(inside, outside) if len(inside) and len(outside) else None


def load_any(folder: Path) -> Model:
    """Read a model of either kind from its folder.

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
    return load_model(folder)


def load_models(names: Sequence[str], folder: Path) -> list[tuple[Model, Contrast | None]]:
    """Read several models, by path or by name, with their Treg contrasts.

    Raises
    ------
    AidaError
        If one is absent or damaged, or two have one name.
    """
    found = []
    seen: set[str] = {"gate", "author"}
    for name in names:
        place = find_model(name, folder)
        model = load_any(place)
        if model.name in seen:
            msg = f"--model: two annotators are called '{model.name}'. Rename one."
            raise AidaError(msg)
        seen.add(model.name)
        found.append((model, read_contrast(place, pd.Index(model.classes).tolist())))
    return found


def make_scorer(model: Model, contrast: Contrast | None, genes: Genes) -> Scorer:
    """Fit a model to the genes of a file.

    Raises
    ------
    AidaError
        If it shares no gene with the file.
    """
    kind = NetworkScorer if isinstance(model, Network) else LinearScorer
    return kind(model, genes, contrast)  # type: ignore[arg-type]
