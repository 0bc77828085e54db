"""What the page says of sites, controls, specifications and permutations: sentences that follow the tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.core.populations import load_populations
from aida_tools.figures.style import Palette
from aida_tools.results.refit import Comparison
from aida_tools.robustness.figures.refits import permutation_plate
from aida_tools.robustness.permutations import permutation_tables
from aida_tools.robustness.section import limits
from aida_tools.robustness.sites import site_tables


def said(compared: Comparison, **tables: pd.DataFrame) -> str:
    return " ".join(limits(replace(compared.results, tables=dict(tables)), {}))


@pytest.fixture(scope="module")
def contrast(compared: Comparison) -> str:
    headline = compared.results.headline()
    assert headline is not None
    assert headline["status"] == "between-site"
    return str(headline["contrast"])


@pytest.fixture(scope="module")
def sites(compared: Comparison) -> dict[str, pd.DataFrame]:
    return site_tables(compared)


def changed(table: pd.DataFrame, contrast: str, **values: object) -> pd.DataFrame:
    table = table.copy()
    for column, value in values.items():
        table.loc[table["contrast"] == contrast, column] = value  # type: ignore[call-overload]
    return table


def test_one_sentence_says_how_many_site_effects_the_sign_survives(
    compared: Comparison, contrast: str, sites: dict[str, pd.DataFrame]
) -> None:
    bound = changed(sites["site_bound"], contrast, keeps_sign=0.834)
    text = said(compared, site_bound=bound)
    assert "Under 83 % of the site effects that these data make plausible the contrast keeps its sign (" in text
    assert "would be enough for the interval to include 1" in text
    nothing = changed(sites["site_bound"], contrast, keeps_sign=np.nan, site_sd_bound=np.nan)
    assert "site effect" not in said(compared, site_bound=nothing)
    none_needed = changed(sites["site_bound"], contrast, site_sd_bound=0.0)
    assert "Its interval includes 1 (no difference) even if the sites have no effect." in said(
        compared, site_bound=none_needed
    )


def test_batches_are_compared_with_where_they_were_measured(
    compared: Comparison, contrast: str, sites: dict[str, pd.DataFrame]
) -> None:
    known = changed(sites["site_bound"], contrast, batch_sd=0.123, batch_sd_low=0.0, batch_sd_high=0.456)
    assert "For comparison, batches of one site differ by SD 0.12 (0.00 to 0.46)." in said(compared, site_bound=known)
    unknown = changed(sites["site_bound"], contrast, batch_sd=np.nan)
    assert "batches of one site" not in said(compared, site_bound=unknown)


def test_a_control_far_from_the_donors_is_spoken_of(
    compared: Comparison, contrast: str, sites: dict[str, pd.DataFrame]
) -> None:
    table = sites["recalibrated"]
    far = changed(
        table, contrast, estimate=0.5, control_share=0.02, donor_share=0.05, false_call_difference=0.1,
        correction_difference=0.08, control_std_error=0.2, recalibrated=0.32, recalibrated_ci_low=-0.1,
        recalibrated_ci_high=0.7,
    )  # fmt: skip
    text = said(compared, recalibrated=far)
    assert "the odds ratio is 1.38 (95 % interval 0.90 to 2.01) (" in text
    assert "The controls' share (2.0 %) is not the donors' (5.0 %)" in text
    assert f"the odds ratio would be {np.exp(0.4):.2f}." in text
    near = changed(far, contrast, correction_difference=0.001)
    assert "The controls' share" not in said(compared, recalibrated=near)
    assert "which shows what the sites add" in said(compared, recalibrated=changed(far, contrast, recalibrated=np.nan))


def test_controls_are_counted_and_their_sites_too(compared: Comparison) -> None:
    assert "2 control donors were run at 3 sites, which shows what the sites add" in said(compared)
    controls = compared.results.controls

    def of(rows: pd.Series) -> str:
        return said(Comparison(replace(compared.results, controls=controls[rows])))

    assert "There are no control samples to measure what the sites add." in of(controls["site"] == "nowhere")
    assert "2 control donors were run at one site only, which does not show" in of(controls["site"] == "SG")
    first = (controls["site"] == "SG") & (controls["donor_id"] == "LONZA0")
    second = (controls["site"] == "KR") & (controls["donor_id"] == "LONZA1")
    assert "2 control donors were run at 2 sites, but none of them at two, which does not show" in of(first | second)
    assert "1 control donor was run at one site only" in of(first)


def test_a_permutation_says_what_it_cannot_show(compared: Comparison, contrast: str) -> None:
    table = permutation_tables(compared, permutations=200, seed=1)["permutation"]
    row = {"scheme": "batches between sites", "p_value": 0.1, "p_min": 0.1}
    text = said(compared, permutation=changed(table, contrast, **row))
    assert "A permutation test (batches permuted between sites) gives p = 0.1 (smallest possible 0.1) (" in text
    assert "With so few permutations it cannot reach p < 0.05" in text
    assert "It cannot see a site effect: it tests the population and its sites together against single batches." in text
    fine = {"scheme": "donors within batches", "p_value": 0.02, "p_min": 0.0001}
    text = said(compared, permutation=changed(table, contrast, **fine))
    assert "(donors permuted within batches) gives p = 0.02" in text
    assert "cannot" not in text
    nothing = said(compared, permutation=changed(table, contrast, p_value=np.nan))
    assert "permutation" not in nothing


def test_the_caption_of_the_permutations_says_it_too(compared: Comparison, root: Path) -> None:
    tables = permutation_tables(compared, permutations=200, seed=1)
    palette = Palette(load_populations(root / "config" / "populations.tsv"))

    def caption(**values: object) -> str:
        again = tables | {"permutation": tables["permutation"].assign(**values)}
        plate = permutation_plate(replace(compared.results, tables=again), palette)
        assert plate is not None
        return plate.caption

    usual = caption(scheme="donors within batches", rejection_rate=0.06, p_min=0.005)
    assert "A test that keeps its level has 5 % of the permuted values beyond the dashed lines" in usual
    assert "site effect" not in usual
    few = caption(scheme="batches between sites", rejection_rate=np.nan, p_min=0.1)
    assert "No permutation could give p below 0.1: the test can find nothing here." in few
    assert "The batches change sites with their labels: a site effect is not seen." in few
    assert "keeps its level" not in few
    assert "below" not in caption(scheme="donors within batches", rejection_rate=np.nan, p_min=0.01)


def test_specifications_are_counted(compared: Comparison, contrast: str) -> None:
    row = {
        "contrast": contrast, "n_estimated": 1234, "same_sign": 0.98, "excludes_1_same_sign": 0.5,
        "minimum": np.log(0.5), "maximum": np.log(1.1),
    }  # fmt: skip
    text = said(compared, specification_summary=pd.DataFrame([row]))
    assert (
        "Of 1,234 ways to analyse the same data, 98 % agree in direction and 50 % also have an interval without 1; "
        "odds ratios run from 0.50 to 1.10 ("
    ) in text
    for nothing in ({"n_estimated": 0}, {"same_sign": np.nan}):
        assert "ways to analyse" not in said(compared, specification_summary=pd.DataFrame([row | nothing]))


def test_a_contrast_inside_sites_is_not_corrected_by_controls(
    compared: Comparison, contrast: str, sites: dict[str, pd.DataFrame]
) -> None:
    estimates = compared.results.estimates.assign(status="within-site")
    text = said(Comparison(replace(compared.results, estimates=estimates)), recalibrated=sites["recalibrated"])
    assert "control" not in text


def test_without_populations_there_is_nothing_to_limit(compared: Comparison) -> None:
    estimates = compared.results.estimates
    nothing = estimates[~estimates["contrast"].str.startswith("population")]
    assert limits(replace(compared.results, estimates=nothing), {}) == []
