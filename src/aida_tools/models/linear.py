"""Linear models by least squares."""

from __future__ import annotations

import numpy as np

from aida_tools.models.data import Fit


def least_squares(response: np.ndarray, design: np.ndarray, weights: np.ndarray | None = None) -> Fit:
    """Fit a linear model by (weighted) least squares.

    Parameters
    ----------
    response
        Shape (n,).
    design
        Shape (n, p), of full rank.
    weights
        Inverse variances up to a factor, shape (n,).

    Returns
    -------
    Fit with n - p degrees of freedom; `precision` is the residual variance.
    """
    n, p = design.shape
    root = np.ones(n) if weights is None else np.sqrt(weights)
    q, r = np.linalg.qr(design * root[:, None])
    coef = np.linalg.solve(r, q.T @ (response * root))
    residual = (response - design @ coef) * root
    variance = float(residual @ residual) / (n - p)
    inverse = np.linalg.inv(r)
    return Fit(coef, variance * inverse @ inverse.T, float(n - p), precision=variance, weights=weights)
