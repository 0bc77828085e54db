"""The models: what each is called, how its numbers are to be read, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from aida_tools.compare.betabinomial import fit_betabinomial, fit_by_library
from aida_tools.compare.clr import fit_clr, fit_two_class
from aida_tools.compare.cluster import fit_cluster
from aida_tools.compare.fit import Data, Fit
from aida_tools.compare.mixed import fit_mixed, hermite
from aida_tools.compare.ols import fit_log10
from aida_tools.compare.propeller import fit_asin, fit_logit
from aida_tools.compare.quasibinomial import fit_quasi_share, fit_quasibinomial

Link = Literal["logit", "log10", "asin", "clr"]


class Model(NamedTuple):
    """A model of shares.

    Attributes
    ----------
    fit
        Takes the cell types of a denominator, returns one fit a type.
    link
        Scale of its coefficients.
    unit
        How to read `estimate`.
    drops_zeros
        Whether samples without a cell of the type are left out of its model.
    separates
        Whether a side of a contrast without a cell has no finite estimate.
    reference
        Source of the method.
    likelihood
        Whether its log-likelihoods can be compared.
    of_counts, of_shares
        Whether it is run on tables of counts, and on tables of shares without counts.
    by_batch
        Whether the batch enters its design as a factor, so that only donors of one batch are compared.
    """

    fit: Callable[[Data], list[Fit]]
    link: Link
    unit: str
    drops_zeros: bool
    separates: bool
    reference: str
    likelihood: bool = False
    by_batch: bool = False
    of_counts: bool = True
    of_shares: bool = False


_LOG_ODDS = "natural logarithm of the odds ratio"

#: Name -> model; the first is the primary one.
MODELS: dict[str, Model] = {
    "betabinomial-mixed": Model(
        fit_mixed, "logit", _LOG_ODDS, False, True,
        "Beta-binomial with a normal batch intercept, adaptive Gauss-Hermite; Brooks et al. 2017 (glmmTMB), "
        "doi 10.32614/RJ-2017-066", likelihood=True,
    ),
    "betabinomial-cluster": Model(
        fit_cluster, "logit", _LOG_ODDS, False, True,
        "Beta-binomial, batch-jackknife (CR3) errors; Pustejovsky and Tipton 2018, doi 10.1080/07350015.2016.1247004",
    ),
    "betabinomial-library": Model(
        fit_by_library, "logit", _LOG_ODDS, False, True,
        "Beta-binomial with the batch as a factor: compares donors of the same batch only", likelihood=True,
        by_batch=True,
    ),
    "betabinomial": Model(
        fit_betabinomial, "logit", _LOG_ODDS, False, True,
        "Beta-binomial maximum likelihood; Crowder 1978, doi 10.2307/2346223", likelihood=True,
    ),
    "quasibinomial": Model(
        fit_quasibinomial, "logit", _LOG_ODDS, False, True,
        "McCullagh and Nelder, Generalized Linear Models, 2nd ed., section 4.5",
    ),
    "propeller-logit": Model(
        fit_logit, "logit", _LOG_ODDS + ", of shares with half a cell added", False, False,
        "Phipson et al. 2022, doi 10.1093/bioinformatics/btac582",
    ),
    "propeller-asin": Model(
        fit_asin, "asin", "difference of arcsin(sqrt(share)), radians", False, False,
        "Phipson et al. 2022, doi 10.1093/bioinformatics/btac582",
    ),
    "clr": Model(
        fit_clr, "clr", "difference of centred log-ratios: log of the type over the geometric mean of all types", False,
        False, "Hoffman and Roussos 2025 (crumblr), method clr",
    ),
    "clr-2class": Model(
        fit_two_class, "logit", _LOG_ODDS + ", of counts with half a cell added", False, False,
        "Hoffman and Roussos 2025 (crumblr), method clr_2class, times 2",
    ),
    "log10-ols": Model(
        fit_log10, "log10", "log10 of the ratio of shares", True, False,
        "Kock et al. 2025, doi 10.1016/j.cell.2025.02.017: lm(log10(Proportion) ~ ...), zeros dropped",
        of_shares=True,
    ),
    "quasi-share": Model(
        fit_quasi_share, "logit", _LOG_ODDS + "; every share weighs alike, whatever the cells behind it", False, True,
        "Fractional logit of shares without counts; Papke and Wooldridge 1996", of_counts=False, of_shares=True,
    ),
}  # fmt: skip


def inverse_link(link: Link, eta: np.ndarray, group_sd: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares that linear predictors stand for, and their derivatives.

    Parameters
    ----------
    link
        Scale of `eta`.
    eta
        Linear predictors, shape (n,).
    group_sd
        Standard deviation of a normal batch intercept to average over.

    Returns
    -------
    Shares, 0 to 1, and slopes, each of shape (n,); not numbers for `clr`, where a log-ratio to the mean of all types
    does not fix the share of one.
    """
    if link == "clr":
        return np.full(len(eta), np.nan), np.full(len(eta), np.nan)
    if link == "log10":
        share = np.minimum(10.0**eta, 1.0)
        return share, np.where(share < 1, np.log(10) * share, 0.0)
    if link == "asin":
        inside = np.clip(eta, 0, np.pi / 2)
        return np.sin(inside) ** 2, np.sin(2 * inside)
    if not group_sd:
        share = special.expit(eta)
        return share, share * (1 - share)
    z, log_weight = hermite(9)
    weight = np.exp(log_weight - z**2) / np.sqrt(np.pi)
    share = special.expit(eta[:, None] + np.sqrt(2) * group_sd * z)
    return share @ weight, (share * (1 - share)) @ weight


def mean_share(link: Link, eta: np.ndarray, group_sd: float = 0.0) -> float:
    """Return the mean of `inverse_link`'s shares: the standardised share (g-computation), 0 to 1."""
    return float(inverse_link(link, eta, group_sd)[0].mean())
