"""Beta-binomial regression by maximum likelihood.

Log-odds of a type are linear in the design; samples vary around them with one precision for all, so that weights
saturate as cells grow. Agrees with glmmTMB (tests/oracles/betabinomial.R).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import special
from scipy.linalg import lapack

from aida_tools.models.data import Data, Fit, failed, no_counts
from aida_tools.models.laplace import LOG_PRECISION
from aida_tools.models.likelihood import all_terms
from aida_tools.models.model import LOG_ODDS, Model
from aida_tools.models.quasibinomial import irls

_ITERATIONS = 60

Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def maximise(objective: Objective, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, bool]:
    """Maximise a smooth function by Newton's method within bounds.

    Parameters
    ----------
    objective
        Returns value, gradient (m,) and Hessian (m, m) at a point.
    start, lower, upper
        Shape (m,). A parameter at a bound that pulls outwards is held there.

    Returns
    -------
    The point reached and whether it is a maximum: the Newton decrement fell below 1e-8, or the value stopped rising.
    """
    point = np.clip(start, lower, upper)
    value, gradient, hessian = objective(point)
    for _ in range(_ITERATIONS):
        held = ((point <= lower) & (gradient < 0)) | ((point >= upper) & (gradient > 0))
        free = np.flatnonzero(~held)
        step = np.zeros_like(point)
        if not len(free):
            return point, True
        step[free] = _ascent(-hessian[np.ix_(free, free)], gradient[free])
        decrement = float(step @ gradient)
        if decrement < 1e-8:
            return np.clip(point + step, lower, upper), True
        for halving in range(12):
            trial = np.clip(point + step * 0.5**halving, lower, upper)
            result = objective(trial)
            if np.isfinite(result[0]) and result[0] > value - 1e-12 * abs(value):
                break
        else:
            return point, decrement < 1e-5
        settled = result[0] - value < 1e-10 * (1 + abs(value)) and decrement < 1e-3
        point, (value, gradient, hessian) = trial, result
        if settled:
            # A coefficient on its way to infinity (a batch without a cell) never stops; the likelihood has.
            return point, True
    return point, False


def _ascent(information: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Solve for the Newton step; where the function is not concave, with a ridge that makes it so."""
    scale = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-8))
    scaled = information / np.outer(scale, scale)
    diagonal, ridge = np.diag(scaled).copy(), 0.0
    while True:
        # LAPACK itself: with a dozen parameters the checks around it take longer than the solution.
        _, step, failure = lapack.dposv(scaled, gradient / scale)
        if not failure:
            return np.asarray(step / scale)
        ridge = max(4 * ridge, 1e-4)
        np.fill_diagonal(scaled, diagonal + ridge)


def _objective(counts: np.ndarray, totals: np.ndarray, design: np.ndarray) -> Objective:
    p = design.shape[1]

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        t = all_terms(counts, totals, design @ theta[:p], float(theta[p]))
        hessian = np.empty((p + 1, p + 1))
        hessian[:p, :p] = (design * t[3][:, None]).T @ design
        hessian[:p, p] = hessian[p, :p] = design.T @ t[4]
        hessian[p, p] = t[5].sum()
        return float(t[0].sum()), np.append(design.T @ t[1], t[2].sum()), hessian

    return objective


def log_binomials(counts: np.ndarray, totals: np.ndarray) -> float:
    """Sum of log binomial coefficients: the part of the log-likelihood that no parameter moves."""
    return float(
        np.sum(special.gammaln(totals + 1) - special.gammaln(counts + 1) - special.gammaln(totals - counts + 1))
    )


def _start(counts: np.ndarray, totals: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Return logistic regression coefficients and the precision that matches Pearson's dispersion."""
    coef, _, mean, _ = irls(counts, totals, design, iterations=8)
    n, p = design.shape
    pearson = np.sum((counts - totals * mean) ** 2 / (totals * mean * (1 - mean))) / (n - p)
    overlap = max((pearson - 1) / max(totals.mean() - 1, 1), 1e-4)
    return np.append(np.clip(coef, -30, 30), np.log(1 / overlap))


def covariance(hessian: np.ndarray, p: int, free: np.ndarray) -> np.ndarray:
    """Return the covariance of the first p parameters from the Hessian over the free ones."""
    return np.linalg.inv(-hessian[np.ix_(free, free)])[:p, :p]


def working_weights(counts: np.ndarray, totals: np.ndarray, eta: np.ndarray, precision: float) -> np.ndarray:
    """Return what each sample tells of its linear predictor, shape (n,).

    Moments give the samples' weights smoothly; the likelihood, which knows the shape too, gives their level.

    Parameters
    ----------
    counts, totals, eta
        Counts and linear predictors, shape (n,).
    precision
        Precision phi.
    """
    mean = special.expit(eta)
    weights = totals * mean * (1 - mean) / (1 + (totals - 1) / (precision + 1)) + 1e-12
    level = max(-all_terms(counts, totals, eta, float(np.log(precision)))[3].sum() / weights.sum(), 0.1)
    return np.asarray(weights * level)


def fit_one(counts: np.ndarray, totals: np.ndarray, design: np.ndarray, start: np.ndarray | None = None) -> Fit:
    """Fit one cell type.

    Parameters
    ----------
    counts, totals
        Shape (n,), floats.
    design
        Shape (n, p), of full rank.
    start
        Coefficients and log precision to start from, shape (p + 1,).

    Returns
    -------
    Fit with t on n - p degrees of freedom; `precision` is phi.
    """
    n, p = design.shape
    if counts.sum() == 0:
        return no_counts(p)
    lower = np.append(np.full(p, -40.0), LOG_PRECISION[0])
    upper = np.append(np.full(p, 40.0), LOG_PRECISION[1])
    objective = _objective(counts, totals, design)
    try:
        theta, reached = maximise(objective, _start(counts, totals, design) if start is None else start, lower, upper)
        value, _, hessian = objective(theta)
        free = np.flatnonzero((theta > lower) & (theta < upper))
        cov = covariance(hessian, p, np.union1d(free, np.arange(p)))
    except np.linalg.LinAlgError:
        return failed(p, "the fit did not converge: some shares go to 0 or 1 (separation)")
    message = "" if reached else f"the fit did not converge in {_ITERATIONS} iterations"
    loglik = value + log_binomials(counts, totals)
    phi = float(np.exp(theta[p]))
    weights = working_weights(counts, totals, design @ theta[:p], phi)
    return Fit(theta[:p], cov, float(n - p), reached, message, loglik=loglik, precision=phi, weights=weights)


def fit_plain(data: Data) -> list[Fit]:
    """Fit each type without a batch effect; once for all models that begin with it."""
    counts, totals = np.ascontiguousarray(data.counts.T, dtype=float), data.totals.astype(float)
    return data.remember("plain", lambda: [fit_one(y, totals, data.design) for y in counts])


def fit_betabinomial(data: Data) -> list[Fit]:
    """Fit each type without a batch effect; the message says where the coefficients are too many for it."""
    return [replace(fit, message=fit.message or data.crowded) for fit in fit_plain(data)]


MODEL = Model(
    name="betabinomial",
    fit=fit_betabinomial,
    link="logit",
    unit=LOG_ODDS,
    words="beta-binomial regression by maximum likelihood",
    reference="Beta-binomial maximum likelihood; Crowder 1978, doi 10.2307/2346223",
    marker=("s", "#56B4E9"),
    one_type=True,
    separates=True,
)
