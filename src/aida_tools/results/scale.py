"""Contrasts of every model on one scale: natural-log odds ratios."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.models.links import per_log_odds
from aida_tools.models.registry import MODELS

_CONVERTED = ("estimate", "std_error", "ci_low", "ci_high")


def log_odds_factor(model: str, share_a: float, share_b: float) -> float:
    """Return what a small difference on a model's scale is worth in log-odds.

    The slope of the log-odds at the mean of both shares; see `per_log_odds`. Signs, and whether an interval includes no
    difference, stay.

    Parameters
    ----------
    model
        Its name.
    share_a, share_b
        Standardised shares of the two sides, 0 to 1.

    Returns
    -------
    1 for models of log-odds; not a number where the scale does not fix a share.
    """
    link, p = MODELS[model].link, (share_a + share_b) / 2
    if link == "logit":
        return 1.0
    if not 0 < p < 1:
        return np.nan
    return np.nan if link == "clr" else 1 / per_log_odds(link, p)


def on_log_odds(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `estimates.tsv` with estimate, standard error and limits as log odds ratios.

    A row whose model gives none has the status `not-estimable` and a note.
    """
    if row.get("estimate") is None or np.isnan(row["estimate"]):
        return row
    shares = (row.get("share_a"), row.get("share_b"))
    factor = log_odds_factor(row["model"], *(np.nan if s is None else float(s) for s in shares))
    if np.isnan(factor):
        note = f"the scale of model {row['model']} has no odds ratio"
        return row | dict.fromkeys(_CONVERTED, np.nan) | {"status": "not-estimable", "note": note}
    return row | {name: float(row[name]) * factor for name in _CONVERTED}


def to_ratio(row: Mapping[Any, Any]) -> tuple[str, float, float, float] | None:
    """Turn an estimate into a ratio.

    Parameters
    ----------
    row
        A row of `estimates.tsv`.

    Returns
    -------
    What it is a ratio of, its value and limits; None for a model of another unit or an estimate that does not exist.
    """
    model = MODELS.get(row["model"])
    if model is None or not model.ratio or pd.isna(row["estimate"]):
        return None
    base = 10.0 if model.link == "log10" else np.e
    value, low, high = (float(base ** row[c]) for c in ("estimate", "ci_low", "ci_high"))
    return model.ratio, value, low, high
