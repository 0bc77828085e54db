r"""A response measured in runs, and linear combinations of its fixed effects with honest errors when runs are few.

.. math:: y = X\beta + Zu + e, \quad u \sim N(0, \lambda\sigma^2 I), \quad e \sim N(0, \sigma^2 I)

Where:
- y: logits of shares; X: columns of sites and donors; Z: 0/1 columns of the runs.
- lambda: ratio of the variances of runs and of samples. It may be negative, as long as all variances are positive:
  cutting it off at 0 would make the errors too large when runs do not differ, and the t test no longer exact where
  every run holds the same donors.

Lambda maximises the restricted likelihood; it is one number, searched on a grid over its whole range, so that no start
can matter. Errors and degrees of freedom are those of Kenward and Roger 1997, doi 10.2307/2533558, which for one
combination are a t with Satterthwaite's degrees of freedom and an enlarged error. Where every run holds the same donors
that is the classical analysis of the run means, with runs less sites degrees of freedom, and covers 95 %; where runs
hold different donors the intervals are rather too wide (they cover 93 to 100 % with 2 to 4 runs a site). Agrees with
lme4 and pbkrtest (tests/oracles/controls.R).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

#: log(1 + m lambda), with m the samples of the largest run, is searched here: from nearly 0 to ratios of 10^10.
_GRID = np.linspace(-12, 24, 73)


class RunFit(NamedTuple):
    """A fitted model of runs.

    Attributes
    ----------
    coef, cov
        Coefficients, shape (p,), and their covariance with the allowance of Kenward and Roger, shape (p, p).
    plain, slopes, spread
        The covariance without that allowance, shape (p, p); its slopes in the variances, shape (k, p, p); and the
        covariance of the variances, shape (k, k), each variance in units of its own.
    run_variance, sample_variance
        The two variances; not a number where runs of one sample each leave only their sum, which is the second.
    least_df
        The fewer of the degrees of freedom between and within runs.
    """

    coef: np.ndarray
    cov: np.ndarray
    plain: np.ndarray
    slopes: np.ndarray
    spread: np.ndarray
    run_variance: float
    sample_variance: float
    least_df: int

    def satterthwaite(self, weights: np.ndarray) -> float:
        """Return Satterthwaite's degrees of freedom of `weights @ coef`, for weights of shape (p,)."""
        slopes = self.slopes @ weights @ weights
        return 2 * float(weights @ self.plain @ weights) ** 2 / float(slopes @ self.spread @ slopes)

    def combine(self, weights: np.ndarray) -> tuple[float, float, float]:
        """Return value, standard error and degrees of freedom of `weights @ coef`, for weights of shape (p,)."""
        # A sum of two mean squares is known no worse than the worse of them; the approximation can fall below that.
        df = max(self.satterthwaite(weights), float(self.least_df))
        return float(weights @ self.coef), float(np.sqrt(weights @ self.cov @ weights)), df


def degrees(design: np.ndarray, runs: np.ndarray) -> tuple[int, int]:
    """Return the degrees of freedom between and within runs, for independent columns, shape (n, p), and run codes."""
    n, p = design.shape
    both = int(np.linalg.matrix_rank(np.hstack([design, _columns(runs)])))
    return both - p, n - both


def _columns(codes: np.ndarray) -> np.ndarray:
    return np.asarray(codes[:, None] == np.unique(codes), dtype=float)


def _inverse(ratio: float, z: np.ndarray) -> np.ndarray:
    """Return the inverse of I + ratio ZZ'."""
    return np.eye(len(z)) - (z * (ratio / (1 + ratio * z.sum(axis=0)))) @ z.T


def _criterion(ratio: float, y: np.ndarray, x: np.ndarray, z: np.ndarray) -> float:
    """Return -2 times the restricted log-likelihood at the best sigma, but for a constant."""
    n, p = x.shape
    inverse = _inverse(ratio, z)
    information = x.T @ inverse @ x
    rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
    logs = np.log1p(ratio * z.sum(axis=0)).sum() + np.linalg.slogdet(information)[1]
    return float((n - p) * np.log(rest @ inverse @ rest) + logs)


def _ratio(y: np.ndarray, x: np.ndarray, z: np.ndarray) -> float:
    largest = float(z.sum(axis=0).max())

    def at(place: float) -> float:
        return _criterion(float(np.expm1(place)) / largest, y, x, z)

    best = int(np.argmin([at(place) for place in _GRID]))
    ends = _GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)]
    found = optimize.minimize_scalar(at, bounds=ends, method="bounded", options={"xatol": 1e-9})
    return float(np.expm1(found.x)) / largest


def fit_runs(response: np.ndarray, design: np.ndarray, runs: np.ndarray) -> RunFit | str:
    """Fit the model.

    Parameters
    ----------
    response
        Shape (n,).
    design
        Independent columns, shape (n, p).
    runs
        Run of each sample as codes, shape (n,).

    Returns
    -------
    The fit; or why there is none: no degrees of freedom between runs, or no variation at all.
    """
    between, within = degrees(design, runs)
    if between < 1:
        return "the runs leave no degrees of freedom: a run cannot be told apart from its site"
    z = _columns(runs)
    if within < 1 and z.shape[1] < len(response):
        # Nothing tells samples of one run from one another: their means are all there is.
        share = z / z.sum(axis=0)
        return fit_runs(share.T @ response, share.T @ design, np.arange(z.shape[1]))
    rest = response - design @ np.linalg.lstsq(design, response, rcond=None)[0]
    if rest @ rest < 1e-18:
        return "the control samples of a site are all alike, which leaves no error to judge by"
    ratio = _ratio(response, design, z) if within else 0.0
    inverse = _inverse(ratio, z)
    plain = np.linalg.inv(design.T @ inverse @ design)
    coef = plain @ (design.T @ inverse @ response)
    rest = response - design @ coef
    n, p = design.shape
    sigma2 = float(rest @ inverse @ rest) / (n - p)
    plain, inverse = sigma2 * plain, inverse / sigma2
    parts = [z @ z.T, np.eye(n)] if within else [np.eye(n)]
    cov, slopes, spread = _kenward_roger(design, inverse, plain, parts)
    of_runs, least = (ratio * sigma2, min(between, within)) if within else (np.nan, between)
    return RunFit(coef, cov, plain, slopes, spread, of_runs, sigma2, least)


def _kenward_roger(
    x: np.ndarray, inverse: np.ndarray, plain: np.ndarray, parts: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the enlarged covariance, the slopes of the plain one, and the covariance of the variances.

    `inverse` is that of the responses' covariance, a sum of the `parts` times their variances.
    """
    # In units of their own: the two variances can be of very different sizes.
    parts = [part / np.sum(inverse * part) for part in parts]
    weighted = inverse @ x
    project = inverse - weighted @ plain @ weighted.T
    halves = [project @ part for part in parts]
    spread = np.linalg.inv(np.array([[np.sum(a * b.T) / 2 for b in halves] for a in halves]))
    moved = [part @ weighted for part in parts]
    # X' V^-1 G P G V^-1 X: what is lost because the variances are estimated.
    lost = sum(spread[i, j] * (a.T @ project @ b) for i, a in enumerate(moved) for j, b in enumerate(moved))
    slopes = np.array([plain @ (weighted.T @ m) @ plain for m in moved])
    return plain + 2 * plain @ lost @ plain, slopes, spread
