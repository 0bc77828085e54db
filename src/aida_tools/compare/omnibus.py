"""Tests over all populations at once, before any pair is looked at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from aida_tools.compare.contrasts import Contrast
from aida_tools.compare.design import Design
from aida_tools.compare.fit import Fit
from aida_tools.compare.sites import SiteModel, standing

TEST_COLUMNS = (
    "annotator", "denominator", "cell_type", "model", "test", "statistic", "df", "df_residual", "p_value", "note",
)  # fmt: skip


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


def hypotheses(design: Design, sites: SiteModel, samples: pd.DataFrame) -> list[Hypothesis]:
    """Return the tests of equal populations: over all of them, and over those inside one site."""
    found = []
    statuses: set[str] = set()
    everywhere = _against_first(sorted(samples["population"].unique()), design, sites, samples)
    if everywhere is not None:
        weights, statuses, skipped = everywhere
        note = "between-site: populations plus sites" if "between-site" in statuses else "within-site"
        found.append(Hypothesis("population", weights, f"{note}; not estimable: {skipped}" if skipped else note))
    if statuses != {"within-site"}:
        for site in sorted(samples["site"].dropna().unique()):
            here = [str(p) for p, at in samples.groupby("population")["site"] if (at == site).all()]
            inside = _against_first(sorted(here), design, sites, samples)
            if inside is not None:
                found.append(Hypothesis(f"population within site {site}", inside[0], "within-site"))
    return found


def _against_first(
    levels: list[str], design: Design, sites: SiteModel, samples: pd.DataFrame
) -> tuple[np.ndarray, set[str], str] | None:
    """Return the estimable contrasts of each level with the first, their statuses, and the levels left out."""
    rows: list[np.ndarray] = []
    statuses: set[str] = set()
    skipped: list[str] = []
    for level in levels[1:]:
        contrast = Contrast("population", level, levels[0])
        vector = design.vector(contrast)
        status = standing(contrast, vector, design, sites, samples).status
        if status == "not-estimable":
            skipped.append(level)
        else:
            rows.append(design.reduce(vector))
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
    F, its degrees of freedom (rank of the hypothesis, and the fit's), p-value.
    """
    value, cov = weights @ fit.coef, weights @ fit.cov @ weights.T
    q = int(np.linalg.matrix_rank(cov))
    statistic = float(value @ np.linalg.pinv(cov) @ value) / q
    p = stats.f.sf(statistic, q, fit.df) if np.isfinite(fit.df) else stats.chi2.sf(q * statistic, q)
    return statistic, q, fit.df, float(p)


def omnibus_rows(
    hypotheses: list[Hypothesis], annotator: str, denominator: str, types: list[str], model: str, fits: list[Fit]
) -> list[dict[str, Any]]:
    """Return one row a hypothesis and cell type."""
    rows = []
    for hypothesis in hypotheses:
        for cell_type, fit in zip(types, fits, strict=True):
            row: dict[str, Any] = {
                "annotator": annotator, "denominator": denominator, "cell_type": cell_type, "model": model,
                "test": f"Wald F: {hypothesis.name}", "note": hypothesis.note,
            }  # fmt: skip
            if fit.converged and fit.df > 0:
                row["statistic"], row["df"], row["df_residual"], row["p_value"] = wald(fit, hypothesis.weights)
            else:
                row["note"] = fit.message or "not fitted"
            rows.append(row)
    return rows
