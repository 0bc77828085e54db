"""Leaving out a batch or a site is comparing the other samples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aida_tools.compare.tables import read_estimates
from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness.leave_out import leave_out_table

from .conftest import SITES, compare_cohort, make_cohort


@pytest.fixture(scope="module")
def table(compared: Comparison) -> pd.DataFrame:
    return leave_out_table(compared, threads=2)


def test_with_nothing_left_out_it_is_the_estimate(table: pd.DataFrame, compared: Comparison) -> None:
    whole = table[table["unit"] == "none"].set_index("contrast")
    want = compared.estimates.set_index("contrast")
    for column in ("estimate", "std_error", "ci_low", "p_value"):
        pd.testing.assert_series_equal(whole[column].astype(float), want[column], rtol=1e-6, check_names=False)
    assert (whole["change"] == 0).all()


@pytest.mark.parametrize(("unit", "name"), [("batch", "KR_B01"), ("site", "JP")])
def test_it_is_the_comparison_of_the_others(table: pd.DataFrame, tmp_path: Path, unit: str, name: str) -> None:
    samples, counts = make_cohort()
    kept = samples[samples[unit] != name]
    folder = compare_cohort(tmp_path, kept, counts[counts["sample_id"].isin(kept["sample_id"])])
    fresh = read_estimates(folder / "estimates.tsv")
    fresh = fresh[
        (fresh["cell_type"] == "Treg") & (fresh["denominator"] == "CD4_T") & (fresh["model"] == "betabinomial-mixed")
    ].set_index("contrast")
    here = table[(table["unit"] == unit) & (table["left_out"] == name)].set_index("contrast")
    for contrast in ("population: Korean - SG_Chinese", "population: Korean - rest"):
        assert here.loc[contrast, "estimate"] == pytest.approx(fresh.loc[contrast, "estimate"], rel=1e-6)
        assert here.loc[contrast, "std_error"] == pytest.approx(fresh.loc[contrast, "std_error"], rel=1e-5)


def test_a_contrast_that_loses_a_side_says_so(table: pd.DataFrame) -> None:
    lost = table[(table["left_out"] == "JP") & (table["contrast"] == "population: Japanese - Korean")].iloc[0]
    assert lost["status"] == "too-few"
    assert "Japanese has no samples" in lost["note"]


def test_a_batch_is_left_out_of_its_own_contrasts_only(table: pd.DataFrame) -> None:
    asked = set(table.loc[table["left_out"] == "SG_B00", "contrast"])
    assert "population: Japanese - Korean" not in asked
    assert "population: SG_Chinese - SG_Malay" in asked


def test_one_batch_cannot_be_left_out(tmp_path: Path) -> None:
    samples, counts = make_cohort(sites={"SG": (1, SITES["SG"][1])}, donors=24)
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    assert set(leave_out_table(compared)["unit"]) == {"none"}
