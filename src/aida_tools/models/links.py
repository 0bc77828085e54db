"""The scales of the models, and the shares they stand for."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from scipy import special

Link = Literal["logit", "log10", "asin", "clr"]


@cache
def hermite(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Hermite nodes z and log(w) + z^2."""
    z, w = np.polynomial.hermite.hermgauss(nodes)
    return z, np.log(w) + z**2


def inverse_link(link: Link, eta: np.ndarray, group_sd: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares that linear predictors stand for, and their derivatives.

    Parameters
    ----------
    link
        Scale of `eta`.
    eta
        Linear predictors, shape (n,).
    group_sd
        Standard deviation of a normal batch intercept to average over.

    Returns
    -------
    Shares, 0 to 1, and slopes, each of shape (n,); not numbers for `clr`, where a log-ratio to the mean of all types
    does not fix the share of one.
    """
    if link == "clr":
        return np.full(len(eta), np.nan), np.full(len(eta), np.nan)
    if link == "log10":
        share = np.minimum(10.0**eta, 1.0)
        return share, np.where(share < 1, np.log(10) * share, 0.0)
    if link == "asin":
        inside = np.clip(eta, 0, np.pi / 2)
        return np.sin(inside) ** 2, np.sin(2 * inside)
    if not group_sd:
        share = special.expit(eta)
        return share, share * (1 - share)
    z, log_weight = hermite(9)
    weight = np.exp(log_weight - z**2) / np.sqrt(np.pi)
    share = special.expit(eta[:, None] + np.sqrt(2) * group_sd * z)
    return share @ weight, (share * (1 - share)) @ weight


def mean_share(link: Link, eta: np.ndarray, group_sd: float = 0.0) -> float:
    """Return the mean of `inverse_link`'s shares: the standardised share (g-computation), 0 to 1."""
    return float(inverse_link(link, eta, group_sd)[0].mean())


def per_log_odds(link: Link, share: float) -> float:
    """Return what a small difference of log-odds is worth on a link's scale at a share, 0 to 1 exclusive.

    The inverse slope of the log-odds: (1 - p) / ln(10) for log10 of a share, and sqrt(p (1 - p)) / 2 for
    arcsin(sqrt(share)). A log-ratio to the mean of all types moves about as the log-odds do.
    """
    return float({"log10": (1 - share) / np.log(10), "asin": np.sqrt(share * (1 - share)) / 2}.get(link, 1.0))
