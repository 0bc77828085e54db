"""Least squares on the log10 share: the reference study's model."""

from __future__ import annotations

import numpy as np

from aida_tools.compare.fit import Data, Fit, failed


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
    return Fit(coef, variance * inverse @ inverse.T, float(n - p), precision=variance)


def fit_log10(data: Data) -> list[Fit]:
    """Fit `log10(share)` by least squares; samples without a cell of a type are left out of that type's model.

    This is what the reference study did, on purpose: `lm(log10(Proportion) ~ Age + Sex + <population>)`.
    """
    fits = []
    p = data.design.shape[1]
    for counts in data.counts.T:
        used = counts > 0
        design = data.design[used]
        if used.sum() <= p or np.linalg.matrix_rank(design) < p:
            why = f"only {used.sum()} samples have a cell of this type, and the design is singular in them"
            fits.append(failed(p, why, "too-few"))
            continue
        fit = least_squares(np.log10(counts[used] / data.totals[used]), design)
        fits.append(Fit(fit.coef, fit.cov, fit.df, precision=fit.precision, used=used))
    return fits
