"""Tables on sites: how large an effect would explain a contrast, and what the controls measure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from aida_tools.core.names import ESTIMATED
from aida_tools.core.words import counted, listed, percent
from aida_tools.design.contrasts import Contrast
from aida_tools.design.matrix import build_design, independent_columns
from aida_tools.design.questions import batch_codes
from aida_tools.design.sites import PLAUSIBLE_SITE_SD, Places
from aida_tools.models.data import Estimate
from aida_tools.results.refit import Comparison
from aida_tools.robustness import reml
from aida_tools.robustness.bound import share_shift, site_bound
from aida_tools.robustness.controls import (
    Controls,
    Difference,
    Spread,
    false_call_difference,
    noticeable,
    recalibrate,
    site_difference,
    site_shares,
    site_spread,
)
from aida_tools.robustness.prior import SITE_SDS, SitePrior, site_prior
from aida_tools.robustness.runs import degrees
from aida_tools.robustness.tables import CONTROLS_EFFECT, RECALIBRATED, SITE_BOUND, SITE_PRIOR

#: Weights of sites below this are rounding.
_NO_WEIGHT = 1e-6


def site_weights(compared: Comparison) -> dict[str, dict[str, float]]:
    """Return what a shift of one unit at each site does to each estimated contrast: contrast -> site -> weight."""
    rows = compared.refit(compared.contrasts)
    return {row["contrast"]: row["_site_leaks"] for row in rows if "_site_leaks" in row}


def batch_spread(compared: Comparison) -> tuple[float, float, float] | str:
    """Return the standard deviation of batches inside sites and its 95 % limits, or why there is none.

    One sample a donor, adjusted for the formula and the sites; batches and donors are random.
    """
    selection = compared.selection.one_a_donor()
    counts = compared.chosen(compared.primary, selection)
    some = counts.totals > 0
    samples, counts = selection.samples[some].reset_index(drop=True), counts.take(some)
    batches, alone = batch_codes(samples), np.arange(len(samples))
    if batches is None or len(np.unique(batches)) == len(alone):
        return "no batch holds several samples"
    within = np.hstack([build_design(selection.formula, samples).full, Places(samples).of_site])
    design = within[:, independent_columns(within)[0]]
    between, inside = degrees(design, batches)
    if between < 1:
        return "no site has several batches"
    if inside < 1:
        return "too few samples to tell batches from donors"
    focus = counts.counts[:, counts.types.index(compared.options["focus"])]
    response, variance = reml.empirical_logits(focus, counts.totals)
    sd = float(reml.fit(response, variance, design, [batches, alone]).sd[0])
    return sd, *reml.profile_interval(response, variance, design, [batches, alone], 0)


def controls_of(compared: Comparison) -> tuple[Controls, list[str]]:
    """Return the control samples with a recorded site and cells of the denominator, and the names of the sites."""
    d, samples = compared.primary, compared.samples
    usable = (samples["is_control"] & samples["site"].notna()).to_numpy() & (d.totals > 0)
    table = samples[usable]
    sites, names = pd.factorize(table["site"], sort=True)
    unknown = table["batch"].isna()
    batches, _ = pd.factorize(table["site"] + "|" + table["batch"].mask(unknown, ""))
    donors, _ = pd.factorize(table["donor_id"])
    counts = d.counts[usable, d.types.index(compared.options["focus"])]
    return Controls(counts, d.totals[usable], sites, batches, donors, int(unknown.sum())), list(names)


def _limit(sd: float) -> str:
    return "any size" if sd >= reml.MAX_SD else f"{sd:.2f}"


def _odds(row: dict[str, Any]) -> str:
    ratio, low, high = np.exp([row["estimate"], row["ci_low"], row["ci_high"]])
    return f"odds ratio {ratio:.2f} ({low:.2f} to {high:.2f})"


def _sentence(row: dict[str, Any]) -> str:
    """Say one row of the bound in words."""
    name = Contrast.parse(row["contrast"]).words()
    if row["status"] == "includes-no-difference":
        text = f"{name}: {_odds(row)} includes 1 (no difference) even without any site effect."
    else:
        sd, share = row["site_sd_bound"], row["share_b"]
        text = (
            f"{name}: {_odds(row)}. Site effects of SD {sd:.2f} on the log-odds scale (a share of {percent(share)} "
            f"measured as {percent(share + row['share_shift'])}) are enough for it to include 1 (no difference)."
        )
    known = []
    if not np.isnan(row["batch_sd"]):
        low, high = _limit(row["batch_sd_low"]), _limit(row["batch_sd_high"])
        known.append(f"batches of one site differ by SD {row['batch_sd']:.2f} ({low} to {high})")
    if not np.isnan(row["control_site_sd"]):
        low, high = _limit(row["control_site_sd_low"]), _limit(row["control_site_sd_high"])
        known.append(f"the same controls differ between sites by SD {row['control_site_sd']:.2f} ({low} to {high})")
    beside = "; ".join(known) or "nothing in these data says how large site effects are"
    return f"{text} For comparison: {beside}."


def _t_interval(estimate: Estimate | Difference) -> dict[str, float]:
    half = float(stats.t.ppf(0.975, estimate.df)) * estimate.std_error
    value = estimate[0]
    return {"ci_low": value - half, "ci_high": value + half}


def between_sites(compared: Comparison) -> list[dict[str, Any]]:
    """Return the rows of the primary contrasts that a site effect enters, and of those that are not estimated."""
    rows = [{str(k): v for k, v in r.items()} for r in compared.estimates.to_dict("records")]
    free = set(ESTIMATED) - {"between-site"}
    return [r for r in rows if r["status"] not in free]


def _prior_of(
    batch: tuple[float, float, float] | str, spread: Spread | str, n_sites: int, others: Sequence[np.ndarray]
) -> tuple[SitePrior, str]:
    """Return which site effects are plausible, and what that rests on in words."""
    batch_sd = batch[0] if isinstance(batch, tuple) else np.nan
    measured = [spread.loglik] if isinstance(spread, Spread) else []
    prior = site_prior(batch_sd, [*measured, *others])
    of = "as batches of one site vary" if prior.scale > PLAUSIBLE_SITE_SD else "the least that is assumed"
    said = [f"half-normal of scale {prior.scale:.2f} ({of})"]
    if measured:
        said.append(f"what the control samples at {n_sites} sites say of it")
    if others:
        said.append(f"{counted(len(others), 'other cohort')}")
    return prior, listed(said)


def bound_table(
    compared: Comparison,
    batch: tuple[float, float, float] | str,
    spread: Spread | str,
    plausible: tuple[SitePrior, str],
) -> pd.DataFrame:
    """Return `site_bound.tsv`; `plausible` are the site effects, and what they rest on in words."""
    asked = between_sites(compared)
    prior, rests_on = plausible
    known: dict[str, Any] = {}
    for name, found in (
        ("batch_sd", batch if isinstance(batch, tuple) else (np.nan,) * 3),
        ("control_site_sd", spread.site if isinstance(spread, Spread) else (np.nan,) * 3),
    ):
        known |= dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
    reasons = [
        f"{what}: {found}" for what, found in (("batches", batch), ("controls", spread)) if isinstance(found, str)
    ]
    unknown = int(compared.selection.samples["site"].isna().sum())
    if unknown:
        reasons.append(f"sites: not recorded for {counted(unknown, 'sample')}, whose site effects are not counted")
    rows = []
    for estimate in asked:
        row: dict[str, Any] = {name: estimate.get(name) for name in SITE_BOUND.names} | known
        row["note"] = "; ".join(reasons) or None
        if estimate["status"] != "between-site":
            rows.append(row | {"note": estimate["note"] or "the contrast is not estimable in these samples"})
            continue
        row["spread"] = float(estimate["site_spread"])
        if row["spread"] < 1e-12:
            rows.append(row | {"status": "no-site-recorded", "note": "no site is recorded, so none can be weighed"})
            continue
        value = Estimate(estimate["estimate"], estimate["std_error"], estimate["df"])
        nearest = max(estimate["ci_low"], -estimate["ci_high"])
        row |= {
            "keeps_sign": prior.share_below(abs(value.value), row["spread"]),
            "keeps_interval": prior.share_below(nearest, row["spread"]),
            "plausible_site_sd": prior.quantile(0.5),
            "plausible_site_sd_high": prior.quantile(0.95),
            "rests_on": rests_on,
        }
        bound = site_bound(*value, row["spread"])
        if bound > reml.MAX_SD:
            why = "the contrast is estimated almost entirely within sites"
            rows.append(row | {"status": "beyond-any-site-effect", "note": why})
            continue
        row["site_sd_bound"] = bound
        row["status"] = "bounded" if bound > 0 else "includes-no-difference"
        row["share_shift"] = share_shift(row["share_b"], row["site_sd_bound"])
        rows.append(row | {"sentence": _sentence(row)})
    return SITE_BOUND.frame(rows)


def controls_table(controls: Controls, names: list[str], spread: Spread | str) -> pd.DataFrame:
    """Return `controls_effect.tsv`."""

    def size(on: np.ndarray) -> dict[str, int]:
        return {
            "n_samples": int(on.sum()),
            "n_batches": len(np.unique(controls.batches[on])),
            "n_cells": int(controls.totals[on].sum()),
        }

    everywhere = np.ones(len(controls.counts), bool)
    rows: list[dict[str, Any]] = []
    for k, quantity in enumerate(("site_sd", "batch_sd")):
        row = {"quantity": quantity, **size(everywhere)}
        if isinstance(spread, str):
            rows.append(row | {"status": "not-estimable", "note": spread})
        else:
            sd, low, high = spread[k]
            wide = "the controls give no upper limit" if high >= reml.MAX_SD else None
            rows.append(row | {"status": "estimated", "estimate": sd, "ci_low": low, "ci_high": high, "note": wide})
    for s, found in enumerate(site_shares(controls)):
        row = {"quantity": "share", "site": names[s], **size(controls.sites == s)}
        rows.append(row | _state(found))
        if not found.problem:
            ends = _t_interval(found)
            rows[-1]["estimate"] = float(special.expit(found.estimate))
            rows[-1] |= {key: float(special.expit(value)) for key, value in ends.items()}
            rows[-1]["std_error"] = found.std_error * rows[-1]["estimate"] * (1 - rows[-1]["estimate"])
    for s, t in itertools.combinations(range(len(names)), 2):
        weights = np.zeros(len(names))
        weights[[s, t]] = 1, -1
        found = site_difference(controls, weights)
        row = {"quantity": "difference", "site": names[s], "other_site": names[t]}
        row |= size((controls.sites == s) | (controls.sites == t)) | _state(found)
        rows.append(row if found.problem else row | _t_interval(found))
    return CONTROLS_EFFECT.frame(rows)


def _state(found: Difference) -> dict[str, Any]:
    if found.problem:
        return {"status": "not-estimable", "note": found.problem}
    return {"status": "estimated", "estimate": found.estimate, "std_error": found.std_error, "df": found.df}


def _false_calls(
    row: dict[str, Any], weights: dict[str, float], shares: dict[str, float], found: Difference
) -> dict[str, Any]:
    """Say how much the correction would differ if the sites differed by false calls; `shares` are the controls'."""
    sides = row["share_a"], row["share_b"]
    if not all(0 < share < 1 for share in sides):
        return {}
    used = [name for name in shares if abs(weights.get(name, 0.0)) > _NO_WEIGHT]
    w, at = np.array([weights[name] for name in used]), np.array([shares[name] for name in used])
    control = float(special.expit(np.average(special.logit(at), weights=np.abs(w))))
    donors = float(special.expit(special.logit(sides).mean()))
    other = false_call_difference(w, at, sides)
    said = ""
    out: dict[str, Any] = {
        "control_share": control,
        "donor_share": donors,
        "false_call_difference": other,
        "correction_difference": found.estimate - other,
    }
    compared = f"the controls' share ({percent(control)}) is not the donors' ({percent(donors)})"
    if np.isnan(other):
        said = f"{compared}: if the sites differ by false calls, these are more than all that was measured"
    elif noticeable(found.estimate - other, found.std_error):
        said = (
            f"{compared}: if the sites differ by false calls and not by a factor of the odds, the correction would "
            f"be {other:.2f} instead of {found.estimate:.2f}"
        )
    return out | {"note": "; ".join(text for text in (row["note"], said) if pd.notna(text) and text) or None}


def recalibrated_table(compared: Comparison, controls: Controls, names: list[str]) -> pd.DataFrame:
    """Return `recalibrated.tsv`."""
    rows = []
    shares = [float(special.expit(found.estimate)) for found in site_shares(controls) if not found.problem]
    asked = between_sites(compared)
    weights = site_weights(compared) if asked and names else {}
    for estimate in asked:
        row: dict[str, Any] = {name: estimate.get(name) for name in RECALIBRATED.names}
        rows.append(row)
        if estimate["status"] != "between-site":
            continue
        by_site = weights.get(estimate["contrast"], {})
        absent = [name for name, w in by_site.items() if abs(w) > _NO_WEIGHT and name not in names]
        if absent or not names:
            what = f"no control sample at site {', '.join(absent)}" if absent else "no control samples"
            row |= {"status": "no-controls", "note": what}
            continue
        if abs(sum(by_site.values())) > _NO_WEIGHT:
            why = "the site of some samples is not recorded: no control can stand for it"
            row |= {"status": "not-estimable", "note": why}
            continue
        found = site_difference(controls, np.array([by_site.get(name, 0.0) for name in names]))
        if found.problem:
            row |= {"status": "not-estimable", "note": found.problem}
            continue
        if len(shares) == len(names):
            row |= _false_calls(row, by_site, dict(zip(names, shares, strict=True)), found)
        value, error, df = recalibrate((row["estimate"], row["std_error"], row["df"]), found[:3])
        ends = _t_interval(Estimate(value, error, df))
        row |= {
            "status": "recalibrated",
            "control_difference": found.estimate,
            "control_std_error": found.std_error,
            "control_df": found.df,
            "recalibrated": value,
            "recalibrated_std_error": error,
            "recalibrated_df": df,
            "recalibrated_ci_low": ends["ci_low"],
            "recalibrated_ci_high": ends["ci_high"],
            "recalibrated_p_value": float(2 * stats.t.sf(abs(value / error), df)),
        }
    return RECALIBRATED.frame(rows)


def site_tables(compared: Comparison, *, others: Sequence[np.ndarray] = ()) -> dict[str, pd.DataFrame]:
    """Return the tables on sites: `site_bound`, `site_prior`, `controls_effect`, `recalibrated`.

    Parameters
    ----------
    compared
        The comparison.
    others
        Restricted log-likelihoods of the standard deviation between the sites of other cohorts, each at
        `prior.SITE_SDS`, shape (41,).
    """
    controls, names = controls_of(compared)
    spread = site_spread(controls, SITE_SDS)
    batch = batch_spread(compared) if between_sites(compared) else ""
    plausible = _prior_of(batch, spread, len(names), others)
    bound = bound_table(compared, batch, spread, plausible)
    curve = SITE_PRIOR.frame(plausible[0].curve() if bound["keeps_sign"].notna().any() else ())
    return {
        "site_bound": bound,
        "site_prior": curve,
        "controls_effect": controls_table(controls, names, spread),
        "recalibrated": recalibrated_table(compared, controls, names),
    }
