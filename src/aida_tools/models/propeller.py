"""Linear models of transformed shares with empirical Bayes variances: propeller.

Phipson et al. (2022, doi 10.1093/bioinformatics/btac582). Agrees with speckle and limma (tests/oracles/propeller.R).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aida_tools.models.data import Data, Fit, no_counts
from aida_tools.models.ebayes import squeeze
from aida_tools.models.linear import least_squares
from aida_tools.models.model import LOG_ODDS, Model


def moderated(fits: list[Fit], *, robust: bool) -> list[Fit]:
    """Replace the residual variances of linear fits by their empirical Bayes estimates.

    Parameters
    ----------
    fits
        One for each cell type of a denominator, all with the same degrees of freedom; those that did not converge are
        left as they are.
    robust
        Whether outlying variances are shrunk less.
    """
    usable = [i for i, fit in enumerate(fits) if fit.converged and fit.precision > 0]
    if not usable:
        return fits
    variance = np.array([fits[i].precision for i in usable])
    squeezed = squeeze(variance, fits[usable[0]].df, robust=robust)
    out = list(fits)
    for i, posterior, df in zip(usable, squeezed.variance, squeezed.df, strict=True):
        cov = fits[i].cov * (posterior / fits[i].precision)
        out[i] = replace(fits[i], cov=cov, df=float(df), precision=float(posterior))
    return out


def _linear(data: Data, response: np.ndarray) -> list[Fit]:
    p = data.design.shape[1]
    empty = data.counts.sum(axis=0) == 0
    fits = [no_counts(p) if none else least_squares(y, data.design) for y, none in zip(response.T, empty, strict=True)]
    return moderated(fits, robust=data.robust)


def fit_logit(data: Data) -> list[Fit]:
    """Fit logits of shares, with half a cell added to each of the k types: `(y + 0.5) / (N + 0.5 k)`."""
    share = (data.counts + 0.5) / (data.totals + 0.5 * data.counts.shape[1])[:, None]
    return _linear(data, np.log(share / (1 - share)))


def fit_asin(data: Data) -> list[Fit]:
    """Fit `arcsin(sqrt(share))`."""
    return _linear(data, np.arcsin(np.sqrt(data.counts / data.totals[:, None])))


_PROPELLER = "Phipson et al. 2022, doi 10.1093/bioinformatics/btac582"
LOGIT = Model(
    name="propeller-logit",
    fit=fit_logit,
    link="logit",
    unit=f"{LOG_ODDS}, of shares with half a cell added",
    words="linear models of logit-transformed shares with empirical Bayes variances (propeller)",
    reference=_PROPELLER,
    marker=("v", "#CC79A7"),
    one_type=False,
)
ASIN = Model(
    name="propeller-asin",
    fit=fit_asin,
    link="asin",
    unit="difference of arcsin(sqrt(share)), radians",
    words="linear models of arcsine-square-root shares with empirical Bayes variances (propeller)",
    reference=_PROPELLER,
    marker=("h", "#332288"),
    one_type=False,
)
