"""Tables on sites: the bound, plausible site effects, recalibration; truth of a simulation, and named states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness.bound import share_shift, site_bound
from aida_tools.robustness.sites import site_tables, site_weights

from .conftest import EFFECTS, SITES, compare_cohort, make_cohort


def test_at_the_bound_the_interval_touches_no_difference() -> None:
    for estimate, error, df, spread in ((-0.5, 0.1, 20.0, 2.0), (0.8, 0.2, np.inf, 1.36)):
        tau = site_bound(estimate, error, df, spread)
        half = stats.t.ppf(0.975, df) * np.sqrt(error**2 + spread * tau**2)
        assert half == pytest.approx(abs(estimate))


def test_an_interval_that_holds_no_difference_needs_no_site_effect() -> None:
    assert site_bound(0.1, 0.1, 20, 2.0) == 0


def test_share_shift_is_on_the_odds_scale() -> None:
    shifted = 0.04 + share_shift(0.04, np.log(1.5))
    assert shifted / (1 - shifted) == pytest.approx(1.5 * 0.04 / 0.96)
    assert share_shift(0.04, 0.0) == 0


def test_site_weights_of_pairs_are_one_and_minus_one(compared: Comparison) -> None:
    weights = site_weights(compared)
    assert weights["population: Japanese - Korean"] == pytest.approx({"JP": 1, "KR": -1, "SG": 0}, abs=1e-9)
    assert weights["population: Korean - SG_Malay"] == pytest.approx({"JP": 0, "KR": 1, "SG": -1}, abs=1e-9)
    assert weights["population: SG_Chinese - SG_Malay"] == pytest.approx({"JP": 0, "KR": 0, "SG": 0}, abs=1e-6)
    # One third of the rest each: Japanese, and the two populations of SG.
    assert weights["population: Korean - rest"] == pytest.approx({"JP": -1 / 3, "KR": 1, "SG": -2 / 3}, abs=0.02)
    for of_sites in weights.values():
        assert sum(of_sites.values()) == pytest.approx(0, abs=1e-9)  # A shift of all sites alike is no difference.


@pytest.mark.parametrize(
    ("model", "tolerance"),
    # Shifted shares are not quite beta-binomial of the old precision, which the weights hold still.
    [("quasibinomial", 0.02), ("betabinomial-mixed", 0.06)],
)
def test_site_weights_are_what_a_shift_of_a_site_does(compared: Comparison, model: str, tolerance: float) -> None:
    """The odds of the focus type at one site are multiplied, and the model is fitted again."""
    asked = Comparison(replace(compared.results, options=compared.options | {"model": model}))
    d, step, site = asked.primary, 0.1, "SG"
    focus, here = d.types.index("Treg"), (asked.samples["site"] == site).to_numpy()
    share = d.counts[here, focus] / d.totals[here]

    def shifted(by: float) -> pd.Series:
        counts = d.counts.copy()
        counts[here, focus] = d.totals[here] * special.expit(special.logit(share) + by)
        rows = asked.refit(asked.contrasts, denominator=replace(d, counts=counts))
        return pd.Series({row["contrast"]: row["estimate"] for row in rows})

    slope = (shifted(step) - shifted(-step)) / (2 * step)
    weights = site_weights(asked)
    assert len(weights) == len(slope) == 10
    for contrast, of_sites in weights.items():
        assert of_sites[site] == pytest.approx(slope[contrast], abs=tolerance)


def test_tables_of_a_cohort(compared: Comparison) -> None:
    tables = site_tables(compared)
    bound = tables["site_bound"].set_index("contrast")
    assert "population: SG_Chinese - SG_Malay" not in bound.index
    pair = bound.loc["population: Japanese - Korean"]
    assert pair["spread"] == pytest.approx(2)
    half = stats.t.ppf(0.975, pair["df"]) * np.sqrt(pair["std_error"] ** 2 + 2 * pair["site_sd_bound"] ** 2)
    assert half == pytest.approx(abs(pair["estimate"]))
    assert pair["status"] == "bounded"
    assert "odds ratio" in pair["sentence"]
    rest = bound.loc["population: Korean - rest"]
    assert 1 < rest["spread"] < 2
    # Truth: batches differ by SD 0.05, and the sites not at all.
    assert pair["batch_sd_low"] <= 0.05 <= pair["batch_sd_high"]
    assert pair["control_site_sd_low"] == 0
    recalibrated = tables["recalibrated"].set_index("contrast").loc["population: Japanese - Korean"]
    assert recalibrated["status"] == "recalibrated"
    assert recalibrated["recalibrated_std_error"] > recalibrated["std_error"]
    assert recalibrated["recalibrated_ci_low"] < -EFFECTS["Korean"] < recalibrated["recalibrated_ci_high"]


def test_controls_take_a_planted_site_effect_out(tmp_path: Path) -> None:
    samples, counts = make_cohort(5, site_shift={"KR": 0.8}, controls=6, cells=3000)
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    row = site_tables(compared)["recalibrated"].set_index("contrast").loc["population: Japanese - Korean"]
    truth = -EFFECTS["Korean"]
    assert row["ci_high"] < truth  # What is reported misses the truth because of the site ...
    assert row["recalibrated_ci_low"] < truth < row["recalibrated_ci_high"]  # ... and the controls bring it back.
    assert row["recalibrated"] == pytest.approx(truth, abs=0.3)


def test_without_controls_or_site_or_batches_there_are_named_states(tmp_path: Path) -> None:
    samples, counts = make_cohort(2, controls=0)
    tables = site_tables(load_comparison(compare_cohort(tmp_path / "a", samples, counts, models=("quasibinomial",))))
    assert set(tables["recalibrated"]["status"]) == {"no-controls"}
    assert set(tables["controls_effect"]["status"]) == {"not-estimable"}
    assert tables["site_bound"]["note"].str.contains("fewer than two sites").all()
    assert tables["site_bound"]["site_sd_bound"].notna().all()
    nowhere = samples.assign(site=None, batch=None)
    tables = site_tables(load_comparison(compare_cohort(tmp_path / "b", nowhere, counts, models=("quasibinomial",))))
    assert set(tables["site_bound"]["status"]) == {"no-site-recorded"}
    assert tables["site_bound"]["site_sd_bound"].isna().all()


def test_one_site_has_nothing_to_bound(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites={"SG": SITES["SG"]})
    tables = site_tables(load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",))))
    assert tables["site_bound"].empty
    assert tables["recalibrated"].empty
    spread = tables["controls_effect"].set_index("quantity").loc["site_sd"]
    assert spread["note"] == "control samples at fewer than two sites"


def test_one_batch_a_site_has_no_spread_between_batches(tmp_path: Path) -> None:
    sites = {"KR": (1, ("Korean",)), "JP": (1, ("Japanese",))}
    samples, counts = make_cohort(4, sites=sites, donors=20)
    tables = site_tables(load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",))))
    assert tables["site_bound"]["batch_sd"].isna().all()
    assert tables["site_bound"]["note"].str.contains("no site has several batches").all()
    assert set(tables["recalibrated"]["status"]) == {"not-estimable"}


def test_tables_hold_numbers_not_text(compared: Comparison) -> None:
    tables = site_tables(compared)
    for table, column in zip(tables.values(), ("estimate", "density", "estimate", "recalibrated"), strict=True):
        assert isinstance(table, pd.DataFrame)
        assert pd.api.types.is_float_dtype(table[column])
