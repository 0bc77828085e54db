"""Degrees of freedom of a contrast, by where its information comes from: batches, samples inside them, or donors."""

from __future__ import annotations

import numpy as np

from aida_tools.design.matrix import unseen
from aida_tools.models.contributions import by_group, contributions
from aida_tools.models.data import Data, Fit


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
    groups = int(codes.max()) + 1
    return by_group(values * weights[:, None], codes, groups) / np.bincount(codes, weights, groups)[:, None]


def _inside(design: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the directions of the coefficients that only groups tell, shape (p, q), and how many others there are."""
    inside = design - batch_means(design, codes, np.ones(len(codes)))[codes]
    scale = np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    free = unseen(inside / scale)
    return free / scale[:, None], design.shape[1] - free.shape[1]


def between_columns(data: Data) -> int:
    """Count the coefficients that only batches tell: the intercept, a population with batches of its own."""
    return int(_inside(data.design, data.codes)[0].shape[1])


def batch_freedom(data: Data) -> np.ndarray:
    """Return what each batch leaves to learn about the variance of batches: 1 less its leverage, shape (g,)."""
    free, _ = _inside(data.design, data.codes)
    basis = np.linalg.qr(batch_means(data.design @ free, data.codes, np.ones(len(data.totals))))[0]
    return np.asarray(1 - np.sum(basis**2, axis=1))


class Containment:
    r"""Degrees of freedom of the contrasts of a fit with random intercepts.

    A variance that is a sum of parts :math:`f_k` of its whole, known from :math:`\nu_k` degrees of freedom each, has
    :math:`1 / \nu = \sum f_k^2 / \nu_k` (Satterthwaite 1946, doi 10.2307/3002019). Between batches, the batches of a
    variance group leave their number less the coefficients told between them; inside them, samples less batches less
    the other coefficients; inside donors, samples less donors less what donors tell of the design.

    Parameters
    ----------
    data
        n samples with their batches, None for a fit without batch intercepts, and donors.
    fit
        Its fit, with weights.
    """

    def __init__(self, data: Data, fit: Fit) -> None:
        n, p = data.design.shape
        self._data, self._fit = data, fit
        self._contributions = contributions(data, fit)
        weights = np.ones(n) if fit.weights is None else fit.weights
        self._precision = weights
        self.inside, self.between = float(n - p), np.inf
        if fit.batch_sd is not None:
            groups = data.n_groups
            free, rank = _inside(data.design, data.codes)
            self.between, self.inside = float(groups - free.shape[1]), float(n - groups - rank)
            freedom, pooled = batch_freedom(data), np.zeros(groups, bool) if fit.pooled is None else fit.pooled
            sites = np.zeros(groups, int) if data.sites is None else data.sites
            # Pooled batches share one standard deviation, which all batches have told.
            self._groups = np.where(pooled, -1, sites)
            own = {int(k): float(freedom[sites == k].sum()) for k in np.unique(self._groups)}
            self._freedom = {k: self.between if k < 0 else found for k, found in own.items()}
            self._noise = fit.batch_sd**2 + 1 / np.bincount(data.codes, weights, groups)
            centred = data.design - batch_means(data.design, data.codes, weights)[data.codes]
            values, self._vectors = np.linalg.eigh((centred * weights[:, None]).T @ centred)
            self._seen, self._values = values > 1e-9 * max(values.max(), 1e-300), values
        if data.donors is not None:
            self._donors = int(data.donors.max()) + 1
            self._within_donors = float(n - self._donors - _inside(data.design, data.donors)[1])

    def _between(self, leaks: np.ndarray) -> float:
        """Return the degrees of freedom of what is told between batches, from the leak of each, shape (g,)."""
        parts = leaks**2 * self._noise
        by = {k: float(parts[self._groups == k].sum()) for k in self._freedom}
        whole = sum(by.values())
        if whole <= 0:
            return self.between
        spread = sum(v**2 / max(self._freedom[k], 1e-9) for k, v in by.items() if v > 0)
        return min(whole**2 / spread, self.between)

    def _told_inside(self, weights: np.ndarray) -> float:
        """Return the part of a contrast's information that comes from inside batches, 0 to 1."""
        parts = self._vectors.T @ weights
        if np.abs(parts[~self._seen]).max(initial=0.0) > 1e-6 * np.abs(weights).max():
            return 0.0
        alone = float(np.sum(parts[self._seen] ** 2 / self._values[self._seen]))
        return min(float(weights @ self._fit.cov @ weights) / alone, 1.0)

    def __call__(self, weights: np.ndarray) -> float:
        """Return the degrees of freedom of a contrast, weights of shape (p,)."""
        c = self._contributions @ weights
        inside, between, told = self.inside, np.inf, 1.0
        if self._fit.batch_sd is not None:
            between = self._between(np.bincount(self._data.codes, c, self._data.n_groups))
            told = self._told_inside(weights) if self.inside > 0 else 0.0
        repeated = 0.0
        if self._data.donors is not None and self._within_donors > 0:
            donors = self._data.donors
            apart = c - (np.bincount(donors, c, self._donors) / np.bincount(donors, minlength=self._donors))[donors]
            whole = float(weights @ self._fit.cov @ weights)
            repeated = min(float(np.sum(apart**2 / self._precision)) / whole, 1.0)
            inside = max(inside - self._within_donors, min(inside, 1.0))
        parts = [((1 - repeated) * told, inside), ((1 - repeated) * (1 - told), between)]
        if repeated:
            parts.append((repeated, self._within_donors))
        shares = sum(part**2 / df for part, df in parts if part > 0 and np.isfinite(df))
        return 1 / shares if shares > 0 else inside
