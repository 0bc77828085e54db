"""What each sample contributes to the coefficients of a fit."""

from __future__ import annotations

import numpy as np

from aida_tools.models.data import Data, Fit


def by_group(values: np.ndarray, codes: np.ndarray, groups: int) -> np.ndarray:
    """Sum the rows of an array, shape (n, p), in each group, shape (groups, p)."""
    out = np.zeros((groups, *values.shape[1:]))
    np.add.at(out, codes, values)
    return out


def contributions(data: Data, fit: Fit) -> np.ndarray:
    r"""Return by how much each coefficient moves when a sample's true linear predictor does, to first order.

    They are :math:`V^{-1} X (X' V^{-1} X)^{-1}` with the working weights of the fit, and with the variances of its
    batches and donors, in V.

    Parameters
    ----------
    data
        What was fitted: n samples, p coefficients.
    fit
        A converged fit.

    Returns
    -------
    Shape (n, p); 0 for samples that the fit does not use.
    """
    n = len(data.totals)
    weights = np.zeros(n)
    weights[slice(None) if fit.used is None else fit.used] = 1.0 if fit.weights is None else fit.weights
    right = weighed = _without_donors(data, fit, weights, data.design)
    if fit.batch_sd is not None and data.groups is not None:
        z = np.zeros((n, data.n_groups))
        z[np.arange(n), data.groups] = fit.batch_sd[data.groups]
        solved = _without_donors(data, fit, weights, z)
        inner = np.eye(data.n_groups) + z.T @ solved
        right = weighed - solved @ np.linalg.solve(inner, z.T @ weighed)
    return np.asarray(np.linalg.solve(data.design.T @ right, right.T).T)


def _without_donors(data: Data, fit: Fit, weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Multiply columns by the inverse covariance of samples whose donors vary, and whose batches do not."""
    scaled = columns * weights[:, None]
    if not fit.donor_sd or data.donors is None:
        return np.asarray(scaled)
    m = int(data.donors.max()) + 1
    shrunk = fit.donor_sd**2 / (1 + fit.donor_sd**2 * np.bincount(data.donors, weights, m))
    return np.asarray(scaled - weights[:, None] * (shrunk[:, None] * by_group(scaled, data.donors, m))[data.donors])
