"""Arithmetic on one block of counts in CSR form for the sketch. Everything here releases the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Library size cells are scaled to: counts per 10,000.
TARGET = 1e4


@njit(nogil=True, cache=True)
def moments(indptr: Any, indices: Any, data: Any, total: NDArray[np.int64], n_genes: int) -> NDArray[np.float64]:
    """Sum the counts per 10,000 of every gene over the cells of a block.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    total
        Total count of each cell, array of shape (n_cells,).
    n_genes
        Number of columns.

    Returns
    -------
    Array of shape (3, n_genes): in how many cells a gene was seen, the sum, the sum of squares.
    """
    out = np.zeros((3, n_genes))
    for cell in range(len(indptr) - 1):
        factor = TARGET / max(total[cell], 1)
        for p in range(indptr[cell], indptr[cell + 1]):
            gene, x = indices[p], data[p] * factor
            out[0, gene] += x > 0
            out[1, gene] += x
            out[2, gene] += x * x
    return out


@njit(nogil=True, cache=True)
def log_expression(
    indptr: Any, indices: Any, data: Any, total: NDArray[np.int64], slot: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Take log1p(counts per 10,000) of some genes out of a block.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    total
        Total count of each cell, array of shape (n_cells,).
    slot
        Column of the result each gene becomes, ascending, array of shape (n_genes,); -1 for none.

    Returns
    -------
    The indptr, indices and data of a CSR matrix.
    """
    n_cells = len(indptr) - 1
    ends = np.zeros(n_cells + 1, dtype=np.int64)
    # One longer than needed: written at every step, kept at few, so that there is no branch to guess.
    columns = np.empty(len(indices) + 1, dtype=np.int32)
    values = np.empty(len(indices) + 1)
    found = 0
    for cell in range(n_cells):
        first = found
        for p in range(indptr[cell], indptr[cell + 1]):
            place = slot[indices[p]]
            columns[found] = place
            values[found] = data[p]
            found += place >= 0
        factor = TARGET / max(total[cell], 1)
        for i in range(first, found):
            values[i] = np.log1p(values[i] * factor)
        ends[cell + 1] = found
    return ends, columns[:found].copy(), values[:found].copy()


@njit(nogil=True, cache=True)
def fold(
    indptr: Any, indices: Any, data: Any, row: NDArray[np.int64], sign: NDArray[np.float64], sketch: NDArray[np.float64]
) -> None:
    """Add every cell, with its sign, to its row of a count sketch.

    Parameters
    ----------
    indptr, indices, data
        CSR block of expression.
    row, sign
        Row of `sketch` and sign (-1 or 1) of each cell, arrays of shape (n_cells,).
    sketch
        Changed in place, array of shape (n_rows, n_genes).
    """
    for cell in range(len(indptr) - 1):
        target = sketch[row[cell]]
        for p in range(indptr[cell], indptr[cell + 1]):
            target[indices[p]] += sign[cell] * data[p]
