"""What the same control, run at several sites, says about the sites.

Logits of the control samples' shares with binomial errors; the control donors are fixed effects, so that different
donors at different sites are not mistaken for sites; batches (and, for their spread, sites) are random.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aida_tools.design.matrix import independent_columns
from aida_tools.robustness import reml


class Controls(NamedTuple):
    """Control samples: cells of the type and of the denominator, codes of site, batch and donor, each shape (n,)."""

    counts: np.ndarray
    totals: np.ndarray
    sites: np.ndarray
    batches: np.ndarray
    donors: np.ndarray


class Difference(NamedTuple):
    """A difference between sites on the log-odds scale; `problem` says why there is none."""

    estimate: float
    std_error: float
    df: float
    problem: str = ""


class Spread(NamedTuple):
    """Standard deviations of sites and of batches on the log-odds scale, each with its 95 % profile interval."""

    site: tuple[float, float, float]
    batch: tuple[float, float, float]


def _dummies(codes: np.ndarray) -> np.ndarray:
    return (codes[:, None] == np.unique(codes)).astype(float)


def _combine(controls: Controls, wanted: np.ndarray) -> list[Difference]:
    """Estimate weighted sums of the effects of sites and donors; `wanted` has a row for each, and all dummies."""
    full = np.hstack([_dummies(controls.sites), _dummies(controls.donors)[:, 1:]])
    kept, null = independent_columns(full)
    df = len(full) - len(kept)
    if df < 1:
        few = "one control sample a site and donor: batches cannot be told apart from sites"
        return [Difference(np.nan, np.nan, np.nan, few)] * len(wanted)
    response, variance = reml.empirical_logits(controls.counts, controls.totals)
    found = reml.fit(response, variance, full[:, kept], [controls.batches])
    out = []
    for row in wanted:
        if np.abs(row @ null).max(initial=0) > 1e-8:
            out.append(Difference(np.nan, np.nan, np.nan, "no control donor links these sites: each has its own"))
            continue
        weights = row[kept]
        error = float(np.sqrt(weights @ found.cov @ weights))
        out.append(Difference(float(weights @ found.coef), error, float(df)))
    return out


def site_difference(controls: Controls, weights: np.ndarray) -> Difference:
    """Estimate a weighted sum of the sites' effects.

    Parameters
    ----------
    controls
        n control samples; sites are coded 0 ... s - 1, and each has a sample.
    weights
        Weight of each site, shape (s,); they sum to 0.

    Returns
    -------
    The difference with t on samples less coefficients; batches vary around their site.
    """
    n_donors = len(np.unique(controls.donors))
    return _combine(controls, np.concatenate([weights, np.zeros(n_donors - 1)])[None, :])[0]


def site_shares(controls: Controls) -> list[Difference]:
    """Return the logit of the share at each site, for the average control donor (all donors weigh the same)."""
    if not len(controls.counts):
        return []
    n_sites, n_donors = len(np.unique(controls.sites)), len(np.unique(controls.donors))
    return _combine(controls, np.hstack([np.eye(n_sites), np.full((n_sites, n_donors - 1), 1 / n_donors)]))


def site_spread(controls: Controls) -> Spread | str:
    """Estimate how much sites and batches vary.

    Returns
    -------
    The standard deviations with their intervals, or why there are none. With few sites the interval is wide: that is
    all the controls know.
    """
    n_sites = len(np.unique(controls.sites))
    if n_sites < 2:
        return "control samples at fewer than two sites"
    full = np.hstack([np.ones((len(controls.counts), 1)), _dummies(controls.donors)[:, 1:]])
    design = full[:, independent_columns(full)[0]]
    # Sites that are combinations of donors leave nothing to learn about sites.
    beyond = len(independent_columns(np.hstack([design, _dummies(controls.sites)]))[0]) - design.shape[1]
    if beyond < 1:
        return "no control donor was run at two sites"
    if len(full) - design.shape[1] - beyond < 1:
        return "one control sample a site and donor: batches cannot be told apart from sites"
    response, variance = reml.empirical_logits(controls.counts, controls.totals)
    groups = [controls.sites, controls.batches]
    best = reml.fit(response, variance, design, groups)
    intervals = [reml.profile_interval(response, variance, design, groups, k) for k in (0, 1)]
    return Spread(*((float(sd), *interval) for sd, interval in zip(best.sd, intervals, strict=True)))


def recalibrate(
    estimate: tuple[float, float, float], difference: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Subtract what the controls attribute to the sites from a contrast.

    Parameters
    ----------
    estimate, difference
        Value, standard error and degrees of freedom of the contrast, and of the same contrast of the controls.

    Returns
    -------
    Value, standard error and degrees of freedom (Welch, Satterthwaite) of their difference.
    """
    variances = np.array([estimate[1] ** 2, difference[1] ** 2])
    df = variances.sum() ** 2 / np.sum(variances**2 / np.array([estimate[2], difference[2]]))
    return estimate[0] - difference[0], float(np.sqrt(variances.sum())), float(df)
