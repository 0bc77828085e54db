"""What a cell's transcripts look like: rates from real cells, counts by gamma-Poisson sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]

#: Share of every profile that is ambient RNA (the mean of all cells).
AMBIENT = 0.02
#: Gamma shape of the biological variation of one gene between cells of one type.
GENE_SHAPE = 4.0


def mean_profile(counts: Array, groups: NDArray[np.str_], wanted: list[str]) -> Array:
    """Average the cells of some groups, each group with equal weight, and add ambient RNA.

    Parameters
    ----------
    counts
        UMI counts of reference cells, shape (n_cells, n_genes).
    groups
        Group of each cell, shape (n_cells,).
    wanted
        Groups to average.

    Returns
    -------
    Expected UMIs of a cell, shape (n_genes,).
    """
    mean = np.mean([counts[groups == name].mean(axis=0) for name in wanted], axis=0)
    return (1 - AMBIENT) * mean + AMBIENT * counts.mean(axis=0)


def draw_counts(
    rates: Array, types: NDArray[np.int64], factors: Array, samples: NDArray[np.int64], depth: Array,
    rng: np.random.Generator,
) -> sparse.csr_matrix:  # fmt: skip
    """Draw UMI counts: gamma-Poisson around the product of type, sample and depth.

    Parameters
    ----------
    rates
        Expected UMIs at depth 1 by type, shape (n_types, n_genes).
    types
        Type of each cell, shape (n_cells,).
    factors
        Multipliers of the genes in each sample, shape (n_samples, n_genes).
    samples
        Sample of each cell, shape (n_cells,).
    depth
        Multiplier of each cell, shape (n_cells,).
    rng
        Source of random numbers.

    Returns
    -------
    Whole numbers as float32, shape (n_cells, n_genes), without stored zeros.
    """
    expected = rates[types] * factors[samples] * depth[:, None]
    # Below that rate the extra variation cannot be told from Poisson noise, and costs most of the time.
    high = expected > 0.3
    expected[high] *= rng.gamma(GENE_SHAPE, 1 / GENE_SHAPE, int(high.sum()))
    return sparse.csr_matrix(rng.poisson(expected).astype(np.float32))


def log_normalise(counts: sparse.csr_matrix, target: float = 1e4) -> sparse.csr_matrix:
    """Scale each cell to a total and take log(1 + x); empty cells stay empty.

    Parameters
    ----------
    counts
        UMI counts, shape (n_cells, n_genes).
    target
        UMIs of every cell after scaling.

    Returns
    -------
    float32, same shape and sparsity as `counts`.
    """
    total = np.repeat(np.asarray(counts.sum(axis=1)).ravel(), np.diff(counts.indptr))
    scaled = counts.copy()
    scaled.data = np.log1p(counts.data.astype(np.float64) * target / total).astype(np.float32)
    return scaled
