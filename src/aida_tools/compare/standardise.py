"""Population-standardised shares (g-computation): what the share would be if all samples were of one population.

The share of a side is the mean over the samples' covariates of the fitted share with the population set to that side,
and over batches for a model with a batch intercept. Intervals by the delta method: on the logit scale for a share, on
the log scale for a ratio.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special, stats

from aida_tools.compare.fit import Fit
from aida_tools.compare.models import Link, inverse_link

COLUMNS = (
    "annotator", "denominator", "cell_type", "model", "contrast", "status", "share_a", "share_a_low", "share_a_high",
    "share_b", "share_b_low", "share_b_high", "difference", "difference_low", "difference_high", "ratio", "ratio_low",
    "ratio_high",
)  # fmt: skip


def standardised(link: Link, rows_a: np.ndarray, rows_b: np.ndarray, fit: Fit, df: float) -> dict[str, Any]:
    """Return both sides' standardised shares, their difference and ratio, each with a 95 % interval.

    Parameters
    ----------
    link
        Scale of the coefficients.
    rows_a, rows_b
        Design of every sample as if on either side, each of shape (n, p).
    fit
        A converged fit.
    df
        Degrees of freedom of the contrast.
    """
    out: dict[str, Any] = {}
    t = float(stats.t.ppf(0.975, df))
    shares, gradients = [], []
    for side, rows in (("a", rows_a), ("b", rows_b)):
        each, slope = inverse_link(link, rows @ fit.coef, fit.group_sd)
        share, gradient = float(each.mean()), slope @ rows / len(rows)
        half = t * np.sqrt(gradient @ fit.cov @ gradient) / (share * (1 - share)) if 0 < share < 1 else np.nan
        out[f"share_{side}"] = share
        low, high = special.expit(special.logit(share) + np.array([-half, half]))
        out |= {f"share_{side}_low": float(low), f"share_{side}_high": float(high)}
        shares.append(share)
        gradients.append(gradient)
    (a, b), (by_a, by_b) = shares, gradients
    step = by_a - by_b
    half = t * float(np.sqrt(step @ fit.cov @ step))
    out |= {"difference": a - b, "difference_low": a - b - half, "difference_high": a - b + half}
    if a > 0 and b > 0:
        relative = by_a / a - by_b / b
        half = min(t * float(np.sqrt(relative @ fit.cov @ relative)), 700.0)  # exp() is finite up to there.
        out |= {"ratio": a / b, "ratio_low": a / b * np.exp(-half), "ratio_high": a / b * np.exp(half)}
    return out
