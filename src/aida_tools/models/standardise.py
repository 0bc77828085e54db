"""Population-standardised shares (g-computation): what the share would be if all samples were of one population.

The share of a side is the mean over the samples' covariates of the fitted share with the population set to that side,
and over batches for a model with a batch intercept. Intervals by the delta method: on the logit scale for a share, on
the log scale for a ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from aida_tools.design.questions import Question
from aida_tools.models.data import Fit
from aida_tools.models.links import Link, inverse_link


class Side(NamedTuple):
    """The standardised share of one side, 0 to 1, and its slope in each coefficient, shape (p,)."""

    share: float
    gradient: np.ndarray


def side(link: Link, rows: np.ndarray, fit: Fit) -> Side:
    """Return the share if all samples were on one side; `rows` is their design then, shape (n, p)."""
    each, slope = inverse_link(link, rows @ fit.coef, fit.group_sd)
    return Side(float(each.mean()), slope @ rows / len(rows))


def standardised(side_a: Side, side_b: Side, cov: np.ndarray, df: float) -> dict[str, Any]:
    """Return both sides' standardised shares, their difference and ratio, each with a 95 % interval.

    Parameters
    ----------
    side_a, side_b
        The sides.
    cov
        Covariance of the coefficients, shape (p, p).
    df
        Degrees of freedom of the contrast.
    """
    out: dict[str, Any] = {}
    t = float(special.stdtrit(df, 0.975))
    for side, (share, gradient) in (("a", side_a), ("b", side_b)):
        half = t * np.sqrt(gradient @ cov @ gradient) / (share * (1 - share)) if 0 < share < 1 else np.nan
        out[f"share_{side}"] = share
        low, high = special.expit(special.logit(share) + np.array([-half, half]))
        out |= {f"share_{side}_low": float(low), f"share_{side}_high": float(high)}
    (a, by_a), (b, by_b) = side_a, side_b
    step = by_a - by_b
    half = t * float(np.sqrt(step @ cov @ step))
    out |= {"difference": a - b, "difference_low": a - b - half, "difference_high": a - b + half}
    if a > 0 and b > 0:
        relative = by_a / a - by_b / b
        half = min(t * float(np.sqrt(relative @ cov @ relative)), 700.0)  # exp() is finite up to there.
        out |= {"ratio": a / b, "ratio_low": a / b * np.exp(-half), "ratio_high": a / b * np.exp(half)}
    return out


def overlap(samples: pd.DataFrame, question: Question, variables: Sequence[str]) -> str | None:
    """Say where the standardised shares of a contrast go beyond what was measured of its sides.

    Both sides are given the covariates of all samples. Where a side was not measured at some of them, its share there
    is what the model's line says beyond its data.

    Parameters
    ----------
    samples
        The n samples.
    question
        The contrast.
    variables
        Columns of the formula; its numbers are looked at.
    """
    out = []
    for column in variables:
        if column == question.contrast.column or not pd.api.types.is_numeric_dtype(samples[column]):
            continue
        values = samples[column].to_numpy(float)
        ranges = [(values[on].min(), values[on].max()) for on in (question.on_a, question.on_b)]
        low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
        spans = " and ".join(f"{a:g}-{b:g}" for a, b in ranges)
        beyond = float(((values < low) | (values > high)).mean())
        if low > high:
            out.append(f"the sides do not overlap in {column} ({spans}): their shares rest on the model's line alone")
        elif beyond > 0.1:
            out.append(f"{100 * beyond:.0f} % of the samples have values of {column} that one side lacks ({spans})")
    return "; ".join(out) or None
