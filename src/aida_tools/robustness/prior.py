r"""Which site effects are plausible, and how many of them a contrast survives.

The standard deviation :math:`\tau` between sites (log-odds) has a half-normal distribution of scale
:math:`\max(0.3, \text{SD of the batches of one site})`, times the restricted likelihood of whatever measured it:
control samples, other cohorts. A half-normal is weakly informative: it allows no difference at all, and lets a few
sites move it (Roever et al. 2021, doi 10.1002/jrsm.1475). With a scale of 0.3 its median is 0.2, at which the odds of
two laboratories are within a factor of 1.8 in 95 of 100 cases, and 95 % of it is below 0.6 (a factor of 5): more than
that would be noticed. A site is a set of batches with a laboratory in common, so that sites are not taken to vary less
than batches.

Given :math:`\tau`, what the sites add to a contrast is normal with variance :math:`\tau^2 W`, with W the sum of the
squared weights of the sites in the contrast (`site_spread`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import interpolate, stats

from aida_tools.design.sites import PLAUSIBLE_SITE_SD
from aida_tools.robustness.reml import MAX_SD

#: Standard deviations that a log-likelihood is given at, closer together where they are small.
SITE_SDS = MAX_SD * np.linspace(0, 1, 41) ** 2
#: Steps between two of these.
_FINE = 40


class SitePrior(NamedTuple):
    """The distribution of the standard deviation between sites.

    Attributes
    ----------
    scale
        Scale of the half-normal that it starts from.
    sd
        Standard deviations on the log-odds scale, rising from 0 to `MAX_SD`, shape (k,).
    start, density
        Density of the half-normal, and of what the data make of it, at each of them, shape (k,).
    """

    scale: float
    sd: np.ndarray
    start: np.ndarray
    density: np.ndarray

    def mean(self, values: np.ndarray) -> float:
        """Return the mean of a function of the standard deviation, given by its values at `sd`, shape (k,)."""
        return float(np.trapezoid(values * self.density, self.sd))

    def quantile(self, level: float) -> float:
        """Return the standard deviation that a share `level` (0 to 1) of the distribution is below."""
        steps = np.diff(self.sd) * (self.density[1:] + self.density[:-1]) / 2
        return float(np.interp(level, np.concatenate([[0.0], np.cumsum(steps)]), self.sd))

    def curve(self) -> list[dict[str, float]]:
        """Return the rows of `site_prior.tsv`: the densities where they are not negligible."""
        rows = zip(self.sd[:: _FINE // 8], self.start[:: _FINE // 8], self.density[:: _FINE // 8], strict=True)
        least = 1e-3 * max(self.start.max(), self.density.max())
        return [{"site_sd": x, "start": a, "density": b} for x, a, b in rows if max(a, b) > least]

    def share_below(self, limit: float, spread: float) -> float:
        r"""Return the share of plausible site effects that add less than `limit` to a contrast.

        Parameters
        ----------
        limit
            On the log-odds scale; below 0 where they would have to add to the other side.
        spread
            Sum of the squared weights of the sites, above 0.

        Returns
        -------
        :math:`\int \Phi(\text{limit} / (\tau \sqrt{W})) p(\tau) d\tau`, from 0 to 1.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            at = stats.norm.cdf(limit / (self.sd * np.sqrt(spread)))
        # Without site effects everything is as measured.
        at[0] = float(limit > 0)
        return min(self.mean(at), 1.0)


def site_prior(batch_sd: float, logliks: Sequence[np.ndarray] = ()) -> SitePrior:
    """Return which standard deviations between sites are plausible.

    Parameters
    ----------
    batch_sd
        Standard deviation of the batches of one site on the log-odds scale; not a number where not measured.
    logliks
        Restricted log-likelihoods of independent measurements, each at `SITE_SDS`, shape (41,): of control samples, of
        the sites of other cohorts.
    """
    scale = float(np.fmax(PLAUSIBLE_SITE_SD, batch_sd))
    fine = np.interp(np.arange((len(SITE_SDS) - 1) * _FINE + 1) / _FINE, np.arange(len(SITE_SDS)), SITE_SDS)
    start = stats.halfnorm.pdf(fine, scale=scale)
    log = stats.halfnorm.logpdf(fine, scale=scale)
    for loglik in logliks:
        log = log + interpolate.CubicSpline(SITE_SDS, loglik)(fine)
    density = np.exp(log - log.max())
    return SitePrior(scale, fine, start, density / np.trapezoid(density, fine))
