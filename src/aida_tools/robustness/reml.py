r"""Variance components of shares with known binomial errors, by restricted maximum likelihood.

.. math:: y = X\beta + \sum_k Z_k u_k + e, \quad u_k \sim N(0, \sigma_k^2 I), \quad e_i \sim N(0, v_i)

Where:
- y: logits of shares; v: their sampling variances, known from the cells.
- Z_k: one random intercept for each level of a factor (site, batch, sample).

With few levels the interval of :math:`\sigma_k`, from the restricted likelihood profile, is wide: that is what such
data know. Agrees with lme4 (tests/oracles/reml.R).

References
----------
Hardy, Thompson 1996, doi 10.1002/(SICI)1097-0258(19960330)15:6<619::AID-SIM188>3.0.CO;2-A;
Viechtbauer 2005, doi 10.3102/10769986030003261.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, stats

#: Standard deviations on the log-odds scale are looked for up to here: odds that differ fiftyfold.
MAX_SD = 4.0
_TIGHT = {"ftol": 1e-13, "gtol": 1e-7}


@dataclass(frozen=True, eq=False)
class Components:
    """A fitted model of variance components.

    Attributes
    ----------
    coef, cov
        Generalised least squares coefficients, shape (p,), and their covariance, shape (p, p).
    sd
        Standard deviation of each factor's intercepts, shape (k,).
    loglik
        Restricted log-likelihood.
    weigh
        Multiplies an array of shape (n, m) by the inverse of the responses' covariance V.
    design
        Shape (n, p).
    diagonal
        Diagonal of the projection P, shape (n,).
    """

    coef: np.ndarray
    cov: np.ndarray
    sd: np.ndarray
    loglik: float
    weigh: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    design: np.ndarray = field(repr=False)
    diagonal: np.ndarray = field(repr=False)

    def project(self, columns: np.ndarray) -> np.ndarray:
        """Return P @ columns, shape (n, m), where P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 is free of the design."""
        weighted = self.weigh(columns)
        return weighted - self.weigh(self.design) @ (self.cov @ (self.design.T @ weighted))


def empirical_logits(counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of shares with half a cell on either side, and their variances, each of shape (n,).

    The variance is that of the mean share of all samples, not of each sample's own: weights that follow the
    sample's own count would favour high shares.
    """
    logits = np.log((counts + 0.5) / (totals - counts + 0.5))
    mean = (counts.sum() + 0.5) / (totals.sum() + 1)
    return logits, 1 / (totals * mean * (1 - mean))


class _Factors:
    """The factors' part of the covariance, V = D + Z S Z', with D diagonal: inverted through its few levels."""

    def __init__(self, variance: np.ndarray, groups: Sequence[np.ndarray]) -> None:
        n = len(variance)
        self.variance = variance
        self.indicators = [(codes[:, None] == np.unique(codes)).astype(float) for codes in groups]
        #: Factors with a level for each sample only add to D.
        self.diagonal = [z.shape[1] == n for z in self.indicators]
        wide = [z for z, alone in zip(self.indicators, self.diagonal, strict=True) if not alone]
        self.z = np.hstack([np.empty((n, 0)), *wide])

    def solve(self, response: np.ndarray, design: np.ndarray, components: np.ndarray) -> Components:
        """Fit the coefficients for given variances of the factors, shape (k,)."""
        n, p = design.shape
        d = self.variance + sum(s for s, alone in zip(components, self.diagonal, strict=True) if alone)
        sizes = [z.shape[1] for z in self.indicators]
        root = np.sqrt(
            np.concatenate(
                [np.full(m, s) for m, s, alone in zip(sizes, components, self.diagonal, strict=True) if not alone]
                or [np.empty(0)]
            )
        )
        z = self.z * root
        inner = np.eye(z.shape[1]) + z.T @ (z / d[:, None])
        core = np.linalg.inv(inner)

        def weigh(columns: np.ndarray) -> np.ndarray:
            scaled = (columns.T / d).T
            return scaled - ((z @ (core @ (z.T @ scaled))).T / d).T

        cov = np.linalg.inv(design.T @ weigh(design))
        coef = cov @ (design.T @ weigh(response))
        residual = response - design @ coef
        logs = np.log(d).sum() + np.linalg.slogdet(inner)[1] - np.linalg.slogdet(cov)[1] + (n - p) * np.log(2 * np.pi)
        loglik = -0.5 * (logs + float(residual @ weigh(residual)))
        weighted = weigh(design)
        diagonal = 1 / d - np.sum((z @ core) * z, axis=1) / d**2 - np.sum((weighted @ cov) * weighted, axis=1)
        return Components(coef, cov, np.sqrt(components), loglik, weigh, design, diagonal)

    def score(self, response: np.ndarray, found: Components) -> np.ndarray:
        """Return the slope of the restricted log-likelihood in each factor's variance, shape (k,)."""
        residual = found.project(response)
        traces = [
            found.diagonal.sum() if alone else np.sum(z * found.project(z))
            for z, alone in zip(self.indicators, self.diagonal, strict=True)
        ]
        squares = [np.sum((z.T @ residual) ** 2) for z in self.indicators]
        return (np.array(squares) - np.array(traces)) / 2


def fit(
    response: np.ndarray,
    variance: np.ndarray,
    design: np.ndarray,
    groups: Sequence[np.ndarray],
    *,
    fixed: dict[int, float] | None = None,
) -> Components:
    """Fit a mixed model with known error variances.

    Parameters
    ----------
    response, variance
        Logits and their sampling variances (above 0), shape (n,).
    design
        Independent columns, shape (n, p), p < n.
    groups
        For each factor the level of each sample as codes, shape (n,).
    fixed
        Factor -> standard deviation to hold it at.

    Returns
    -------
    The fit at the maximum of the restricted likelihood, each standard deviation between 0 and `MAX_SD`.
    """
    factors = _Factors(variance, groups)
    held = dict(fixed or {})
    free = [k for k in range(len(groups)) if k not in held]
    components = np.array([held.get(k, 0.0) ** 2 for k in range(len(groups))])
    scale = max(float(np.var(response)), 1e-3)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        components[free] = values * scale
        found = factors.solve(response, design, components)
        return -found.loglik, -scale * factors.score(response, found)[free]

    if free:
        bounds = [(0.0, MAX_SD**2 / scale)] * len(free)
        # The likelihood of variances can have a second maximum at 0: start from both sides.
        tried = [
            optimize.minimize(
                objective, np.full(len(free), s), jac=True, method="L-BFGS-B", bounds=bounds, options=_TIGHT
            )
            for s in (0.02, 0.5)
        ]
        components[free] = min(tried, key=lambda found: found.fun).x * scale
    return factors.solve(response, design, components)


def profile_interval(
    response: np.ndarray,
    variance: np.ndarray,
    design: np.ndarray,
    groups: Sequence[np.ndarray],
    factor: int,
    *,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the profile-likelihood interval of one factor's standard deviation.

    Parameters
    ----------
    response, variance, design, groups
        As for `fit`.
    factor
        Which factor.
    level
        Confidence, 0 to 1.

    Returns
    -------
    Lower and upper limit, 0 to `MAX_SD`; a limit at either end means that the data do not exclude it.
    """
    best = fit(response, variance, design, groups)
    drop = float(stats.chi2.ppf(level, 1)) / 2

    def excess(sd: float) -> float:
        return best.loglik - drop - fit(response, variance, design, groups, fixed={factor: sd}).loglik

    at = float(best.sd[factor])
    low = 0.0 if at == 0 or excess(0.0) <= 0 else float(optimize.brentq(excess, 0.0, at, xtol=1e-4))
    high = MAX_SD if excess(MAX_SD) <= 0 else float(optimize.brentq(excess, at, MAX_SD, xtol=1e-4))
    return low, high
