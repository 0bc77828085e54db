"""Correction for many tests, family by family.

A family is one annotator, denominator, model and kind of contrast (pairs, one-vs-rest, steps of a covariate) of one
status: statuses never share a correction, nor do superseded rows with others. In a family the exploratory cell types
get the Benjamini-Hochberg false discovery rate over all types and contrasts; the focus type gets Holm's adjusted
p-value over its own contrasts, because it was named in advance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

FAMILY = ["annotator", "denominator", "model", "status", "superseded", "_column", "_kind"]


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's step-down adjusted p-values, shape (m,); those not a number stay so and do not count."""
    out = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return out


def false_discovery_rate(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg adjusted p-values, shape (m,); those not a number stay so and do not count."""
    out = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        out[known] = stats.false_discovery_control(p[known])
    return out


def adjust(estimates: pd.DataFrame, focus: str | None) -> np.ndarray:
    """Return the q-value of each row of the estimates, shape (n_rows,)."""
    q = np.full(len(estimates), np.nan)
    p = estimates["p_value"].to_numpy(float)
    on_focus = (estimates["cell_type"] == focus).to_numpy()
    for rows in estimates.groupby(FAMILY, sort=False).indices.values():
        q[rows] = false_discovery_rate(p[rows])
        named = rows[on_focus[rows]]
        q[named] = holm(p[named])
    return q
