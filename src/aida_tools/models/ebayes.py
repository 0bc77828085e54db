"""Empirical Bayes variances: many variances borrow from one another.

Plain moments after Smyth (2004, doi 10.2202/1544-6115.1027); winsorised moments with outlying variances shrunk
less after Phipson et al. (2016, doi 10.1214/16-AOAS920). Agrees with limma 3.54 (tests/oracles/propeller.R).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

_WINSOR = (0.05, 0.1)


class Prior(NamedTuple):
    """Scaled inverse chi-square prior of the variances: its scale, and its degrees of freedom (for each variance)."""

    scale: float
    df: np.ndarray


class Squeezed(NamedTuple):
    """Posterior variances, shape (k,), the degrees of freedom of their t statistics, shape (k,), and the prior."""

    variance: np.ndarray
    df: np.ndarray
    prior: Prior


def trigamma_inverse(x: float) -> float:
    """Solve trigamma(y) = x for y > 0."""
    if x > 1e7:
        return float(1 / np.sqrt(x))
    if x < 1e-6:
        return 1 / x
    return float(optimize.brentq(lambda y: special.polygamma(1, y) - x, 1e-4, 2e6, xtol=1e-14, rtol=1e-14))


def _moments(variance: np.ndarray, df: float) -> tuple[float, float]:
    """Return scale and degrees of freedom of the prior from the moments of the log variances."""
    median = float(np.median(variance)) or 1.0
    variance = np.maximum(variance, 1e-5 * median)
    e = np.log(variance) - special.digamma(df / 2) + np.log(df / 2)
    excess = float(e.var(ddof=1) - special.polygamma(1, df / 2))
    if excess <= 0:
        return float(variance.mean()), np.inf
    prior_df = 2 * trigamma_inverse(excess)
    return float(np.exp(e.mean() + special.digamma(prior_df / 2) - np.log(prior_df / 2))), prior_df


def _f_distribution(df: float, prior_df: float) -> stats.rv_continuous:
    return stats.chi2(df, scale=1 / df) if np.isinf(prior_df) else stats.f(df, prior_df)


@cache
def _legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(nodes)


def _winsorised_moments(df: float, prior_df: float) -> tuple[float, float]:
    """Return mean and variance of log F, its tails set to their quantiles, by Gauss-Legendre quadrature."""
    law = _f_distribution(df, prior_df)
    tails = np.array(_WINSOR)
    edges = law.ppf([tails[0], 1 - tails[1]])
    low, high = edges / (1 + edges)
    nodes, weights = _legendre(128)
    at = low + (high - low) * (nodes + 1) / 2
    density = law.pdf(at / (1 - at)) / (1 - at) ** 2 * weights / 2 * (high - low)
    z, z_edges = np.log(at / (1 - at)), np.log(edges)
    mean = float(density @ z + tails @ z_edges)
    return mean, float(density @ (z - mean) ** 2 + tails @ (z_edges - mean) ** 2)


def _shrunk_df(log_tail: np.ndarray, largest_f: float, df: float, prior_df: float) -> np.ndarray:
    """Lower the prior degrees of freedom of the variances that are larger than the prior explains."""
    k = len(log_tail)
    # Ranks of F: the smallest tail has the highest rank.
    empirical = np.log(stats.rankdata(log_tail) - 0.5) - np.log(k)
    log_inlier = np.minimum(log_tail - empirical, 0)
    if not (log_inlier < 0).any():
        return np.full(k, prior_df)
    inlier = np.exp(log_inlier)
    if np.isinf(log_tail.min()):
        shrunk = inlier * prior_df
    else:
        outlier_df = np.log(0.5) / log_tail.min() * prior_df
        outlier_df *= np.log(0.5) / stats.f.logsf(largest_f, df, outlier_df)
        shrunk = inlier * prior_df + -np.expm1(log_inlier) * outlier_df
    order = np.argsort(log_tail, kind="stable")
    ordered = shrunk[order]
    running = np.cumsum(ordered) / np.arange(1, k + 1)
    lowest = int(running.argmin())
    ordered[: lowest + 1] = running[lowest]
    out = np.empty(k)
    out[order] = np.maximum.accumulate(ordered)
    return out


def _shrunk_df_infinite(tail: np.ndarray, df: float) -> np.ndarray:
    """Do the same where the prior alone has infinite degrees of freedom."""
    k = len(tail)
    inlier = np.minimum(tail / ((stats.rankdata(tail) - 0.5) / k), 1)
    shrunk = np.where(inlier < 1, inlier * k * df, np.inf)
    if (inlier < 1).any():
        order = np.argsort(tail, kind="stable")
        shrunk[order] = np.maximum.accumulate(shrunk[order])
    return shrunk


def fit_prior(variance: np.ndarray, df: float, *, robust: bool) -> Prior:
    """Estimate the prior of a set of variances.

    Parameters
    ----------
    variance
        Sample variances, shape (k,), at least 2 of them.
    df
        Their residual degrees of freedom, above 0.
    robust
        Whether to winsorise and to shrink outlying variances less.
    """
    k = len(variance)
    scale, prior_df = _moments(variance, df)
    plain = Prior(scale, np.full(k, prior_df))
    if not robust or k < 3 or max(_WINSOR) < 1 / k:
        return plain
    variance = np.maximum(variance, 1e-12 * np.median(variance))
    z = np.log(variance)
    trend = float(stats.trim_mean(z, _WINSOR[1]))
    clipped = np.clip(z - trend, *np.quantile(z - trend, [_WINSOR[0], 1 - _WINSOR[1]]))
    spread = float(clipped.var(ddof=1))

    def gap(x: float) -> float:
        return float(np.log(spread / _winsorised_moments(df, np.inf if x >= 1 else x / (1 - x))[1]))

    if gap(1.0) <= 0:
        prior_df = np.inf
    elif np.isinf(prior_df):
        return plain
    elif gap(prior_df / (1 + prior_df)) < 0:
        root = optimize.brentq(gap, prior_df / (1 + prior_df), 1.0, xtol=1e-12)
        prior_df = root / (1 - root)
    centre = trend + clipped.mean() - _winsorised_moments(df, prior_df)[0]
    f = np.exp(z - centre)
    if np.isinf(prior_df):
        return Prior(float(np.exp(centre)), _shrunk_df_infinite(stats.chi2.sf(f * df, df), df))
    return Prior(float(np.exp(centre)), _shrunk_df(stats.f.logsf(f, df, prior_df), float(f.max()), df, prior_df))


def squeeze(variance: np.ndarray, df: float, *, robust: bool) -> Squeezed:
    """Shrink variances towards their prior.

    Parameters
    ----------
    variance, df
        Sample variances, shape (k,), and the residual degrees of freedom of each.
    robust
        As for `fit_prior`.

    Returns
    -------
    Posterior variances; degrees of freedom are at most those of all variances pooled. With one variance there is
    nothing to borrow from and it is returned as it is.
    """
    if len(variance) < 2:
        return Squeezed(variance, np.array([df]), Prior(float(variance[0]), np.zeros(1)))
    prior = fit_prior(variance, df, robust=robust)
    finite = np.isfinite(prior.df)
    d0 = np.where(finite, prior.df, 0.0)
    posterior = np.where(finite, (df * variance + d0 * prior.scale) / (df + d0), prior.scale)
    return Squeezed(posterior, np.minimum(df + prior.df, df * len(variance)), prior)
