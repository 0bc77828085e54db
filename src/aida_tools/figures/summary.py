"""Small summaries that are drawn: medians with an interval, pooled shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special


def median_interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float, float]:
    r"""Return the median and its distribution-free confidence interval.

    The interval is between two order statistics, :math:`[x_{(k)}, x_{(n+1-k)}]`, with the largest :math:`k` for which
    :math:`P(k \le B \le n-k) \ge \text{level}`, :math:`B \sim \text{Binomial}(n, 1/2)`. No shape is assumed.

    Parameters
    ----------
    values
        Array of shape (n,); missing values are left out.
    level
        Wanted coverage, in (0, 1).

    Returns
    -------
    Median, lower and upper limit. The limits are NaN where n is too small for the level (below 6 for 95 %), and all
    three are NaN where n is 0.

    References
    ----------
    Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.
    """
    values = np.sort(values[~np.isnan(values)])
    n = len(values)
    if n == 0:
        return np.nan, np.nan, np.nan
    k = int(np.sum(2 * special.bdtr(np.arange(n), n, 0.5) <= 1 - level))
    if k < 1:
        return float(np.median(values)), np.nan, np.nan
    return float(np.median(values)), float(values[k - 1]), float(values[n - k])


def cell_intervals(
    n: NDArray[np.float64], total: NDArray[np.float64], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Wilson score intervals of shares, from the numbers of cells alone.

    They say how well a sample's own share was measured, and nothing about how donors differ.

    Parameters
    ----------
    n
        Cells of the type, shape (n_samples,).
    total
        Cells of the denominator, shape (n_samples,).
    level
        Coverage, in (0, 1).

    Returns
    -------
    Lower and upper limits, shape (n_samples,), range [0, 1]; NaN where `total` is 0.

    References
    ----------
    Wilson, Journal of the American Statistical Association 22:209 (1927).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z2 = special.ndtri((1 + level) / 2) ** 2
        p = n / total
        centre = (p + z2 / (2 * total)) / (1 + z2 / total)
        half = np.sqrt(z2 * (p * (1 - p) / total + z2 / (4 * total**2))) / (1 + z2 / total)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
