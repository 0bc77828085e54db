r"""How large a site effect would have to be to explain a contrast between sites.

Site effects drawn with standard deviation :math:`\tau` on the log-odds scale add
:math:`\tau^2 \sum_s w_s^2` to the variance of a contrast, where :math:`w_s` is what a shift of one unit at site s
does to it: +1 and -1 for populations of one site each.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from aida_tools.robustness.reml import Components


def site_weights(found: Components, contrast: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Return what a shift of one unit at each site does to a contrast.

    Parameters
    ----------
    found
        Generalised least squares fit of the n samples.
    contrast
        Weights on its coefficients, shape (p,).
    sites
        0/1 columns of the sites, shape (n, s).

    Returns
    -------
    Shape (s,). They sum to 0 in a design with an intercept; all are 0 for a contrast inside sites.
    """
    return np.asarray(contrast @ found.cov @ (found.design.T @ found.weigh(sites)))


def site_bound(estimate: float, std_error: float, df: float, spread: float) -> float:
    """Return the smallest site standard deviation at which the 95 % interval includes no difference.

    Parameters
    ----------
    estimate, std_error, df
        Log odds ratio, its standard error, and the degrees of freedom of its t statistic.
    spread
        Sum of the squared site weights, above 0.

    Returns
    -------
    Standard deviation on the log-odds scale; 0 if the interval includes no difference without any site effect.
    """
    excess = (estimate / float(stats.t.ppf(0.975, df))) ** 2 - std_error**2
    return float(np.sqrt(max(excess, 0.0) / spread))


def share_shift(share: float, shift: float) -> float:
    """Return by how much a share (0 to 1) rises when its log-odds rise by `shift`."""
    return float(special.expit(special.logit(share) + shift) - share) if shift else 0.0
