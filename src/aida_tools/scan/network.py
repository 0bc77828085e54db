"""A small neural network in two stages, as actinn has it, in the same safe form as the linear classifiers."""

from __future__ import annotations

import itertools
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256, write_json
from aida_tools.scan import kernels
from aida_tools.scan.classifier import ARRAYS, RECORD

FORMAT, VERSION = "aida-tools network", 1
_LAYERS = 4


@dataclass(frozen=True)
class Network:
    """Two multilayer perceptrons: a coarse one, and one that divides one of its classes further.

    Expression is log2(1 + counts per 10,000 of the network's own genes); layers are rectified but the last, of
    which a softmax makes probabilities. Classes that are not kept are left out of both softmaxes.

    Attributes
    ----------
    name
        Its name as an annotator.
    genes, symbols
        Ensembl ids and symbols of its genes, arrays of shape (n_genes,).
    coarse, fine
        Weights and biases of each layer, [(W, b), ...]; W of shape (n_in, n_out), the first with n_in = n_genes.
    coarse_classes, fine_classes
        Kept classes, arrays of str; `coarse_classes` holds `parent`, which the fine network divides.
    parent
        The divided class.
    about
        Source, licence, attribution.
    """

    name: str
    genes: NDArray[np.str_]
    symbols: NDArray[np.str_]
    coarse: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    fine: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    coarse_classes: NDArray[np.str_]
    fine_classes: NDArray[np.str_]
    parent: str
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for layers, classes in ((self.coarse, self.coarse_classes), (self.fine, self.fine_classes)):
            sizes = [len(self.genes), *[w.shape[1] for w, _ in layers]]
            shapes = list(itertools.pairwise(sizes))
            fits = [w.shape for w, _ in layers] == shapes and [len(b) for _, b in layers] == sizes[1:]
            if len(layers) != _LAYERS or not fits or sizes[-1] != len(classes):
                raise AidaError(
                    f"classifier '{self.name}': its layers do not fit one another, its genes or its classes."
                )
            if not all(np.isfinite(part).all() for layer in layers for part in layer):
                raise AidaError(f"classifier '{self.name}': its weights must be finite numbers.")
        if self.parent not in self.coarse_classes or len(self.symbols) != len(self.genes):
            raise AidaError(
                f"classifier '{self.name}': no coarse class '{self.parent}', or not a symbol for every gene."
            )
        if len(set(self.classes)) < len(self.classes):
            raise AidaError(f"classifier '{self.name}': a class occurs twice.")

    @property
    def classes(self) -> NDArray[np.str_]:
        """The coarse classes but for the divided one, then the fine ones."""
        return np.concatenate([self.coarse_classes[self.coarse_classes != self.parent], self.fine_classes])


def hidden_to_log_probabilities(
    hidden: NDArray[np.float64], layers: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Run the layers behind the first on its output.

    Parameters
    ----------
    hidden
        Output of the first layer before rectification, array of shape (n_cells, n_hidden).
    layers
        All layers of a network; the first is skipped.

    Returns
    -------
    Logarithms of the probabilities, array of shape (n_cells, n_classes).
    """
    from scipy.special import log_softmax

    for weight, bias in layers[1:]:
        hidden = kernels.dense_layer(hidden, weight, bias)
    return log_softmax(hidden, axis=1)


def join_stages(
    network: Network, coarse: NDArray[np.float64], fine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Unite the two stages.

    Parameters
    ----------
    network
        The network.
    coarse, fine
        Logarithms of the probabilities of each stage, arrays of shape (n_cells, n_classes of the stage).

    Returns
    -------
    joint
        Logarithms of the probabilities of `network.classes`, array of shape (n_cells, n_classes).
    label
        Place in `network.classes` of the label, array of shape (n_cells,): the coarse network decides first, and if
        it says `parent` the fine one decides.
    """
    other = network.coarse_classes != network.parent
    parent = int(np.flatnonzero(~other)[0])
    joint = np.hstack([coarse[:, other], fine + coarse[:, [parent]]])
    first = coarse.argmax(axis=1)
    place = np.cumsum(other) - 1
    label = np.where(first == parent, int(other.sum()) + fine.argmax(axis=1), place[first])
    return joint, label.astype(np.int16)


def save_network(network: Network, folder: Path) -> None:
    """Write `classifier.npz` and `classifier.json` into a folder; the JSON holds the digest of the arrays."""
    arrays: dict[str, Any] = {
        f"{stage}_{kind}{i}": part
        for stage, layers in (("coarse", network.coarse), ("fine", network.fine))
        for i, layer in enumerate(layers)
        for kind, part in zip("Wb", layer, strict=True)
    }
    names = ("genes", "symbols", "coarse_classes", "fine_classes")
    np.savez_compressed(folder / ARRAYS, **arrays, **{name: getattr(network, name) for name in names})
    record = {
        "format": FORMAT, "version": VERSION, "name": network.name, "parent": network.parent,
        "arrays_sha256": sha256(folder / ARRAYS), "about": network.about,
    }  # fmt: skip
    write_json(folder / RECORD, record)


def load_network(folder: Path) -> Network:
    """Read a network from its folder; nothing in it can run.

    Raises
    ------
    AidaError
        If a file is absent, damaged, of another version, or does not belong with the other.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["version"] != VERSION or sha256(folder / ARRAYS) != record["arrays_sha256"]:
            raise AidaError(
                f"{folder}: of another version, or its SHA-256 is not the one in {RECORD}. Make the classifier again."
            )
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            stages: dict[str, Any] = {
                stage: [tuple(stored[f"{stage}_{kind}{i}"].astype(np.float64) for kind in "Wb") for i in range(_LAYERS)]
                for stage in ("coarse", "fine")
            }
            names = {name: stored[name] for name in ("genes", "symbols", "coarse_classes", "fine_classes")}
        return Network(name=record["name"], parent=record["parent"], about=record["about"], **stages, **names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise AidaError(
            f"{folder}: not a readable network ({type(error).__name__}: {error}). Make the classifier again."
        ) from error
