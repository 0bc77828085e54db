"""Expected counts: a classifier's calibrated probabilities summed by sample and class, exactly."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.schema import write_parquet
from aida_tools.scan import kernels
from aida_tools.scan.classifier import LinearClassifier
from aida_tools.scan.network import Network
from aida_tools.scan.tables import EXPECTED_LABELS


class Expected:
    """Expected number of cells of every sample and class.

    Parameters
    ----------
    name
        The classifier.
    samples, labels
        Names of the samples and of the classifier's classes; every pair is a row, also without any cell.
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
        """Write the table, labels running fastest."""
        table = pd.DataFrame(
            {
                "sample_id": np.repeat(np.array(self.samples, dtype=object), len(self.labels)),
                "label": np.tile(np.array(self.labels, dtype=object), len(self.samples)),
                "n_expected": self._sums.ravel() / kernels.ONE,
            }
        )
        write_parquet(EXPECTED_LABELS.frame(table), path)


def open_expected(
    names: Sequence[str], classifiers: Sequence[LinearClassifier | Network], samples: Sequence[str] | None
) -> list[Expected]:
    """Make room for the expected counts of these classifiers.

    Parameters
    ----------
    names
        The wanted classifiers.
    classifiers
        The classifiers of the scan.
    samples
        Names of the samples, if they are known.

    Raises
    ------
    AidaError
        If the samples are not known, a classifier is not of this scan, or its probabilities are not calibrated ones of
        classes that exclude one another.
    """
    known = {classifier.name: classifier for classifier in classifiers}
    found = []
    for name in names:
        if samples is None:
            raise AidaError("--expected sums by sample: name the table of cells, --samples results/.../cells.parquet.")
        if name not in known:
            raise AidaError(f"--expected {name}: this scan has no classifier of that name. {did_you_mean(name, known)}")
        classifier = known[name]
        if not isinstance(classifier, LinearClassifier) or classifier.link != "softmax":
            why = (
                "gives every class a probability by itself (sigmoid), so that those of a cell do not add up to 1"
                if isinstance(classifier, LinearClassifier)
                else "is a network whose probabilities were not calibrated on labelled cells"
            )
            raise AidaError(
                f"--expected {name}: this classifier {why}. Expected counts need one made by `aida-tools classifier "
                "train`: it is calibrated on donors it did not learn from."
            )
        found.append(Expected(name, samples, classifier.classes.tolist()))
    return found


def gather_expected(paths: Sequence[Path], out: Path) -> None:
    """Add the expected counts of parts of a file up.

    Whole numbers of 2**-32, these sums too are exact, up to two million (2**21) cells of a sample and class.
    """
    tables = [pd.read_parquet(path) for path in paths]
    write_parquet(tables[0].assign(n_expected=np.sum([t["n_expected"].to_numpy() for t in tables], axis=0)), out)
