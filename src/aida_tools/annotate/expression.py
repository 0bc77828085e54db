"""Reading what a classifier is learnt from: chosen genes of drawn cells, in as few passes as can be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from tqdm import tqdm

from aida_tools.annotate import learn
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Counts
from aida_tools.scan.passes import cell_totals

#: Library size that cells are scaled to before log1p.
TARGET = 1e4
_BLOCK = 2048


def _blocks(counts: Counts, rows: NDArray[np.intp], step: str) -> Iterator[tuple[Block, NDArray[np.intp]]]:
    """Give the blocks that hold any of these cells, with the places of the cells in `rows`."""
    with tqdm(total=counts.shape[0], unit=" cells", desc=step, delay=2, disable=None) as bar:
        for start in range(0, counts.shape[0], _BLOCK):
            stop = min(start + _BLOCK, counts.shape[0])
            first, last = np.searchsorted(rows, [start, stop])
            if last > first:
                yield counts.read(start, stop), np.arange(first, last)
            bar.update(stop - start)


def gather_expression(counts: Counts, rows: NDArray[np.intp], genes: NDArray[np.intp]) -> sp.csr_matrix:
    """Read log1p(counts per 10,000) of some cells and genes.

    Parameters
    ----------
    counts
        The matrix.
    rows
        The cells, ascending.
    genes
        The genes, ascending.

    Returns
    -------
    CSR matrix of shape (n_cells, n_genes), float32.
    """
    data, indices, sizes = [], [], [np.zeros(1, dtype=np.int64)]
    for block, places in _blocks(counts, rows, "read expression"):
        total = np.maximum(cell_totals(block, counts.shape[1]), 1)
        matrix = sp.csr_matrix((block.data, block.indices, block.indptr), shape=(len(block), counts.shape[1]))
        local = rows[places] - block.start
        part = matrix[local][:, genes]
        size = np.diff(part.indptr)
        data.append(np.log1p(part.data * np.repeat(TARGET / total[local], size)).astype(np.float32))
        indices.append(part.indices.astype(np.int32))
        sizes.append(size)
    # One after the other: together with the parts, both at once would take twice the memory.
    joined = np.concatenate(data)
    data.clear()
    return sp.csr_matrix((joined, np.concatenate(indices), np.concatenate(sizes).cumsum()), (len(rows), len(genes)))


def choose_genes(
    counts: Counts, rows: NDArray[np.intp], labels: NDArray[np.integer], n_classes: int, per_class: int
) -> list[NDArray[np.intp]]:
    """Choose genes for every fold by what they are worth among the cells it learns from; see `learn.select_genes`.

    Parameters
    ----------
    counts
        The matrix.
    rows
        The cells, ascending.
    labels
        Class of each cell in each fold, array of shape (n_folds, n_cells); -1 where a fold may not look.
    n_classes
        Number of classes.
    per_class
        Genes each class may name.
    """
    sums, squares = np.zeros((2, len(labels), n_classes, counts.shape[1]))
    for block, places in _blocks(counts, rows, "choose genes"):
        total = cell_totals(block, counts.shape[1])
        for k, mine in enumerate(labels):
            label = np.full(len(block), -1)
            label[rows[places] - block.start] = mine[places]
            kernels.add_moments(block.indptr, block.indices, block.data, total, label, TARGET, sums[k], squares[k])
    # Of genes that share a name a classifier uses the first, so the others cannot be chosen.
    repeated = pd.Series(counts.genes.ids).duplicated().to_numpy()
    sums[:, :, repeated] = squares[:, :, repeated] = 0
    sizes = [np.bincount(mine[mine >= 0], minlength=n_classes) for mine in labels]
    return [learn.select_genes(*moments, per_class) for moments in zip(sums, squares, sizes, strict=True)]
