"""Whether a probability keeps its word: of the cells called with 0.3, three in ten should be of the focus type.

All arrays are of groups, as in `kernel`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aida_tools.agreement import kernel
from aida_tools.agreement.kernel import Estimates, Floats

#: Bins of equal width between 0 and 1, the usual ones of reliability diagrams.
N_BINS = 10


def tabulate(
    focus: NDArray[np.bool_],
    probability: Floats,
    group: NDArray[np.integer],
    n_groups: int,
    keep: NDArray[np.bool_],
) -> Floats:
    """Sum up probabilities and truth in every group and bin.

    Parameters
    ----------
    focus
        Whether each cell is of the focus type by the truth, array of shape (n_cells,).
    probability
        Probability that it is, 0 to 1, array of shape (n_cells,).
    group
        Group of each cell, array of shape (n_cells,), values in [0, n_groups).
    n_groups
        Number of groups.
    keep
        Cells to count, array of shape (n_cells,).

    Returns
    -------
    Array of shape (n_groups, 10, 5): number of cells, and the sums of truth y, probability p, p y and p^2, by bin of p
    (bin k holds k/10 <= p < (k + 1)/10; the last one also p = 1).
    """
    p, y = probability[keep], focus[keep].astype(float)
    bins = np.minimum((p * N_BINS).astype(np.int64), N_BINS - 1)
    flat = group[keep].astype(np.int64) * N_BINS + bins
    found = [np.bincount(flat, weights=w, minlength=n_groups * N_BINS) for w in (None, y, p, p * y, p * p)]
    return np.stack(found, axis=-1).reshape(n_groups, N_BINS, 5)


def reliability(tables: Floats, level: NDArray[np.integer], n_levels: int) -> tuple[Estimates, Floats]:
    """Estimate the share of the focus type in every bin of every level.

    Parameters
    ----------
    tables
        See `tabulate`.
    level, n_levels
        See `kernel.share`.

    Returns
    -------
    observed
        See `Estimates`; arrays of shape (n_levels * 10,), the bins of the first level first.
    predicted
        Mean probability, of the same shape; NaN in an empty bin.
    """
    places = (level[:, None] * N_BINS + np.arange(N_BINS)).ravel()
    flat = tables.reshape(-1, tables.shape[-1])
    counts = flat[:, :2].astype(np.int64)
    observed = kernel.share(counts[:, 1], counts[:, 0], places, n_levels * N_BINS)
    total = kernel.sums(flat, places, n_levels * N_BINS)
    with np.errstate(invalid="ignore"):
        return observed, total[:, 2] / total[:, 0]


def calibration_error(tables: Floats, level: NDArray[np.integer], n_levels: int) -> Estimates:
    """Estimate the expected calibration error: the distance of probability and share, averaged over the cells.

    Parameters
    ----------
    tables, level, n_levels
        See `reliability`.

    Returns
    -------
    See `Estimates`; 0 to 1. It has no interval: a sum of absolute values is biased upward where there are few cells,
    and none of the usual intervals covers it near 0.

    References
    ----------
    Naeini, Cooper, Hauskrecht, Proceedings of the AAAI Conference 29:2901 (2015).
    """
    total = kernel.sums(tables, level, n_levels)
    n = total[..., 0].sum(axis=1)
    n_donors = kernel.sums((tables[..., 0].sum(axis=1) > 0).astype(float), level, n_levels).astype(np.int64)
    with np.errstate(invalid="ignore"):
        estimate = np.abs(total[..., 2] - total[..., 1]).sum(axis=1) / n
    none = np.full(n_levels, np.nan)
    return Estimates(n.astype(np.int64), n_donors, estimate, none, none, none, none, none, none)


def expected_to_observed(tables: Floats, level: NDArray[np.integer], n_levels: int) -> Estimates:
    r"""Estimate the ratio of the number of focus cells that the probabilities promise to the number there are.

    With r the ratio, its variance is that of the sums of :math:`p - r y`, over cells or over donors, divided by the
    square of the number observed; the interval is taken on the log scale (Debray et al., BMJ 356:i6460, 2017).

    Parameters
    ----------
    tables, level, n_levels
        See `reliability`.

    Returns
    -------
    See `Estimates`; 1 where soft counts are right on average. NaN without a cell of the focus type.
    """
    by_group = tables.sum(axis=1)
    n, y, p, py, pp = kernel.sums(by_group, level, n_levels).T
    n_donors = kernel.sums((by_group[:, 0] > 0).astype(float), level, n_levels).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.where(y > 0, p / y, np.nan)
        error = np.sqrt(np.maximum(pp - 2 * estimate * py + estimate**2 * y, 0)) / y
        residual = np.where(by_group[:, 0] > 0, by_group[:, 2] - estimate[level] * by_group[:, 1], 0.0)
        between = kernel.between_donors(kernel.sums(residual**2, level, n_levels), n_donors, y)
        error[error == 0] = between[between == 0] = np.nan
        half, donor_half = kernel.Z * error / estimate, kernel.t_quantile(n_donors) * between / estimate
        low, high, donor_low, donor_high = (estimate * np.exp(move) for move in (-half, half, -donor_half, donor_half))
    return Estimates(n.astype(np.int64), n_donors, estimate, error, low, high, between, donor_low, donor_high)
