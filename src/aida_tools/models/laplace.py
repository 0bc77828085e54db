r"""Beta-binomial regression with normal intercepts for batches and donors, by restricted maximum likelihood.

.. math:: \eta_i = x_i'\beta + \sigma_{k} u_{b(i)} + \sigma_d v_{d(i)}, \quad u, v \sim N(0, 1)

Where:
- k: the variance group of a batch, such as its site; each group has a standard deviation of its own.
- b: coefficients and intercepts together; H: minus the Hessian of their joint log density F at its maximum.

Coefficients and intercepts are integrated out by Laplace's approximation, :math:`F(\hat b) - \log|H| / 2`, and the
precision and the standard deviations maximise what is left. That is glmmTMB with ``REML = TRUE`` (Brooks et al. 2017,
doi 10.32614/RJ-2017-066), with which it agrees (tests/oracles/betabinomial.R, crossed.R). A donor belongs to few
samples, so the donors' part of H is diagonal and is eliminated first: batches and donors may be crossed at no cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, optimize, sparse, special

from aida_tools.models.likelihood import all_terms

#: log phi stays within these: above, samples vary no more than binomial draws; below, all or nothing.
LOG_PRECISION = (-4.0, 14.0)
_LOG_SD = (-6.0, 1.5)
_START_SD = 0.15
#: Precision of a normal prior of the coefficients, too weak to be seen in any estimate: a population without a cell of
#: the type has a finite place, and a separated one a standard error that says so.
_RIDGE = 1e-6
_STEPS = 100
#: Below this a variance parameter has no curvature: it is at its bound, and nothing depends on its error.
_FLAT = 1e-3


@dataclass(frozen=True, eq=False)
class Intercepts:
    """The random intercepts of n samples.

    Attributes
    ----------
    batches
        Batch of each sample, codes 0 ... g - 1, shape (n,); None without batch intercepts.
    groups
        Variance group of each batch, codes 0 ... k - 1, shape (g,).
    held
        Group -> its standard deviation, for those that are not estimated.
    donors
        Donor of each sample, codes, shape (n,); None without donor intercepts.
    """

    batches: np.ndarray | None = None
    groups: np.ndarray | None = None
    held: dict[int, float] | None = None
    donors: np.ndarray | None = None

    @cached_property
    def of_batches(self) -> tuple[np.ndarray, np.ndarray]:
        """Batches and their groups; empty without batch intercepts."""
        nothing = np.zeros(0, dtype=int)
        if self.batches is None:
            return nothing, nothing
        return self.batches, np.zeros(int(self.batches.max()) + 1, int) if self.groups is None else self.groups

    @cached_property
    def free(self) -> list[int]:
        """The variance groups whose standard deviation is estimated."""
        return [int(k) for k in np.unique(self.of_batches[1]) if k not in (self.held or {})]


class Found(NamedTuple):
    """A restricted maximum likelihood fit.

    Attributes
    ----------
    coef, cov
        Coefficients, shape (p,), and their covariance, which holds the error of the variance parameters too.
    precision, sds, donor_sd
        Precision phi; standard deviation of each variance group of batches, shape (k,); that of donors, 0 without.
    loglik
        Restricted log-likelihood without the binomial coefficients.
    reached
        Whether it is a maximum.
    """

    coef: np.ndarray
    cov: np.ndarray
    precision: float
    sds: np.ndarray
    donor_sd: float
    loglik: float
    reached: bool


class _State(NamedTuple):
    """The maximum over coefficients and intercepts at fixed variance parameters, and what it takes to go on."""

    value: float
    terms: np.ndarray
    weights: np.ndarray
    core: np.ndarray
    core_inverse: np.ndarray
    donor_curve: np.ndarray
    donor_slope: np.ndarray


class Restricted:
    """The restricted likelihood of one cell type as a function of its variance parameters.

    Parameters
    ----------
    counts, totals
        Shape (n,), floats.
    design
        Shape (n, p), of full rank.
    intercepts
        Batches and donors.
    coef
        Coefficients to start from, shape (p,).
    """

    def __init__(
        self, counts: np.ndarray, totals: np.ndarray, design: np.ndarray, intercepts: Intercepts, coef: np.ndarray
    ) -> None:
        self.counts, self.totals, self.design, self.intercepts = counts, totals, design, intercepts
        n, self.p = design.shape
        self.batches, self.groups = intercepts.of_batches
        g = len(self.groups)
        self._indicators = np.zeros((n, g))
        if g:
            self._indicators[np.arange(n), self.batches] = 1
        self.donors = intercepts.donors
        m = 0 if self.donors is None else int(self.donors.max()) + 1
        self._by_donor = sparse.csr_matrix((np.ones(n), (self.donors, np.arange(n))), (m, n)) if m else None
        self._prior = np.concatenate([np.full(self.p, _RIDGE), np.ones(g)])
        #: Where the last maximisation ended: the next begins there, if it is no worse than without any intercept.
        self._core, self._donor = np.concatenate([coef, np.zeros(g)]), np.zeros(m)
        self._first = self._core.copy()

    def split(self, theta: np.ndarray) -> tuple[float, np.ndarray, float]:
        """Return log precision, standard deviation of every variance group, and that of donors."""
        sds = np.zeros(int(self.groups.max()) + 1 if len(self.groups) else 0)
        for k, sd in (self.intercepts.held or {}).items():
            sds[k] = sd
        free = self.intercepts.free
        sds[free] = np.exp(theta[1 : 1 + len(free)])
        return float(theta[0]), sds, float(np.exp(theta[-1])) if self._by_donor is not None else 0.0

    def _moments(self, tau: float, eta: np.ndarray) -> np.ndarray:
        """Return the inverse variances of the samples' log-odds, from the mean and variance of the beta-binomial."""
        variance = special.expit(eta) * special.expit(-eta)
        return np.asarray(self.totals * variance / (1 + (self.totals - 1) / (np.exp(tau) + 1)) + 1e-8)

    def _maximise(self, tau: float, core: np.ndarray, donor_sd: float) -> _State:
        """Maximise the joint log density over coefficients and intercepts by Newton's method."""
        b, v, by_donor = self._core, self._donor, self._by_donor

        def density(b: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
            eta = core @ b + (donor_sd * v[self.donors] if by_donor is not None else 0.0)
            t = all_terms(self.counts, self.totals, eta, tau)
            return float(t[0].sum() - (self._prior @ b**2 + v @ v) / 2), t

        def curvature(weights: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
            """Return the factored curvature of the core without the donors, that of donors, and what links them."""
            curve = (core * weights[:, None]).T @ core + np.diag(self._prior)
            if by_donor is None:
                return linalg.cho_factor(curve, check_finite=False), np.ones(0), np.zeros((0, len(b)))
            own = 1 + donor_sd**2 * (by_donor @ weights)
            if own.min() <= 0:
                raise np.linalg.LinAlgError
            cross = donor_sd * (by_donor @ (core * weights[:, None])) / own[:, None]
            return linalg.cho_factor(curve - cross.T @ (cross * own[:, None]), check_finite=False), own, cross

        value, t = density(b, v)
        value_first, t_first = density(self._first, 0 * v)
        if not value >= value_first:
            b, v, value, t = self._first, 0 * v, value_first, t_first
        for step in range(_STEPS):
            weights = -t[3]
            try:
                factor, donor_curve, cross = curvature(weights)
            except np.linalg.LinAlgError:
                # The beta-binomial is convex far from its mode; there the weights of moments make the step a safe one.
                weights = self._moments(tau, core @ b + (donor_sd * v[self.donors] if by_donor is not None else 0.0))
                factor, donor_curve, cross = curvature(weights)
            slope = core.T @ t[1] - self._prior * b
            donor_slope = donor_sd * (by_donor @ t[1]) - v if by_donor is not None else np.zeros(0)
            slope = slope - cross.T @ donor_slope
            up = linalg.cho_solve(factor, slope, check_finite=False)
            aside = donor_slope / donor_curve - cross @ up
            decrement = float(slope @ up + (donor_slope**2 / donor_curve).sum())
            if decrement < 1e-13 or (decrement < 1e-9 and step > 20):
                break
            for halving in range(15):
                scale = 0.5**halving
                new, terms = density(b + scale * up, v + scale * aside)
                if np.isfinite(new) and new >= value - 1e-10 * abs(value):
                    break
            else:
                break
            b, v, value, t = b + scale * up, v + scale * aside, new, terms
        self._core, self._donor = b, v
        logs = 2 * np.log(np.diag(factor[0])).sum() + np.log(donor_curve).sum()
        inverse = linalg.cho_solve(factor, np.eye(len(b)), check_finite=False)
        return _State(value - float(logs) / 2, t, weights, core, inverse, donor_curve, cross)

    def _state(self, theta: np.ndarray) -> tuple[_State, np.ndarray, float]:
        tau, sds, donor_sd = self.split(theta)
        core = np.hstack([self.design, self._indicators * sds[self.groups]]) if len(self.groups) else self.design
        return self._maximise(tau, core, donor_sd), sds, donor_sd

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Return the restricted log-likelihood, its gradient, and how the coefficients move with theta.

        Parameters
        ----------
        theta
            Log precision, log standard deviation of each free variance group, and of donors, shape (d,).

        Returns
        -------
        Value, gradient (d,), slopes of the coefficients (p, d), covariance of the coefficients given theta (p, p).
        """
        s, sds, donor_sd = self._state(theta)
        t, p, donors, by_donor = s.terms, self.p, self.donors, self._by_donor
        away = s.core if by_donor is None else s.core - donor_sd * s.donor_slope[donors]
        reach = away @ s.core_inverse
        leverage = np.einsum("ij,ij->i", reach, away)
        if by_donor is not None:
            leverage = leverage + donor_sd**2 / s.donor_curve[donors]

        gradient, slopes = np.zeros(len(theta)), np.zeros((p, len(theta)))

        def add(j: int, direct: float, own: np.ndarray, core: np.ndarray, donor: np.ndarray, curves: float) -> None:
            """Take in one parameter: F's slope, eta's at fixed b, the mixed derivatives of F, and H's own change."""
            moved = s.core_inverse @ (core - s.donor_slope.T @ donor)
            eta = s.core @ moved + own
            if by_donor is not None:
                eta = eta + donor_sd * (donor / s.donor_curve - s.donor_slope @ moved)[donors]
            change = -(t[6] * eta + (t[7] if j == 0 else 0.0))
            gradient[j] = direct - (change @ leverage + curves) / 2
            slopes[:, j] = moved[:p]

        def of_donors(values: np.ndarray) -> np.ndarray:
            return donor_sd * (by_donor @ values) if by_donor is not None else np.zeros(0)

        nothing = np.zeros(len(self.counts))
        add(0, float(t[2].sum()), nothing, s.core.T @ t[4], of_donors(t[4]), 0.0)
        for j, k in enumerate(self.intercepts.free, start=1):
            here = self.groups[self.batches] == k
            own = np.where(here, sds[k] * self._core[p + self.batches], 0.0)
            core = s.core.T @ (t[3] * own)
            core[p:] += sds[k] * np.bincount(self.batches, t[1] * here, len(self.groups))
            curves = 2 * sds[k] * float((s.weights * here) @ reach[np.arange(len(here)), p + self.batches])
            add(j, float(t[1] @ own), own, core, of_donors(t[3] * own), curves)
        if by_donor is not None:
            own = donor_sd * self._donor[donors]
            inside = donor_sd / s.donor_curve[donors] - np.einsum("ij,ij->i", reach, s.donor_slope[donors])
            curves = 2 * donor_sd * float(s.weights @ inside)
            mixed = of_donors(t[3] * own) + of_donors(t[1])
            add(len(theta) - 1, float(t[1] @ own), own, s.core.T @ (t[3] * own), mixed, curves)
        return s.value, gradient, slopes, s.core_inverse[:p, :p]

    def fit(self, precision: float) -> Found:
        """Maximise over the variance parameters, from a precision on."""
        n_sds = len(self.intercepts.free) + (self._by_donor is not None)
        bounds = [LOG_PRECISION, *[_LOG_SD] * n_sds]
        start = np.array([np.clip(np.log(precision), *LOG_PRECISION), *[np.log(_START_SD)] * n_sds])

        def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient, *_ = self(theta)
            return -value, -gradient

        found = optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-4}
        )
        theta = found.x
        value, gradient, slopes, cov = self(theta)
        coef = self._core[: self.p].copy()
        inside = np.array([low + 1e-6 < x < high - 1e-6 for x, (low, high) in zip(theta, bounds, strict=True)])
        reached = bool(found.success or np.abs(gradient[inside]).max(initial=0.0) < 1e-3)
        cov = cov + slopes @ self._error(theta, gradient, inside) @ slopes.T
        tau, sds, donor_sd = self.split(theta)
        return Found(coef, cov, float(np.exp(tau)), sds, donor_sd, value, reached)

    def _error(self, theta: np.ndarray, gradient: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Return the covariance of the variance parameters, shape (d, d); 0 for those that are at a bound or flat."""
        h, d = 1e-3, len(theta)
        curve = np.array([(self(theta + h * e)[1] - gradient) / -h for e in np.eye(d)])
        curve = (curve + curve.T) / 2
        out, seen = np.zeros((d, d)), np.flatnonzero(inside & (np.diag(curve) > _FLAT))
        values, vectors = np.linalg.eigh(curve[np.ix_(seen, seen)])
        out[np.ix_(seen, seen)] = (vectors / np.maximum(values, _FLAT)) @ vectors.T
        return out
