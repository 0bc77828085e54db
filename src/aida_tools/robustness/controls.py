r"""What the same control, run at several sites, says about the sites.

Logits of the control samples' shares. The control donors are fixed effects, so that different donors at different sites
are not mistaken for sites. A site's samples come in runs (batches), and it is the runs that tell how well a site is
known: see `runs`. Controls that were run once a site say nothing about sites, since run and site are then one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from aida_tools.design.matrix import independent_columns
from aida_tools.robustness import reml
from aida_tools.robustness.runs import RunFit, degrees, fit_runs


class Controls(NamedTuple):
    """Control samples: cells of the type and of the denominator, codes of site, batch and donor, each shape (n,).

    `unknown` is the number of samples whose batch is not recorded.
    """

    counts: np.ndarray
    totals: np.ndarray
    sites: np.ndarray
    batches: np.ndarray
    donors: np.ndarray
    unknown: int = 0


class Difference(NamedTuple):
    """A difference between sites on the log-odds scale; `problem` says why there is none."""

    estimate: float
    std_error: float
    df: float
    problem: str = ""


class Spread(NamedTuple):
    """What the controls know of the standard deviations of sites and of batches, on the log-odds scale.

    Attributes
    ----------
    site, batch
        The standard deviation and its 95 % profile interval.
    loglik
        Restricted log-likelihood at each of `site_sds`, over all batch standard deviations, shape (k,).
    """

    site: tuple[float, float, float]
    batch: tuple[float, float, float]
    loglik: np.ndarray


def _dummies(codes: np.ndarray) -> np.ndarray:
    return np.asarray(codes[:, None] == np.unique(codes), dtype=float)


def _obstacle(controls: Controls, design: np.ndarray) -> str:
    """Say why runs and sites cannot be told apart in a design of sites and donors; empty if they can."""
    if controls.unknown:
        n = controls.unknown
        of = f"{n} of {len(controls.counts)} control samples" if n < len(controls.counts) else "the control samples"
        return f"the batches of {of} are not recorded: runs cannot be told apart from sites"
    if len(np.unique(controls.batches)) == len(np.unique(controls.sites)):
        return "the controls were run once a site: a difference between runs cannot be told apart from one of the sites"
    if degrees(design, controls.batches)[0] < 1:
        return "the control donors differ between the runs of a site: runs cannot be told apart from donors and sites"
    return ""


def _combine(controls: Controls, wanted: np.ndarray) -> list[Difference]:
    """Estimate weighted sums of the effects of sites and donors; `wanted` has a row for each, and all dummies."""
    full = np.hstack([_dummies(controls.sites), _dummies(controls.donors)[:, 1:]])
    kept, null = independent_columns(full)
    response, _ = reml.empirical_logits(controls.counts, controls.totals)
    found: RunFit | str = _obstacle(controls, full[:, kept]) or fit_runs(response, full[:, kept], controls.batches)
    out = []
    for row in wanted:
        if np.abs(row @ null).max(initial=0) > 1e-8:
            out.append(Difference(np.nan, np.nan, np.nan, "no control donor links these sites: each has its own"))
        elif isinstance(found, str):
            out.append(Difference(np.nan, np.nan, np.nan, found))
        else:
            out.append(Difference(*found.combine(row[kept])))
    return out


def site_difference(controls: Controls, weights: np.ndarray) -> Difference:
    """Estimate a weighted sum of the sites' effects.

    Parameters
    ----------
    controls
        n control samples; sites are coded 0 ... s - 1, and each has a sample.
    weights
        Weight of each site, shape (s,); they sum to 0.
    """
    n_donors = len(np.unique(controls.donors))
    return _combine(controls, np.concatenate([weights, np.zeros(n_donors - 1)])[None, :])[0]


def site_shares(controls: Controls) -> list[Difference]:
    """Return the logit of the share at each site, for the average control donor (all donors weigh the same)."""
    if not len(controls.counts):
        return []
    n_sites, n_donors = len(np.unique(controls.sites)), len(np.unique(controls.donors))
    return _combine(controls, np.hstack([np.eye(n_sites), np.full((n_sites, n_donors - 1), 1 / n_donors)]))


def site_spread(controls: Controls, site_sds: np.ndarray) -> Spread | str:
    """Estimate how much sites and batches vary.

    Parameters
    ----------
    controls
        n control samples.
    site_sds
        Standard deviations to take the restricted likelihood at, shape (k,).

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
    with_sites = np.hstack([design, _dummies(controls.sites)])
    with_sites = with_sites[:, independent_columns(with_sites)[0]]
    if with_sites.shape[1] == design.shape[1]:
        return "no control donor was run at two sites"
    if why := _obstacle(controls, with_sites):
        return why
    response, variance = reml.empirical_logits(controls.counts, controls.totals)
    groups = [controls.sites, controls.batches]
    if degrees(with_sites, controls.batches)[1] > 0:
        groups.append(np.arange(len(response)))
    best = reml.fit(response, variance, design, groups)
    site, batch = ((float(best.sd[k]), *reml.profile_interval(response, variance, design, groups, k)) for k in (0, 1))
    at = [reml.fit(response, variance, design, groups, fixed={0: float(sd)}).loglik for sd in site_sds]
    return Spread(site, batch, np.array(at))


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


def false_call_difference(weights: np.ndarray, control_shares: np.ndarray, donor_shares: tuple[float, float]) -> float:
    r"""Return what a contrast gets from the sites if they differ by false calls, which add to a share.

    A site that calls a share f of the other cells falsely shows :math:`\pi + f (1 - \pi)` for a share :math:`\pi`. The
    same f moves the log-odds of a rare type more than those of a frequent one, while a factor on the odds moves both
    alike.

    Parameters
    ----------
    weights
        Weight of each site in the contrast, shape (s,); they sum to 0.
    control_shares
        Share of the average control donor at each site, 0 to 1, shape (s,); the lowest is taken to have no false calls.
    donor_shares
        Measured shares of side a and side b: of the sites with weights above 0, and below.

    Returns
    -------
    What it does to the contrast of the donors, as a log odds ratio; not a number where it would be more than all that
    was measured.
    """
    used = np.abs(weights) > 1e-6
    lowest = float(control_shares[used].min())
    false = (control_shares - lowest) / (1 - lowest)
    measured = np.where(weights > 0, *donor_shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        added = special.logit(measured) - special.logit((measured - false) / (1 - false))
    total = float(weights[used] @ added[used])
    return total if np.isfinite(total) else np.nan


def noticeable(difference: float, std_error: float) -> bool:
    """Tell whether two corrections differ enough to be spoken of: by 0.02 log-odds, or a quarter of their error."""
    return abs(difference) > min(0.02, std_error / 4)
