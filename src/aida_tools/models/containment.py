"""Degrees of freedom of a contrast, by where its information comes from: batches, samples inside them, or donors."""

from __future__ import annotations

import numpy as np
from scipy import special

from aida_tools.design.matrix import unseen
from aida_tools.models.contributions import by_group, contributions
from aida_tools.models.data import Data, Fit

#: A batch variance below this part of what donors explain is estimated as 0.
_AT_ZERO = 0.01


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


def _between_batches(data: Data) -> tuple[np.ndarray, int]:
    """Return `_inside` for the batches; every type of a design has the same."""
    return data.remember("between batches", lambda: _inside(data.design, data.codes))


def between_columns(data: Data) -> int:
    """Count the coefficients that only batches tell: the intercept, a population with batches of its own."""
    return int(_between_batches(data)[0].shape[1])


def batch_freedom(data: Data) -> np.ndarray:
    """Return what each batch leaves to learn about the variance of batches: 1 less its leverage, shape (g,)."""

    def make() -> np.ndarray:
        free, _ = _between_batches(data)
        basis = np.linalg.qr(batch_means(data.design @ free, data.codes, np.ones(len(data.totals))))[0]
        return np.asarray(1 - np.sum(basis**2, axis=1))

    return data.remember("freedom of batches", make)


def truncated_freedom(ratio: float, df: float) -> float:
    r"""Return the degrees of freedom of a variance that is estimated as no less than a part of it that is known.

    The means of batches vary by more than the donors in them explain, or so much that the batches' own variance is
    estimated as 0: their variance is :math:`\max(s^2, v_0)`, with :math:`s^2` on a few degrees of freedom and
    :math:`v_0` known well. Its first two moments, at the estimate, give Satterthwaite's :math:`2 m^2 / v`.

    Parameters
    ----------
    ratio
        The estimated variance over the part that is known, 1 or more.
    df
        Degrees of freedom of :math:`s^2`, above 0.
    """
    at = 1 / max(ratio, 1.0)
    below, one, two = (special.chdtr(df, df * at), *(special.chdtrc(df + k, df * at) for k in (2, 4)))
    mean, square = at * below + one, at**2 * below + two * (df + 2) / df
    return float(2 * mean**2 / max(square - mean**2, 1e-12))


def mean_below_one(df: float) -> float:
    """Return the mean of a chi-square over its degrees of freedom where that is below 1."""
    return float(special.chdtr(df + 2, df) / special.chdtr(df, df))


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
        self._most = float(n - p)
        self.inside, self.between = self._most, np.inf
        if fit.batch_sd is not None:
            groups = data.n_groups
            free, rank = _between_batches(data)
            self.between, self.inside = float(groups - free.shape[1]), float(n - groups - rank)
            freedom, pooled = batch_freedom(data), np.zeros(groups, bool) if fit.pooled is None else fit.pooled
            sites = np.zeros(groups, int) if data.sites is None else data.sites
            # Pooled batches share one standard deviation, which all batches have told.
            self._groups = np.where(pooled, -1, sites)
            own = {int(k): float(freedom[sites == k].sum()) for k in np.unique(self._groups)}
            self._freedom = {k: self.between if k < 0 else found for k, found in own.items()}
            self._known = 1 / np.bincount(data.codes, weights, groups)
            self._noise = fit.batch_sd**2 + self._known
            centred = data.design - batch_means(data.design, data.codes, weights)[data.codes]
            values, self._vectors = np.linalg.eigh((centred * weights[:, None]).T @ centred)
            self._seen, self._values = values > 1e-9 * max(values.max(), 1e-300), values
        if data.donors is not None:
            self._donors = int(data.donors.max()) + 1
            self._within_donors = float(n - self._donors - _inside(data.design, data.donors)[1])

    @property
    def shortfall(self) -> float:
        r"""By how much the variance of samples inside batches is estimated too small, as a factor of 1 or more.

        Where the means of batches happen to vary no more than the donors in them explain, their variance is estimated
        as 0 and their degrees of freedom go into that of the samples: only where they make it smaller. With
        :math:`\nu_b` of them beside :math:`\nu` inside batches the factor is
        :math:`(\nu + \nu_b) / (\nu + \nu_b E[X | X < 1])`, X a chi-square over its :math:`\nu_b`.
        """
        whole = part = max(self.inside, 0.0)
        for k, df in (self._freedom if self._fit.batch_sd is not None else {}).items():
            here = self._groups == k
            if df > 1e-9 and (self._noise[here] / self._known[here]).mean() < 1 + _AT_ZERO:
                whole, part = whole + df, part + df * mean_below_one(df)
        return whole / part if part > 0 else 1.0

    def _between(self, leaks: np.ndarray) -> float:
        """Return the degrees of freedom of what is told between batches, from the leak of each, shape (g,)."""
        sums = {}
        for k, df in self._freedom.items():
            size = leaks[self._groups == k] ** 2
            whole, known = float(size @ self._noise[self._groups == k]), float(size @ self._known[self._groups == k])
            if whole > 0 and df > 1e-9:
                sums[k] = whole, truncated_freedom(whole / known, df)
        if not sums:
            return self.between
        return sum(part for part, _ in sums.values()) ** 2 / sum(part**2 / df for part, df in sums.values())

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
        return min(1 / shares, self._most) if shares > 0 else inside
