"""Which cells stand for all: leverage scores by randomised linear algebra, and a draw that keeps rare types.

A cell's statistical leverage is the squared norm of its row in an orthonormal basis of the column space of the
expression matrix A (cells x genes): high for a cell whose expression few others share. It is estimated without ever
holding A: a count sketch S A = Q R (Clarkson & Woodruff 2013) gives R, and the leverages are the squared row norms of
A R^-1 Omega with a Gaussian Omega of few columns (Drineas et al. 2012); so does Seurat v5 (Hao et al. 2024).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

#: Columns of Omega: the relative standard error of a leverage is sqrt(2 / 64), 18 %. It moves what is drawn, not what
#: the weights say of it.
_N_DIRECTIONS = 64
#: Rows of the count sketch a gene.
_ROWS_PER_GENE = 5
#: Part of a cell's chance that does not depend on its leverage: it bounds the weights (a defensive mixture).
_EVEN = 0.1
_BINS = 20


class Draw(NamedTuple):
    """Cells that were drawn.

    Attributes
    ----------
    cells
        Their rows, ascending, array of shape (n_drawn,).
    probability
        The probability of each to be drawn, given the keys of all others, array of shape (n_drawn,), in (0, 1].
    """

    cells: NDArray[np.intp]
    probability: NDArray[np.float64]


def choose_genes(moments: NDArray[np.float64], n_cells: int, n_top: int) -> NDArray[np.intp]:
    """Choose the most variable genes by their dispersion, as Seurat and scanpy's flavour `seurat` do.

    The log of variance / mean of the counts per 10,000 is standardised within 20 bins of the log1p mean. Genes seen in
    fewer than 10 cells, or fewer than one in 10,000, are left out before: each of their few cells would seem unique.

    Parameters
    ----------
    moments
        As `kernels.moments` gives them, summed over all cells, shape (3, n_genes).
    n_cells
        Number of cells.
    n_top
        How many genes to choose.

    Returns
    -------
    The genes, ascending; all that are seen often enough if there are no more than `n_top`.
    """
    genes = np.flatnonzero(moments[0] >= max(10, n_cells / 10_000))
    if len(genes) <= n_top:
        return genes
    mean = moments[1, genes] / n_cells
    variance = (moments[2, genes] / n_cells - mean**2) * n_cells / (n_cells - 1)
    dispersion = np.log(variance / mean, out=np.full(len(mean), np.nan), where=variance > 0)
    table = pd.DataFrame({"dispersion": dispersion, "bin": pd.cut(np.log1p(mean), _BINS, labels=False)})
    groups = table.groupby("bin")["dispersion"]
    centre, spread = groups.transform("mean"), groups.transform("std")
    # A gene alone in its bin is variable by one unit.
    alone = spread.isna()
    score = (table["dispersion"] - centre.mask(alone, 0)) / spread.mask(alone, table["dispersion"])
    top = np.argsort(-score.fillna(-np.inf).to_numpy(), kind="stable")[:n_top]
    return np.sort(genes[top])


def hash_cells(cell_ids: NDArray[np.object_], seed: int) -> NDArray[np.uint64]:
    """Give every cell a random number that depends on its id and the seed only, not on its place in the file."""
    key = np.random.default_rng(seed).bytes(8).hex()
    return pd.util.hash_array(np.asarray(cell_ids, dtype=object), hash_key=key, categorize=False)


def uniforms(hashes: NDArray[np.uint64], stream: int) -> NDArray[np.float64]:
    """Make uniform random numbers in (0, 1) of hashes; each stream is independent of the others (SplitMix64)."""
    with np.errstate(over="ignore"):
        z = hashes + np.uint64(stream + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def sketch_places(hashes: NDArray[np.uint64], n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row of the count sketch and the sign (-1, 1) of every cell."""
    return (uniforms(hashes, 1) * n_rows).astype(np.int64), np.where(uniforms(hashes, 2) < 0.5, -1.0, 1.0)


def sketch_rows(n_genes: int) -> int:
    """Return how many rows the count sketch of a matrix of so many genes has."""
    return max(1000, _ROWS_PER_GENE * n_genes)


def projection(sketch: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Find P such that the squared row norms of A P are the leverages of the rows of A.

    Parameters
    ----------
    sketch
        Count sketch S A, shape (n_rows, n_genes).
    rng
        Draws Omega.

    Returns
    -------
    R^-1 Omega, shape (n_genes, n_directions), where Q R = S A; R is had from the Gram matrix, by Cholesky.
    """
    n_genes = sketch.shape[1]
    gram = sketch.T @ sketch
    # A ridge of one in 10^8 of the mean square keeps R invertible where genes are copies of one another.
    gram[np.diag_indices(n_genes)] += 1e-8 * np.trace(gram) / n_genes
    r = linalg.cholesky(gram, overwrite_a=True, check_finite=False)
    omega = rng.standard_normal((n_genes, _N_DIRECTIONS)) / np.sqrt(_N_DIRECTIONS)
    return linalg.solve_triangular(r, omega, check_finite=False)


def chances(leverage: NDArray[np.float64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """Turn leverages into chances of being drawn: nine tenths by leverage, one tenth even.

    Parameters
    ----------
    leverage
        Array of shape (n_cells,), >= 0.
    total
        Total count of each cell, array of shape (n_cells,); a cell without counts is never drawn.
    """
    mean = leverage.mean()
    relative = leverage / mean if mean > 0 else np.ones(len(leverage))
    return np.where(total > 0, (1 - _EVEN) * relative + _EVEN, 0.0)


def quota_of(n: int, n_types: int) -> int:
    """Return how many cells of a type are kept whatever their leverage: 500, but of all types together half at most."""
    return min(500, n // (2 * max(n_types, 1)))


def draw(
    chance: NDArray[np.float64], uniform: NDArray[np.float64], kind: NDArray[np.integer], n: int, quota: int
) -> Draw:
    """Draw cells without replacement, with unequal chances, at least a quota of every type.

    Each cell gets the key -log(u) / chance; the smallest keys of each type and then the smallest of all are drawn
    (Efraimidis & Spirakis 2006). Given all other keys, a cell is drawn if its own is below a threshold t, that is with
    probability 1 - exp(-chance t): sums over the sketch weighted by its inverse estimate sums over the cohort without
    bias (rank conditioning, Cohen & Kaplan 2007).

    Parameters
    ----------
    chance
        Relative chance of each cell, array of shape (n_cells,), >= 0; a cell without any is never drawn.
    uniform
        Uniform random number of each cell, array of shape (n_cells,), in (0, 1).
    kind
        Type of each cell, array of shape (n_cells,); -1 for none, which has no quota.
    n
        How many cells to draw.
    quota
        Cells of each type, or all it has, that are drawn in any case; of all types together `n` at most.
    """
    keys = np.divide(-np.log(uniform), chance, out=np.full(len(chance), np.inf), where=chance > 0)
    order = np.lexsort((keys, kind))
    sorted_kind = kind[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_kind, sorted_kind)
    kept = np.zeros(len(keys), dtype=bool)
    kept[order] = (rank < quota) & (sorted_kind >= 0)
    kept &= np.isfinite(keys)
    others = np.flatnonzero(~kept & np.isfinite(keys))
    others = others[np.argsort(keys[others], kind="stable")]
    n_free = max(n - int(kept.sum()), 0)
    threshold = np.full(len(keys), keys[others[n_free]] if len(others) > n_free else np.inf)
    # The key at which a cell would lose its place among the first of its type: that of the first behind them.
    next_key = np.full(int(kind.max(initial=-1)) + 2, np.inf)
    behind = (rank == quota) & (sorted_kind >= 0)
    next_key[sorted_kind[behind]] = keys[order[behind]]
    threshold = np.where(kind >= 0, np.maximum(threshold, next_key[kind]), threshold)
    kept[others[:n_free]] = True
    cells = np.flatnonzero(kept)
    return Draw(cells, -np.expm1(-chance[cells] * threshold[cells]))
