r"""How large a site effect would have to be to explain a contrast between sites.

Site effects drawn with standard deviation :math:`\tau` on the log-odds scale add
:math:`\tau^2 \sum_s w_s^2` to the variance of a contrast, where :math:`w_s` is what a shift of one unit at site s
does to it: +1 and -1 for populations of one site each.
"""

from __future__ import annotations

import numpy as np
from scipy import special, stats


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
