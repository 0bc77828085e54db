r"""Two annotators and one question, is this cell of the focus type: agreement, error, and intervals that know donors.

Cells of one donor are alike, so an interval that takes every cell for an independent observation is too narrow. Every
figure here therefore has two: one from cells alone, and one between donors. The latter takes a figure for what it is,
a function of sums over donors, and linearises it: a share is the ratio :math:`\hat p = \sum_d y_d / \sum_d n_d` of D
donors, with

.. math:: \operatorname{var}(\hat p) = \frac{D}{D - 1} \frac{\sum_d (y_d - \hat p\, n_d)^2}{(\sum_d n_d)^2}

(Cochran, Sampling Techniques, 3rd ed. 1977, section 6; the cluster-robust variance of a mean). Its interval is Wilson's
with the effective number of cells :math:`\hat p (1 - \hat p) / \operatorname{var}(\hat p)` and Student's t at D - 1
degrees of freedom (Dean, Pagano, Journal of Survey Statistics and Methodology 3:484, 2015); the effective number is at
most the number of cells. Cohen's kappa is linearised in the same way.

All arrays are of groups: a group is the cells of one donor in one level (a site, a bin of depth ...); `level` says
which level each group belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

_LEVEL = 0.95
Z = float(stats.norm.isf((1 - _LEVEL) / 2))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """One figure in every level; arrays of shape (n_levels,), NaN where a value does not exist.

    Attributes
    ----------
    n_cells, n_donors
        Cells the figure was estimated from (its denominator), and donors with such cells.
    estimate
        The figure.
    std_error, ci_low, ci_high
        Its standard error and 95 % interval, were cells independent.
    donor_std_error, donor_ci_low, donor_ci_high
        The same between donors; none with fewer than two donors, or where nothing varies.
    """

    n_cells: NDArray[np.int64]
    n_donors: NDArray[np.int64]
    estimate: Floats
    std_error: Floats
    ci_low: Floats
    ci_high: Floats
    donor_std_error: Floats
    donor_ci_low: Floats
    donor_ci_high: Floats


def tabulate(
    a: NDArray[np.bool_], b: NDArray[np.bool_], group: NDArray[np.integer], n_groups: int, keep: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Count the answers of two annotators in every group.

    Parameters
    ----------
    a, b
        Whether each calls the cell the focus type, arrays of shape (n_cells,).
    group
        Group of each cell, array of shape (n_cells,), values in [0, n_groups); -1 is not counted.
    n_groups
        Number of groups.
    keep
        Cells to count, array of shape (n_cells,).

    Returns
    -------
    Array of shape (n_groups, 2, 2): `[g, i, j]` is the number of cells where a says i and b says j (1: focus).

    Examples
    --------
    >>> yes, no = True, False
    >>> tabulate(np.array([yes, yes, no]), np.array([yes, no, no]), np.zeros(3, int), 1, np.ones(3, bool))
    array([[[1, 0],
            [1, 1]]])
    """
    keep = keep & (group >= 0)
    flat = group[keep].astype(np.int64) * 4 + 2 * a[keep] + b[keep]
    return np.bincount(flat, minlength=4 * n_groups).reshape(n_groups, 2, 2)


def wilson(share: Floats, size: Floats, quantile: ArrayLike = Z) -> tuple[Floats, Floats]:
    """Return Wilson's score interval of a share.

    Parameters
    ----------
    share
        Share, 0 to 1, array of shape (n,).
    size
        Number of observations, which may be an effective number.
    quantile
        Of the standard normal, or of Student's t.

    Returns
    -------
    Lower and upper limits between 0 and 1; NaN where an input is.
    """
    p, n, q2 = share, size, np.asarray(quantile, float) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (p + q2 / (2 * n)) / (1 + q2 / n)
        half = np.sqrt(q2 * (p * (1 - p) / n + q2 / (4 * n**2))) / (1 + q2 / n)
    low, high = np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
    # A share of 0 or 1 is its own limit: rounding must not leave 1e-18 there.
    low[(p == 0) & np.isfinite(low)] = 0
    high[(p == 1) & np.isfinite(high)] = 1
    return low, high


def sums(values: NDArray, level: NDArray[np.integer], n_levels: int) -> Floats:
    """Add up the groups of each level: shape (n_groups, ...) to (n_levels, ...)."""
    out = np.zeros((n_levels, *values.shape[1:]))
    np.add.at(out, level, values)
    return out


def t_quantile(n_donors: NDArray[np.integer]) -> Floats:
    """Return Student's t of a 95 % interval at n_donors - 1 degrees of freedom; NaN below two donors."""
    return np.where(n_donors > 1, stats.t.isf((1 - _LEVEL) / 2, np.maximum(n_donors - 1, 1)), np.nan)


def between_donors(squares: Floats, n_donors: NDArray[np.integer], n_cells: NDArray) -> Floats:
    """Return the standard error between donors from the sum of their squared residuals; NaN below two donors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_donors > 1, np.sqrt(squares * n_donors / (n_donors - 1.0)) / n_cells, np.nan)


def share(
    hits: NDArray[np.integer], totals: NDArray[np.integer], level: NDArray[np.integer], n_levels: int
) -> Estimates:
    """Estimate a share in every level, with intervals from cells and between donors.

    Parameters
    ----------
    hits, totals
        Cells that count and all cells of the denominator, by group; arrays of shape (n_groups,).
    level
        Level of each group, array of shape (n_groups,), values in [0, n_levels).
    n_levels
        Number of levels.

    Returns
    -------
    See `Estimates`. There is no interval between donors where the share is 0 or 1.
    """
    n = sums(totals, level, n_levels)
    n_donors = sums((totals > 0).astype(float), level, n_levels).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = sums(hits, level, n_levels) / n
        std_error = np.sqrt(p * (1 - p) / n)
    residual = np.where(totals > 0, hits - p[level] * totals, 0.0)
    between = between_donors(sums(residual**2, level, n_levels), n_donors, n)
    between[(p == 0) | (p == 1)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(np.isnan(between), np.nan, np.minimum(p * (1 - p) / between**2, n))
    low, high = wilson(p, n)
    donor_low, donor_high = wilson(p, effective, t_quantile(n_donors))
    return Estimates(n.astype(np.int64), n_donors, p, std_error, low, high, between, donor_low, donor_high)


def f1(tables: NDArray[np.integer], level: NDArray[np.integer], n_levels: int) -> Estimates:
    """Estimate F1, the harmonic mean of sensitivity and precision.

    The cells that either annotator calls the focus type are called so by both with the share J (Jaccard's index), and
    F1 = 2 J / (1 + J) rises with J: its limits are those of J, transformed; its standard errors by the delta method.

    Parameters
    ----------
    tables
        See `tabulate`.
    level, n_levels
        See `share`.
    """
    j = share(tables[:, 1, 1], tables.sum(axis=(1, 2)) - tables[:, 0, 0], level, n_levels)
    slope = 2 / (1 + j.estimate) ** 2
    limits = (j.estimate, j.ci_low, j.ci_high, j.donor_ci_low, j.donor_ci_high)
    estimate, low, high, donor_low, donor_high = (2 * v / (1 + v) for v in limits)
    return Estimates(
        j.n_cells,
        j.n_donors,
        estimate,
        slope * j.std_error,
        low,
        high,
        slope * j.donor_std_error,
        donor_low,
        donor_high,
    )


def difference(
    hits: NDArray[np.integer], totals: NDArray[np.integer], level: NDArray[np.integer], n_levels: int
) -> Estimates:
    """Estimate by how much a share changes when the same cells are labelled again.

    Parameters
    ----------
    hits, totals
        As in `share`, once in the first labels and once in the second: arrays of shape (n_groups, 2).
    level, n_levels
        See `share`.

    Returns
    -------
    Second share minus first, -1 to 1; `n_cells` is that of the first. The intervals are between donors only: each
    donor is its own control, so what it adds to both shares is linearised together, and the spread between donors
    that both share cancels.
    """
    n = sums(totals, level, n_levels)
    n_donors = sums((totals > 0).any(axis=1).astype(float), level, n_levels).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = sums(hits, level, n_levels) / n
        residual = (hits - p[level] * totals) / n[level]
    moved = residual[:, 1] - residual[:, 0]
    estimate = p[:, 1] - p[:, 0]
    error = between_donors(sums(moved**2, level, n_levels), n_donors, np.ones(n_levels))
    error[(error == 0) | np.isnan(estimate)] = np.nan
    half, none = t_quantile(n_donors) * error, np.full(n_levels, np.nan)
    low, high = np.clip(estimate - half, -1, 1), np.clip(estimate + half, -1, 1)
    return Estimates(n[:, 0].astype(np.int64), n_donors, estimate, none, none, none, error, low, high)


def kappa(tables: NDArray[np.integer], level: NDArray[np.integer], n_levels: int) -> Estimates:
    """Estimate Cohen's kappa, the agreement beyond what chance would give.

    Parameters
    ----------
    tables
        See `tabulate`.
    level, n_levels
        See `share`.

    Returns
    -------
    See `Estimates`; -1 to 1. NaN where both annotators give all cells the one same answer. Where one of them gives a
    single answer kappa is 0 whatever the other says, and has no interval; nor has it where they never differ.

    References
    ----------
    Fleiss, Cohen, Everitt, Psychological Bulletin 72:323 (1969): the large-sample standard error, which is the
    multinomial delta method; taken over donors instead of cells it gives the error between donors.
    """
    counts = sums(tables, level, n_levels)
    n = counts.sum(axis=(1, 2))
    by_group = tables.sum(axis=(1, 2))
    n_donors = sums((by_group > 0).astype(float), level, n_levels).astype(np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = counts / n[:, None, None]
        of_a, of_b = p.sum(axis=2), p.sum(axis=1)
        by_chance = (of_a * of_b).sum(axis=1)
        estimate = 1 - (p[:, 0, 1] + p[:, 1, 0]) / (1 - by_chance)
        # d kappa / d p[i, j]; a cell in [i, j] raises the share i of a and j of b.
        chance_slope = of_b[:, :, None] + of_a[:, None, :]
        slope = (np.eye(2) - (1 - estimate)[:, None, None] * chance_slope) / (1 - by_chance)[:, None, None]
        influence = slope - (slope * p).sum(axis=(1, 2), keepdims=True)
        std_error = np.sqrt((p * influence**2).sum(axis=(1, 2)) / n)
    by_donor = np.where(by_group > 0, (influence[level] * tables).sum(axis=(1, 2)), 0.0)
    between = between_donors(sums(by_donor**2, level, n_levels), n_donors, n)
    single = ((of_a == 0) | (of_b == 0)).any(axis=1)
    estimate[single & np.isfinite(estimate)] = 0
    # Where nothing varies the formulas give an error of 0, which says too much.
    single |= estimate == 1
    std_error[single] = between[single] = np.nan
    half, donor_half = Z * std_error, t_quantile(n_donors) * between
    low, high, donor_low, donor_high = (
        np.clip(estimate + move, -1, 1) for move in (-half, half, -donor_half, donor_half)
    )
    return Estimates(n.astype(np.int64), n_donors, estimate, std_error, low, high, between, donor_low, donor_high)


def depth_bins(total: NDArray[np.number], n_bins: int = 10) -> tuple[NDArray[np.intp], Floats]:
    """Bin cells by depth at quantiles.

    Parameters
    ----------
    total
        Counts of each cell, array of shape (n_cells,).
    n_bins
        Number of bins.

    Returns
    -------
    bins
        Bin of each cell, 0 (shallowest) to n_bins - 1. Cells of the same depth share a bin, whatever their order, so
        bins can differ in size and be empty.
    edges
        Least depth of each bin, shape (n_bins,).
    """
    edges = np.quantile(total, np.arange(n_bins) / n_bins)
    return np.searchsorted(edges, total, side="right") - 1, edges
