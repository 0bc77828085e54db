"""Standard errors that let the samples of a batch be alike in any way: the cluster jackknife (CR3).

Leaving out batch g moves the estimate by about ``d_g = (A - A_g)^{-1} S_g``, with its score S_g and information A_g;
the sum of ``d_g d_g'`` is the CR3 covariance of Bell and McCaffrey (2002), exact for least squares. Degrees of freedom
are Satterthwaite's, as Pustejovsky and Tipton (2018, doi 10.1080/07350015.2016.1247004). Agrees with clubSandwich for
least squares (tests/oracles/cluster.R).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from aida_tools.core.words import counted
from aida_tools.models.betabinomial import fit_plain
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.likelihood import all_terms
from aida_tools.models.model import LOG_ODDS, Model


class Clustered(NamedTuple):
    """Cluster-robust covariance, shape (m, m), with what its degrees of freedom need."""

    cov: np.ndarray
    information: np.ndarray
    left_out: np.ndarray
    blind: np.ndarray

    def df(self, weights: np.ndarray) -> float:
        """Return Satterthwaite's degrees of freedom for a contrast, weights of shape (m,).

        Under a working model in which the scores of the clusters have covariance A_g, the terms ``weights @ d_g``
        have covariance ``P = diag(a_g' A_g a_g) - U A^{-1} U'`` with ``a_g = (A - A_g)^{-1} weights`` and
        ``U_g = A_g a_g``; the degrees of freedom are ``tr(P)^2 / tr(P^2)``. They are 0 where a contrast cannot be
        estimated without some cluster.
        """
        if np.abs(weights @ self.blind).max(initial=0.0) > 1e-6 * np.abs(weights).max():
            return 0.0
        a = self.left_out @ weights
        u = np.einsum("gij,gj->gi", self.information, a)
        p = np.diag(np.einsum("gi,gi->g", a, u)) - u @ np.linalg.solve(self.information.sum(axis=0), u.T)
        return float(np.trace(p) ** 2 / np.sum(p * p))


def jackknife(scores: np.ndarray, information: np.ndarray) -> Clustered:
    """Return the CR3 covariance of an estimate at which all scores sum to zero.

    Parameters
    ----------
    scores
        Score of each cluster, shape (g, m).
    information
        Observed information of each cluster, shape (g, m, m).

    Returns
    -------
    The covariance; directions that are not estimable without some cluster are left out of it and remembered, so that
    their contrasts have no degrees of freedom.
    """
    total = information.sum(axis=0)
    scale = 1 / np.sqrt(np.maximum(np.diag(total), 1e-300))
    values, vectors = np.linalg.eigh((total - information) * np.outer(scale, scale))
    seen = values > 1e-7
    vectors = vectors * scale[:, None]
    left_out = np.einsum("gik,gk,gjk->gij", vectors, np.where(seen, 1 / np.where(seen, values, 1.0), 0.0), vectors)
    # In the coefficients' own units a direction e of the scaled matrix is scale * e.
    blind = np.moveaxis(vectors, 1, 0)[:, ~seen]
    shifts = np.einsum("gij,gj->gi", left_out, scores)
    return Clustered(shifts.T @ shifts, information, left_out, blind / np.maximum(np.abs(blind).max(axis=0), 1e-300))


def cluster_pieces(counts: np.ndarray, totals: np.ndarray, data: Data, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (g, p) and observed information (g, p, p) of each batch at a fit, its precision held."""
    t = all_terms(counts, totals, data.design @ fit.coef, float(np.log(fit.precision)))
    p = data.design.shape[1]
    scores, information = np.zeros((data.n_groups, p)), np.zeros((data.n_groups, p, p))
    np.add.at(scores, data.codes, data.design * t[1][:, None])
    np.add.at(information, data.codes, -t[3][:, None, None] * data.design[:, :, None] * data.design[:, None, :])
    return scores, information


def fit_cluster(data: Data) -> list[Fit]:
    """Fit each type by the beta-binomial, with covariance and degrees of freedom from the batches."""
    p = data.design.shape[1]
    if data.groups is None or data.n_groups < 3:
        why = f"{counted(data.n_groups, 'batch', 'batches')} recorded; clusters need three"
        return [failed(p, why, "too-few")] * data.counts.shape[1]
    fits, totals = [], data.totals.astype(float)
    for counts, fit in zip(np.ascontiguousarray(data.counts.T, dtype=float), fit_plain(data), strict=True):
        if fit.converged:
            robust = jackknife(*cluster_pieces(counts, totals, data, fit))
            fit = replace(fit, cov=robust.cov, df_of=robust.df)
        fits.append(fit)
    return fits


MODEL = Model(
    name="betabinomial-cluster",
    fit=fit_cluster,
    link="logit",
    unit=LOG_ODDS,
    words="beta-binomial regression with batch-clustered standard errors",
    reference="Beta-binomial, batch-jackknife (CR3) errors; Pustejovsky and Tipton 2018, "
    "doi 10.1080/07350015.2016.1247004",
    marker=("D", "#0072B2"),
    one_type=True,
    separates=True,
)
