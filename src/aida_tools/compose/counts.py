"""Counting cells: the kernel of the room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def count_cells(
    samples: NDArray[np.integer], types: NDArray[np.integer], n_samples: int, n_types: int
) -> NDArray[np.int64]:
    """Count the cells of each type in each sample.

    Parameters
    ----------
    samples
        Sample of each cell, array of shape (n_cells,), values in [0, n_samples).
    types
        Cell type of each cell, array of shape (n_cells,), values in [0, n_types); -1 is not counted.
    n_samples, n_types
        Numbers of samples and of types; samples and types without a cell get zeros.

    Returns
    -------
    Counts, array of shape (n_samples, n_types).

    Examples
    --------
    >>> count_cells(np.array([0, 0, 1]), np.array([1, 1, -1]), n_samples=2, n_types=2)
    array([[0, 2],
           [0, 0]])
    """
    counted = types >= 0
    flat = samples[counted].astype(np.int64) * n_types + types[counted]
    return np.bincount(flat, minlength=n_samples * n_types).reshape(n_samples, n_types)
