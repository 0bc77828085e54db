"""Passes over the counts of a file, block by block: what is kept in memory does not grow with its cells."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aida_tools.atlas import kernels, sketch
from aida_tools.core.errors import AidaError
from aida_tools.scan.blocks import Block, Counts
from aida_tools.scan.passes import BLOCK, cell_totals, each_block


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let the linear algebra and numba's parallel loops use so many threads."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        with threadpool_limits(threads):
            yield
    finally:
        numba.set_num_threads(before)


def sum_moments(counts: Counts, *, threads: int, size: int = BLOCK) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the moments of every gene (see `kernels.moments`) and the counts of every cell.

    Returns
    -------
    Arrays of shape (3, n_genes) and (n_cells,).
    """
    n_cells, n_genes = counts.shape
    moments, totals = np.zeros((3, n_genes)), np.empty(n_cells, dtype=np.int64)

    def work(block: Block) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        total = cell_totals(block, n_genes)
        return total, kernels.moments(block.indptr, block.indices, block.data, total, n_genes)

    for rows, (total, part) in each_block(counts, work, "choose genes", threads=threads, size=size):
        totals[rows] = total
        moments += part
    return moments, totals


def estimate_leverage(
    counts: Counts,
    totals: NDArray[np.int64],
    genes: NDArray[np.intp],
    hashes: NDArray[np.uint64],
    *,
    seed: int,
    threads: int,
    size: int = BLOCK,
) -> NDArray[np.float64]:
    """Estimate every cell's leverage in log1p(counts per 10,000) of some genes, in two passes.

    Parameters
    ----------
    counts
        The matrix.
    totals
        Total count of each cell, array of shape (n_cells,).
    genes
        The genes, ascending.
    hashes
        A random number for each cell, array of shape (n_cells,); see `sketch.hash_cells`.
    seed
        Seed of the projection.
    threads, size
        Threads at work and cells per block; they change the result by no more than rounding.

    Returns
    -------
    Array of shape (n_cells,), about 0 to 1.
    """
    slot = np.full(counts.shape[1], -1, dtype=np.int32)
    slot[genes] = np.arange(len(genes))

    def express(block: Block) -> tuple[Any, ...]:
        total = totals[block.start : block.start + len(block)]
        return kernels.log_expression(block.indptr, block.indices, block.data, total, slot)

    folded = np.zeros((sketch.sketch_rows(len(genes)), len(genes)))
    place, sign = sketch.sketch_places(hashes, len(folded))
    for rows, csr in each_block(counts, express, "sketch", threads=threads, size=size):
        indptr, indices, data = csr
        kernels.fold(indptr, indices, data, place[rows], sign[rows], folded)
    with limited(threads):
        directions = sketch.projection(folded, np.random.default_rng(seed))
    del folded

    def norms(block: Block) -> NDArray[np.float64]:
        indptr, indices, data = express(block)
        matrix = sp.csr_matrix((data, indices, indptr), shape=(len(block), len(genes)))
        return np.square(matrix @ directions).sum(axis=1)

    leverage = np.empty(counts.shape[0])
    for rows, part in each_block(counts, norms, "leverage", threads=threads, size=size):
        leverage[rows] = part
    return leverage


def gather_counts(
    counts: Counts, cells: NDArray[np.intp], cell_ids: NDArray[np.object_], *, threads: int
) -> sp.csr_matrix:
    """Read the counts of some cells.

    Parameters
    ----------
    counts
        The matrix.
    cells
        Their rows, ascending.
    cell_ids
        The id each must have, array of shape (n_drawn,).
    threads
        Threads at work.

    Returns
    -------
    Counts as float32, CSR of shape (n_drawn, n_genes).

    Raises
    ------
    AidaError
        If the file has other cells in these rows.
    """

    def pick(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]] | None:
        first, last = np.searchsorted(cells, [block.start, block.start + len(block)])
        if first == last:
            return None
        local = cells[first:last] - block.start
        found = counts.cell_ids(block.start, block.start + len(block))[local]
        wrong = np.flatnonzero(found != cell_ids[first:last])
        if len(wrong):
            raise AidaError(
                f"{counts.path}: row {block.start + local[wrong[0]] + 1} is cell '{found[wrong[0]]}', but "
                f"cells.parquet has '{cell_ids[first + wrong[0]]}' there. Make both from the same fetch."
            )
        matrix = sp.csr_matrix((block.data, block.indices, block.indptr), (len(block), counts.shape[1]))[local]
        matrix.eliminate_zeros()
        return np.diff(matrix.indptr), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)

    parts = deque(part for _, part in each_block(counts, pick, "read counts", threads=threads) if part is not None)
    indptr = np.concatenate([[0], *(part[0] for part in parts)]).cumsum()
    indices, data = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=np.float32)
    end = 0
    while parts:
        # Each part goes as soon as it is copied, so that the counts are never held twice.
        _, some_indices, some_data = parts.popleft()
        start, end = end, end + len(some_data)
        indices[start:end], data[start:end] = some_indices, some_data
    return sp.csr_matrix((data, indices, indptr), shape=(len(cells), counts.shape[1]))
