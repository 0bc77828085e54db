"""Tests over all populations at once, before any pair is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import linalg, stats

from aida_tools.design.contrasts import Contrast
from aida_tools.design.sites import SiteModel, names, standing
from aida_tools.models.data import Data, Fit


class Hypothesis(NamedTuple):
    """Several contrasts that are all zero.

    Attributes
    ----------
    name
        What is tested, in words.
    weights
        One row a contrast, on the design's independent columns, shape (q, rank).
    note
        What the test cannot tell apart.
    """

    name: str
    weights: np.ndarray
    note: str


def hypotheses(sites: SiteModel) -> list[Hypothesis]:
    """Return the tests of equal populations: over all of them, and over those inside one site."""
    found = []
    statuses: set[str] = set()
    population = names(sites.samples, "population")
    everywhere = _against_first(sorted(set(population)), sites)
    if everywhere is not None:
        weights, statuses, skipped = everywhere
        note = "between-site: populations plus sites" if "between-site" in statuses else "within-site"
        found.append(Hypothesis("population", weights, f"{note}; not estimable: {skipped}" if skipped else note))
    if statuses != {"within-site"}:
        for site in sorted(set(sites.site) - {None}):
            inside = _against_first(sorted(set(population) - set(population[sites.site != site])), sites)
            if inside is not None:
                found.append(Hypothesis(f"population within site {site}", inside[0], "within-site"))
    return found


def _against_first(levels: list[str], sites: SiteModel) -> tuple[np.ndarray, set[str], str] | None:
    """Return the estimable contrasts of each level with the first, their statuses, and the levels left out."""
    rows: list[np.ndarray] = []
    statuses: set[str] = set()
    skipped: list[str] = []
    for level in levels[1:]:
        contrast = Contrast("population", level, levels[0])
        vector = sites.design.vector(contrast)
        status = standing(contrast, vector, sites).status
        if status == "not-estimable":
            skipped.append(level)
        else:
            rows.append(sites.design.reduce(vector))
            statuses.add(status)
    return (np.array(rows), statuses, ", ".join(skipped)) if rows else None


def wald(fit: Fit, weights: np.ndarray) -> tuple[float, int, float, float]:
    """Wald F test that `weights @ coef` is zero.

    Parameters
    ----------
    fit
        A converged fit.
    weights
        Shape (q, p).

    Returns
    -------
    F, its degrees of freedom (rank of the hypothesis, and the fewest of its contrasts), p-value.
    """
    value, cov = weights @ fit.coef, weights @ fit.cov @ weights.T
    q = int(np.linalg.matrix_rank(weights))
    df = min(fit.contrast(w).df for w in weights)
    statistic = float(value @ np.linalg.pinv(cov) @ value) / q
    p = stats.f.sf(statistic, q, df) if np.isfinite(df) else stats.chi2.sf(q * statistic, q)
    return statistic, q, df, float(p)


def _null_design(design: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the part of a design, shape (n, p), whose coefficients satisfy `weights @ coef = 0`."""
    return np.ascontiguousarray(design @ linalg.null_space(weights))


def likelihood_ratio(
    fit: Callable[[Data], list[Fit]], data: Data, fits: list[Fit], weights: np.ndarray
) -> list[tuple[float, int, float]]:
    """Likelihood ratio test that `weights @ coef` is zero, for every cell type.

    Parameters
    ----------
    fit
        The model.
    data, fits
        What it was fitted to, k types, and the result.
    weights
        Shape (q, p).

    Returns
    -------
    Twice the difference of the log-likelihoods, its degrees of freedom, p-value of the chi-square; not numbers where
    a fit did not converge. The null model is fitted on the design's columns that satisfy the hypothesis.
    """
    q = int(np.linalg.matrix_rank(weights))
    null = data.remember(("null", weights.tobytes()), lambda: replace(data, design=_null_design(data.design, weights)))
    smaller = fit(null)
    out = []
    for large, small in zip(fits, smaller, strict=True):
        usable = large.converged and small.converged
        statistic = max(2 * (large.loglik - small.loglik), 0.0) if usable else np.nan
        out.append((statistic, q, float(stats.chi2.sf(statistic, q))))
    return out
