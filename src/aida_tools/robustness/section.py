"""The section of the page on how far other analyses agree, and what it says of the headline."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.core.words import counted, interval, p_value, percent
from aida_tools.figures.section import without_site
from aida_tools.results.page import Labels, Section, register
from aida_tools.results.results import Results
from aida_tools.results.words import of_contrast
from aida_tools.robustness.controls import noticeable
from aida_tools.robustness.permutations import blind, out_of_reach
from aida_tools.robustness.tables import PERMUTATION, RECALIBRATED, SITE_BOUND, SPECIFICATION_SUMMARY


def limits(results: Results, labels: Labels) -> list[str]:
    """Say what sites, other specifications and permutations leave of the headline's contrast."""
    if (row := results.headline()) is None:
        return []
    bound = of_contrast(results[SITE_BOUND], row)
    found = [
        _bound(bound),
        _plausible(bound),
        _controls(results, of_contrast(results[RECALIBRATED], row)) if row["status"] == "between-site" else "",
        _specifications(of_contrast(results[SPECIFICATION_SUMMARY], row)),
        _permutation(of_contrast(results[PERMUTATION], row)),
    ]
    return [text for text in found if text]


def _bound(row: dict[str, Any]) -> str:
    if pd.isna(row.get("site_sd_bound")):
        return ""
    if row["site_sd_bound"] == 0:
        return "Its interval includes 1 (no difference) even if the sites have no effect."
    batches = ""
    if pd.notna(row["batch_sd"]):
        sd, low, high = (row[f"batch_sd{end}"] for end in ("", "_low", "_high"))
        batches = f" For comparison, batches of one site differ by SD {sd:.2f} ({low:.2f} to {high:.2f})."
    return (
        f"A site effect of SD {row['site_sd_bound']:.2f} on the log-odds scale (a share of {percent(row['share_b'])} "
        f"measured as {percent(row['share_b'] + row['share_shift'])}) would be enough for the interval to include 1 "
        f"(no difference) ([figure:tipping_points]).{batches}"
    )


def _plausible(row: dict[str, Any]) -> str:
    if pd.isna(row.get("keeps_sign")):
        return ""
    return (
        f"Under {100 * row['keeps_sign']:.0f} % of the site effects that these data make plausible the contrast keeps "
        "its sign ([figure:site_prior])."
    )


def _controls(results: Results, again: dict[str, Any]) -> str:
    controls = results.focus_controls()
    if controls.empty:
        return "There are no control samples to measure what the sites add."
    n_donors, n_sites = controls["donor_id"].nunique(), controls["site"].nunique()
    ran = f"{counted(n_donors, 'control donor')} {'was' if n_donors == 1 else 'were'} run at "
    if not (controls.groupby("donor_id")["site"].nunique() > 1).any():
        where = "one site only" if n_sites == 1 else f"{n_sites} sites, but none of them at two"
        return f"{ran}{where}, which does not show what the sites add."
    ran += counted(n_sites, "site")
    if pd.isna(again.get("recalibrated")):
        return f"{ran}, which shows what the sites add ([figure:controls])."
    value, low, high = (float(np.exp(again[f"recalibrated{end}"])) for end in ("", "_ci_low", "_ci_high"))
    said = (
        f"{ran}. After subtracting the differences that these controls show between the sites, the odds ratio is "
        f"{interval(value, low, high)} ([figure:recalibrated])."
    )
    if pd.notna(again.get("correction_difference")) and noticeable(
        again["correction_difference"], again["control_std_error"]
    ):
        said += (
            f" The controls' share ({percent(again['control_share'])}) is not the donors' "
            f"({percent(again['donor_share'])}): if false calls made the sites differ, the odds ratio would be "
            f"{np.exp(again['estimate'] - again['false_call_difference']):.2f}."
        )
    return said


def _specifications(row: dict[str, Any]) -> str:
    if not row.get("n_estimated", 0) > 0 or pd.isna(row["same_sign"]):
        return ""
    return (
        f"Of {int(row['n_estimated']):,} ways to analyse the same data, {100 * row['same_sign']:.0f} % agree in "
        f"direction and {100 * row['excludes_1_same_sign']:.0f} % also have an interval without 1; odds ratios run "
        f"from {np.exp(row['minimum']):.2f} to {np.exp(row['maximum']):.2f} ([figure:specification_curve])."
    )


def _permutation(row: dict[str, Any]) -> str:
    if pd.isna(row.get("p_value")):
        return ""
    scheme = re.sub("^(batches|donors|samples)", r"\1 permuted", row["scheme"])
    p = f"{p_value(row['p_value'])} (smallest possible {row['p_min']:.2g})"
    said = f"A permutation test ({scheme}) gives {p} ([figure:permutation_null])."
    if out_of_reach(row["p_min"]):
        said += " With so few permutations it cannot reach p < 0.05, so that it neither supports nor contradicts this."
    if blind(row["scheme"]):
        unit = row["scheme"].partition(" ")[0]
        said += f" It cannot see a site effect: it tests the population and its sites together against single {unit}."
    return said


register(Section("robustness", "How sure is the comparison?", place=40, limits=limits, blocks=without_site))
