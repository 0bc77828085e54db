"""What a comparison can detect, in closed form, from the spread of donors, batches and sites.

A comparison is a weighted sum of the donors' log-odds. Its variance follows from how the weights fall on donors,
batches and sites: what the two sides of a comparison share with each other cancels, whatever its effect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from aida_tools.power import POWER

Array = NDArray[np.float64]

ALPHA = 0.05


class Spread(NamedTuple):
    """Standard deviations between donors, batches and sites on the log-odds scale, each 0 or more."""

    donor: float
    batch: float
    site: float = 0.0


def donor_sd(precision: ArrayLike, share: ArrayLike) -> Array:
    """Express a beta-binomial precision as the standard deviation of the donors' log-odds (delta method).

    Parameters
    ----------
    precision
        phi, above 0: a donor's share has variance `share (1 - share) / (phi + 1)`.
    share
        Mean share, between 0 and 1 (both excluded); same shape.
    """
    share = np.asarray(share, float)
    return 1 / np.sqrt((np.asarray(precision, float) + 1) * share * (1 - share))


def donor_variance(sd: float, share: ArrayLike, cells: ArrayLike) -> Array:
    """Variance of a donor's observed log-odds, `sd^2 + 1 / (N p (1 - p))`: between donors, plus the draw of cells.

    Parameters
    ----------
    sd
        Standard deviation between donors on the log-odds scale.
    share
        Mean share p, between 0 and 1 (both excluded).
    cells
        Cells N of the denominator, above 0.
    """
    share = np.asarray(share, float)
    return sd**2 + 1 / (np.asarray(cells, float) * share * (1 - share))


def contrast_variance(
    weights: Array, variance: Array, batch: NDArray[np.intp], site: NDArray[np.intp], spread: Spread
) -> float:
    """Variance of a weighted sum of donors' log-odds, for any allotment of donors to batches and sites.

    `sum_i w_i^2 v_i + batch_sd^2 sum_j (sum_{i in j} w_i)^2 + site_sd^2 sum_s (sum_{i in s} w_i)^2`

    Parameters
    ----------
    weights
        w, shape (n,): 1 / n_a on one side and -1 / n_b on the other for a difference of means; a row of the least
        squares solution for a contrast with covariates.
    variance
        v, variance of each donor's observed log-odds, shape (n,); see `donor_variance`.
    batch, site
        Codes from 0, shape (n,).
    spread
        Standard deviations of batches and sites; its `donor` is already in `variance`.
    """
    by_batch, by_site = np.bincount(batch, weights), np.bincount(site, weights)
    return float(weights**2 @ variance + spread.batch**2 * (by_batch @ by_batch) + spread.site**2 * (by_site @ by_site))


def weighted_covariance(design: Array, variance: Array, batch: NDArray[np.intp], batch_sd: float) -> Array:
    """Covariance of the coefficients when every donor is weighted by what is known of it: generalised least squares.

    Parameters
    ----------
    design
        Shape (n, p), of full rank.
    variance
        Variance of each donor's observed log-odds, shape (n,); see `donor_variance`.
    batch
        Codes from 0, shape (n,).
    batch_sd
        Standard deviation of a normal intercept that the donors of a batch share.

    Returns
    -------
    `(X' V^-1 X)^-1`, shape (p, p), with V = diag(variance) plus batch_sd^2 within batches, inverted batch by batch
    (Sherman-Morrison).
    """
    weighted = design / variance[:, None]
    members = np.equal.outer(np.arange(batch.max() + 1), batch).astype(float)
    sums, precision = members @ weighted, members @ (1 / variance)
    shrunk = sums * (batch_sd**2 / (1 + batch_sd**2 * precision))[:, None]
    return np.linalg.inv(design.T @ weighted - sums.T @ shrunk)


def minimal_detectable(
    std_error: ArrayLike, df: ArrayLike = np.inf, *, power: float = POWER, alpha: float = ALPHA
) -> Array:
    """Smallest effect that a two-sided t test declares with the wanted power.

    Parameters
    ----------
    std_error
        Standard error of the estimate, 0 or more.
    df
        Degrees of freedom, above 0; infinite for a normal test.
    power, alpha
        Between 0 and 1.

    Returns
    -------
    The effect on the scale of the estimate: the noncentrality that puts `1 - power` below the critical value, times
    the standard error. The far tail, below alpha / 2, is left out.

    Examples
    --------
    Two groups of 70 donors with a standard deviation of 0.35 between donors, at one site:

    >>> round(float(np.exp(minimal_detectable(0.35 * np.sqrt(2 / 70), df=138))), 2)
    1.18
    """
    return np.asarray(std_error, float) * special.nctdtrinc(df, 1 - power, stats.t.ppf(1 - alpha / 2, df))


def power_of(effect: ArrayLike, std_error: ArrayLike, df: ArrayLike = np.inf, *, alpha: float = ALPHA) -> Array:
    """Chance that a two-sided t test declares an effect of this size, in either direction.

    Parameters
    ----------
    effect
        On the scale of the estimate; its sign does not matter.
    std_error, df, alpha
        As for `minimal_detectable`; `std_error` above 0.
    """
    critical = stats.t.ppf(1 - alpha / 2, df)
    shift = np.abs(np.asarray(effect, float)) / np.asarray(std_error, float)
    # Where too little is left beyond the far limit to be added to 1, nctdtr gives NaN for it.
    beyond = np.nan_to_num(special.nctdtr(df, shift, -critical))
    return 1 - special.nctdtr(df, shift, critical) + beyond


def false_positive_rate(
    assumed: ArrayLike, actual: ArrayLike, df: ArrayLike = np.inf, *, alpha: float = ALPHA
) -> Array:
    """Chance of a false positive where the standard error in the test is not the actual one.

    Parameters
    ----------
    assumed, actual
        The standard error that the test divides by, and that of the estimate (with the site, say), above 0.
    df, alpha
        As for `minimal_detectable`.
    """
    ratio = np.asarray(assumed, float) / np.asarray(actual, float)
    return 2 * stats.t.sf(stats.t.ppf(1 - alpha / 2, df) * ratio, df)
