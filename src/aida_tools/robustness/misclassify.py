r"""What wrong labels do to shares, and how wrong they would have to be.

A share :math:`\pi` is seen as :math:`p = s\pi + (1 - c)(1 - \pi)` under sensitivity s and specificity c
(Rogan, Gladen 1978, doi 10.1093/oxfordjournals.aje.a112510).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def apparent_share(share: ArrayLike, sensitivity: ArrayLike, specificity: ArrayLike) -> np.ndarray:
    """Return the share that is seen, for a true share, sensitivity and specificity between 0 and 1 (any shapes)."""
    share = np.asarray(share, float)
    return np.asarray(sensitivity) * share + (1 - np.asarray(specificity)) * (1 - share)


def true_share(apparent: ArrayLike, sensitivity: ArrayLike, specificity: ArrayLike) -> np.ndarray:
    """Return the true share behind a seen one (any shapes); not a number where none between 0 and 1 could be seen so.

    The labels must be better than chance: sensitivity + specificity > 1.

    Examples
    --------
    >>> round(float(true_share(apparent_share(0.05, 0.75, 0.999), 0.75, 0.999)), 3)
    0.05
    """
    informative = np.asarray(sensitivity, float) + np.asarray(specificity, float) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.asarray(apparent, float) + np.asarray(specificity) - 1) / informative
    return np.where((informative > 0) & (share >= 0) & (share <= 1), share, np.nan)


def corrected_log_odds_ratio(
    log_odds_ratio: ArrayLike, share_b: ArrayLike, errors_a: tuple[ArrayLike, ArrayLike],
    errors_b: tuple[ArrayLike, ArrayLike],
) -> np.ndarray:  # fmt: skip
    """Return the log odds ratio of the true shares.

    Parameters
    ----------
    log_odds_ratio
        Of the seen shares of side a against side b (any shape).
    share_b
        Seen share of side b, 0 to 1.
    errors_a, errors_b
        Sensitivity and specificity of the labels on either side.

    Returns
    -------
    Not a number where no true share fits; infinite where a corrected share is 0 or 1.
    """
    share_a = special.expit(special.logit(share_b) + np.asarray(log_odds_ratio, float))
    with np.errstate(divide="ignore"):
        return special.logit(true_share(share_a, *errors_a)) - special.logit(true_share(share_b, *errors_b))


def tipping_specificity(high: float, low: float, sensitivity: float, specificity: float) -> float:
    """Return how much lower the specificity must be where the share is higher, for equal true shares.

    Parameters
    ----------
    high, low
        Seen shares of the two sides, `high` >= `low`.
    sensitivity, specificity
        Of the labels on both sides otherwise.

    Returns
    -------
    The difference in specificity; not a number if none between 0 and 1 is enough.
    """
    true = float(true_share(low, sensitivity, specificity))
    needed = 1 - (high - sensitivity * true) / (1 - true) if true < 1 else np.nan
    return specificity - needed if needed >= 0 else np.nan


def tipping_sensitivity(high: float, low: float, sensitivity: float, specificity: float) -> float:
    """Return how much lower the sensitivity must be where the share is lower, for equal true shares.

    Parameters and result as for `tipping_specificity`.
    """
    true = float(true_share(high, sensitivity, specificity))
    needed = (low - (1 - specificity) * (1 - true)) / true if true > 0 else np.nan
    return sensitivity - needed if needed >= 0 else np.nan
