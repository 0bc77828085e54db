"""Expected counts: a model's calibrated probabilities summed by sample and class, exactly."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.errors import AidaError, did_you_mean
from aida_tools.scan import kernels
from aida_tools.scan.model import LinearModel
from aida_tools.scan.network import Network
from aida_tools.tables import write_parquet


class Expected:
    """Expected number of cells of every sample and class.

    Parameters
    ----------
    name
        The model.
    samples, labels
        Names of the samples and of the model's classes; every pair is a row, also without any cell.
    """

    def __init__(self, name: str, samples: Sequence[str], labels: Sequence[str]):
        self.name, self.samples, self.labels = name, list(samples), list(labels)
        self._sums = np.zeros((len(samples), len(labels)), dtype=np.int64)
        self._lock = threading.Lock()

    def add(self, sample: NDArray[np.integer], label: NDArray[np.integer], probabilities: NDArray[np.float64]) -> None:
        """Add a block of cells.

        Parameters
        ----------
        sample, label
            Places in `samples` and `labels`, arrays of shape (n_cells,); a cell with a -1 is left out.
        probabilities
            Of every class, array of shape (n_cells, n_labels), rows summing to 1.
        """
        with self._lock:
            kernels.add_probabilities(sample, label, probabilities, self._sums)

    def write(self, path: Path) -> None:
        """Write the table `sample_id, label, n_expected`, labels running fastest."""
        table = pd.DataFrame(
            {
                "sample_id": np.repeat(np.array(self.samples, dtype=object), len(self.labels)),
                "label": np.tile(np.array(self.labels, dtype=object), len(self.samples)),
                "n_expected": self._sums.ravel() / kernels.ONE,
            }
        )
        write_parquet(table, path)


def open_expected(
    names: Sequence[str], models: Sequence[LinearModel | Network], samples: Sequence[str] | None
) -> list[Expected]:
    """Make room for the expected counts of these models.

    Parameters
    ----------
    names
        The wanted models.
    models
        The models of the scan.
    samples
        Names of the samples, if they are known.

    Raises
    ------
    AidaError
        If the samples are not known, a model is not of this scan, or its probabilities are not calibrated ones of
        classes that exclude one another.
    """
    known = {model.name: model for model in models}
    found = []
    for name in names:
        if samples is None:
            msg = "--expected sums by sample: name the table of cells, --samples results/.../cells.parquet."
            raise AidaError(msg)
        if name not in known:
            msg = f"--expected {name}: no model of this scan (--model) is called so. {did_you_mean(name, known)}"
            raise AidaError(msg)
        model = known[name]
        if not isinstance(model, LinearModel) or model.link != "softmax":
            why = (
                "gives every class a probability by itself (sigmoid), so those of a cell do not add up to one cell"
                if isinstance(model, LinearModel)
                else "is a network whose probabilities nobody calibrated on labelled cells"
            )
            msg = (
                f"--expected {name}: this model {why}. Expected counts need a model made by `aida-tools model train`, "
                "which is calibrated on donors it has not learnt from."
            )
            raise AidaError(msg)
        found.append(Expected(name, samples, model.classes.tolist()))
    return found


def gather_expected(paths: Sequence[Path], out: Path) -> None:
    """Add the expected counts of parts of a file up.

    Whole numbers of 2**-32, these sums too are exact, up to two million (2**21) cells of a sample and class.
    """
    tables = [pd.read_parquet(path) for path in paths]
    write_parquet(tables[0].assign(n_expected=np.sum([t["n_expected"].to_numpy() for t in tables], axis=0)), out)
