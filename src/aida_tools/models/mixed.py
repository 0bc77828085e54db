"""Beta-binomial regression with a normal intercept for each batch, by adaptive Gauss-Hermite quadrature.

Agrees with glmmTMB (tests/oracles/betabinomial.R), which uses the Laplace approximation: one node.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from aida_tools.core.words import counted
from aida_tools.models.betabinomial import (
    LOG_PRECISION,
    Objective,
    covariance,
    fit_plain,
    fit_restricted,
    log_binomials,
    maximise,
)
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.likelihood import all_terms, mixed_loglik
from aida_tools.models.links import hermite
from aida_tools.models.model import LOG_ODDS, Model

#: Nodes around each batch's mode, and those taken where the first do not suffice.
NODES = (7, 35)
_LOG_SD = (-6.0, 1.5)


def _variance_score(counts: np.ndarray, totals: np.ndarray, data: Data, fit: Fit) -> float:
    """Return the slope of the log-likelihood in the batch variance at 0; positive if batches differ."""
    t = all_terms(counts, totals, data.design @ fit.coef, float(np.log(fit.precision)))
    by_group = np.bincount(data.codes, t[1], data.n_groups)
    return float(by_group @ by_group + t[3].sum()) / 2


def batch_means(values: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return weighted means of columns in each batch, one row a batch.

    Parameters
    ----------
    values
        Shape (n, p).
    codes
        Batches 0 ... g - 1, shape (n,).
    weights
        Shape (n,), above 0.
    """
    sums = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(sums, codes, values * weights[:, None])
    return sums / np.bincount(codes, weights)[:, None]


def between_columns(data: Data) -> int:
    """Count the coefficients that only batches tell: the intercept, a population with batches of its own."""
    inside = data.design - batch_means(data.design, data.codes, np.ones(len(data.totals)))[data.codes]
    return int(data.design.shape[1]) - int(np.linalg.matrix_rank(inside, tol=1e-8 * np.abs(data.design).max()))


def information_weights(counts: np.ndarray, data: Data, fit: Fit) -> np.ndarray:
    """Return what each sample tells of its linear predictor: working weights, shape (n,).

    Moments give the samples' weights smoothly; the likelihood, which knows the shape too, gives their level.
    """
    eta = data.design @ fit.coef
    mean = special.expit(eta)
    weights = data.totals * mean * (1 - mean) / (1 + (data.totals - 1) / (fit.precision + 1)) + 1e-12
    level = max(-all_terms(counts, data.totals, eta, np.log(fit.precision))[3].sum() / weights.sum(), 0.1)
    return np.asarray(weights * level)


class Containment:
    """Degrees of freedom of a contrast, by where its information comes from.

    Batches leave g - (between columns) degrees of freedom to what is told between batches, and samples
    n - g - (other columns) to what is told inside them. With w the share of a contrast's information from inside (its
    variance over that of the same contrast with the batches held fixed), ``1/df = w^2/df_inside + (1-w)^2/df_between``:
    the degrees of freedom of two independent estimates combined by their precisions.
    """

    def __init__(self, counts: np.ndarray, data: Data, fit: Fit) -> None:
        n, p = data.design.shape
        between = between_columns(data)
        self.between = float(data.n_groups - between)
        self.inside = float(n - data.n_groups - (p - between))
        self._cov = fit.cov
        weights = information_weights(counts, data, fit)
        centred = data.design - batch_means(data.design, data.codes, weights)[data.codes]
        values, self._vectors = np.linalg.eigh((centred * weights[:, None]).T @ centred)
        self._seen = values > 1e-9 * values.max()
        self._values = values

    def __call__(self, weights: np.ndarray) -> float:
        """Return the degrees of freedom of a contrast, weights of shape (p,)."""
        parts = self._vectors.T @ weights
        if np.abs(parts[~self._seen]).max(initial=0.0) > 1e-6 * np.abs(weights).max():
            return self.between
        alone = float(np.sum(parts[self._seen] ** 2 / self._values[self._seen]))
        w = min(float(weights @ self._cov @ weights) / alone, 1.0)
        if self.inside <= 0:
            return self.between
        return 1 / (w**2 / self.inside + (1 - w) ** 2 / self.between)


def _with_df(fit: Fit, counts: np.ndarray, data: Data) -> Fit:
    df = Containment(counts, data, fit)
    return replace(fit, df=df.between, df_of=df)


def with_unbiased_batches(fit: Fit, counts: np.ndarray, data: Data) -> Fit:
    r"""Widen a maximum likelihood fit by what its batch variance is too small.

    Maximum likelihood divides by the number g of batches where q coefficients were fitted between them, so that its
    variance between batches is too small by (g - q) / g, as any maximum likelihood variance is (Patterson and Thompson
    1971, doi 10.1093/biomet/58.3.545). The covariance answers to first order:

    .. math:: C + \frac{q}{g - q} \sigma^2 \sum_b u_b u_b^T, \quad u_b = C X^T V^{-1} 1_b

    Coefficients, likelihood and `group_sd` stay those of maximum likelihood.

    Parameters
    ----------
    fit
        Maximum likelihood fit of one type.
    counts
        Its cells, shape (n,).
    data
        Its design and groups.

    Returns
    -------
    The fit with the wider covariance; the same fit where its batches do not vary.
    """
    if not fit.converged or not fit.group_sd:
        return fit
    between = between_columns(data)
    weights, variance = information_weights(counts, data, fit), fit.group_sd**2
    sums = np.zeros((data.n_groups, data.design.shape[1]))
    np.add.at(sums, data.codes, data.design * weights[:, None])
    batches = (sums / (1 + variance * np.bincount(data.codes, weights))[:, None]) @ fit.cov
    missing = variance * between / (data.n_groups - between)
    return replace(fit, cov=fit.cov + missing * batches.T @ batches)


def fit_one_mixed(counts: np.ndarray, data: Data, plain: Fit) -> Fit:
    """Fit one cell type with a normal intercept for each batch, by maximum likelihood.

    Parameters
    ----------
    counts
        Shape (n,), floats.
    data
        Its totals (floats), design and groups; its samples must be sorted by group.
    plain
        The fit without a batch effect.

    Returns
    -------
    Fit with t on the degrees of freedom of `Containment`; `group_sd` is 0 where the batches vary no more than their
    donors explain.
    """
    p, totals = data.design.shape[1], data.totals
    if not plain.converged:
        return plain
    if _variance_score(counts, totals, data, plain) <= 0:
        return _with_df(plain, counts, data)
    starts = np.searchsorted(data.codes, np.arange(data.n_groups + 1))
    modes = np.zeros(data.n_groups)

    def objective_with(nodes: int) -> Objective:
        rule = hermite(nodes)
        return lambda theta: mixed_loglik(counts, totals, data.design, starts, theta, modes, *rule)

    lower = np.concatenate([np.full(p, -40.0), [LOG_PRECISION[0], _LOG_SD[0]]])
    upper = np.concatenate([np.full(p, 40.0), [LOG_PRECISION[1], _LOG_SD[1]]])
    theta = np.concatenate([plain.coef, [np.log(plain.precision), np.log(0.15)]])
    # Value and gradient agree up to the error of the quadrature; with a wide intercept only many nodes make it small.
    for nodes in NODES:
        objective = objective_with(nodes)
        theta, reached = maximise(objective, theta, lower, upper)
        if reached:
            break
    value, _, hessian = objective(theta)
    free = np.flatnonzero((theta > lower) & (theta < upper))
    try:
        cov = covariance(hessian, p, np.union1d(free, np.arange(p)))
    except np.linalg.LinAlgError:
        return failed(p, "the fit did not converge: its information matrix is singular")
    precision, group_sd = np.exp(theta[p:])
    message = "" if reached else "the fit did not converge"
    fit = Fit(theta[:p], cov, np.nan, reached, message, loglik=value + log_binomials(counts, totals))
    return _with_df(replace(fit, precision=float(precision), group_sd=float(group_sd)), counts, data)


def why_no_batches(data: Data) -> str:
    """Say why no batch intercept can be fitted; empty if one can."""
    if data.groups is None:
        return "no batch is recorded"
    if data.n_groups > (between := between_columns(data)):
        return ""
    return f"{counted(data.n_groups, 'batch', 'batches')}, {counted(between, 'between-batch coefficient')}"


def fit_mixed_ml(data: Data) -> list[Fit]:
    """Fit each type with a random batch intercept, by maximum likelihood.

    Where the batches are no more than the coefficients told between them (one batch a site, or none recorded) the
    intercept is left out, and the fit's message says so. The precision is then by restricted maximum likelihood,
    because such tables can be small and paired.
    """
    if note := why_no_batches(data):
        note = f"batch variance cannot be estimated ({note}); the interval ignores it"
        return [replace(fit, message=fit.message or note) for fit in fit_restricted(data)]
    order = np.argsort(data.codes, kind="stable")
    design = np.ascontiguousarray(data.design[order])
    ordered = Data(data.counts[order], data.totals[order].astype(float), design, data.codes[order])
    counts = np.ascontiguousarray(ordered.counts.T, dtype=float)
    return [fit_one_mixed(y, ordered, plain) for y, plain in zip(counts, fit_plain(data), strict=True)]


def fit_mixed(data: Data) -> list[Fit]:
    """Fit each type with a random batch intercept: `fit_mixed_ml`, with the covariance of `with_unbiased_batches`."""
    counts = np.ascontiguousarray(data.counts.T, dtype=float)
    return [with_unbiased_batches(fit, y, data) for fit, y in zip(fit_mixed_ml(data), counts, strict=True)]


MODEL = Model(
    name="betabinomial-mixed",
    fit=fit_mixed,
    link="logit",
    unit=LOG_ODDS,
    words="beta-binomial regression by maximum likelihood with a random intercept for the batch",
    reference="Beta-binomial with a normal batch intercept, adaptive Gauss-Hermite; Brooks et al. 2017 (glmmTMB), "
    "doi 10.32614/RJ-2017-066",
    marker=("o", "#1a1a1a"),
    one_type=True,
    separates=True,
    likelihood=True,
    without_batches=lambda data: bool(why_no_batches(data)),
)
