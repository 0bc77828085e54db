"""Logistic regression of counts with a free dispersion (quasi-binomial)."""

from __future__ import annotations

import numpy as np
from scipy import special

from aida_tools.models.data import Data, Fit, failed, no_counts
from aida_tools.models.model import LOG_ODDS, Model

#: Beyond this logit a share is 0 or 1 to the last bit: the sign of a separated design.
_EDGE = 30.0


def deviance(counts: np.ndarray, totals: np.ndarray, mean: np.ndarray) -> float:
    """Binomial deviance of counts against expected shares, each of shape (n,)."""
    other = totals - counts
    return 2 * float(
        np.sum(
            special.xlogy(counts, counts)
            - special.xlogy(counts, totals * mean)
            + special.xlogy(other, other)
            - special.xlogy(other, totals * (1 - mean))
        )
    )


def irls(
    counts: np.ndarray, totals: np.ndarray, design: np.ndarray, *, iterations: int = 50
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Maximise the binomial likelihood by iteratively reweighted least squares.

    Parameters
    ----------
    counts, totals
        Shape (n,).
    design
        Shape (n, p), of full rank.
    iterations
        At most.

    Returns
    -------
    coef (p,), inverse information (p, p), fitted shares (n,), and whether the deviance settled.
    """
    share = (counts + 0.5) / (totals + 1)
    eta = np.log(share / (1 - share))
    before = np.inf
    for _ in range(iterations):
        mean = special.expit(eta)
        weight = totals * mean * (1 - mean)
        working = eta + (counts - totals * mean) / weight
        information = (design * weight[:, None]).T @ design
        coef = np.linalg.solve(information, (design * weight[:, None]).T @ working)
        eta = np.clip(design @ coef, -_EDGE, _EDGE)
        now = deviance(counts, totals, special.expit(eta))
        if abs(now - before) <= 1e-12 * (abs(now) + 0.1):
            mean = special.expit(eta)
            weight = totals * mean * (1 - mean)
            return coef, np.linalg.inv((design * weight[:, None]).T @ design), mean, True
        before = now
    return coef, np.linalg.inv(information), special.expit(eta), False


def fit_one(counts: np.ndarray, totals: np.ndarray, design: np.ndarray) -> Fit:
    """Fit one cell type by logistic regression; standard errors times the root of Pearson's dispersion, t on n - p.

    Parameters
    ----------
    counts, totals
        Shape (n,).
    design
        Shape (n, p), of full rank.
    """
    n, p = design.shape
    if counts.sum() == 0:
        return no_counts(p)
    try:
        coef, inverse, mean, settled = irls(counts, totals, design)
    except np.linalg.LinAlgError:
        return failed(p, "the fit did not converge: some shares go to 0 or 1 (separation)")
    variance = totals * mean * (1 - mean)
    dispersion = float(np.sum((counts - totals * mean) ** 2 / variance)) / (n - p)
    message = "" if settled else "the fit did not converge in 50 iterations"
    return Fit(coef, dispersion * inverse, float(n - p), settled, message, precision=dispersion, weights=variance)


def fit_quasibinomial(data: Data) -> list[Fit]:
    """Fit each type's counts."""
    return [fit_one(counts, data.totals, data.design) for counts in data.counts.T]


MODEL = Model(
    name="quasibinomial",
    fit=fit_quasibinomial,
    link="logit",
    unit=LOG_ODDS,
    words="quasi-binomial regression",
    reference="McCullagh and Nelder, Generalized Linear Models, 2nd ed., section 4.5",
    marker=("^", "#E69F00"),
    one_type=True,
    separates=True,
)
