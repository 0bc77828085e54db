"""Site bound, controls, recalibration: algebra, truth of a simulation, and named states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness import reml
from aida_tools.robustness.bound import share_shift, site_bound
from aida_tools.robustness.controls import Controls, Spread, recalibrate, site_difference, site_shares, site_spread
from aida_tools.robustness.sites import Sites, site_tables

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
    sites = Sites(compared)
    assert sites.names == ["JP", "KR", "SG"]
    np.testing.assert_allclose(sites.weights["population: Japanese - Korean"], [1, -1, 0], atol=1e-9)
    np.testing.assert_allclose(sites.weights["population: Korean - SG_Malay"], [0, 1, -1], atol=1e-9)
    np.testing.assert_allclose(sites.weights["population: SG_Chinese - SG_Malay"], 0, atol=1e-9)


def test_site_weights_of_one_against_the_rest_are_the_sites_shares_of_the_rest(tmp_path: Path) -> None:
    """Least squares without covariates: the mean of the rest moves by each site's share of its samples."""
    samples, counts = make_cohort(2)
    options = {"models": ("propeller-logit",), "formula": "~ population"}
    weights = Sites(load_comparison(compare_cohort(tmp_path, samples, counts, **options))).weights
    # 48 samples at JP, 48 at KR, 36 of each population at SG; half a cell more on either side damps by 2 %.
    np.testing.assert_allclose(weights["population: Korean - rest"], [-48 / 120, 1, -72 / 120], rtol=0.03)
    np.testing.assert_allclose(weights["population: SG_Malay - rest"], [-48 / 132, -48 / 132, 96 / 132], rtol=0.05)


def test_site_weights_sum_to_zero_whatever_the_model(compared: Comparison) -> None:
    """A shift of all sites alike is no difference between populations."""
    for model in ("betabinomial-mixed", "quasibinomial", "log10-ols"):
        results = replace(compared.results, options=compared.options | {"model": model})
        for weights in Sites(Comparison(results)).weights.values():
            assert abs(weights.sum()) < 0.05


def draw_controls(
    rng: np.random.Generator, shift: np.ndarray, *, batches: int = 8, batch_sd: float = 0.1, cells: int = 2000
) -> Controls:
    """Two control donors in turn in every batch of every site."""
    sites = np.repeat(np.arange(len(shift)), batches)
    donors = np.tile(np.arange(batches) % 2, len(shift))
    eta = -3 + shift[sites] + rng.normal(0, batch_sd, len(sites)) + np.array([0.0, 0.4])[donors]
    totals = np.full(len(sites), float(cells))
    counts = rng.binomial(cells, special.expit(eta)).astype(float)
    return Controls(counts, totals, sites, np.arange(len(sites)), donors)


def test_site_difference_is_the_weighted_difference_of_logits_for_balanced_controls() -> None:
    controls = draw_controls(np.random.default_rng(1), np.array([0.0, 0.5]))
    response, _ = reml.empirical_logits(controls.counts, controls.totals)
    found = site_difference(controls, np.array([-1.0, 1.0]))
    assert found.estimate == pytest.approx(response[8:].mean() - response[:8].mean(), abs=1e-6)
    assert found.df == 16 - 3


def test_intervals_of_the_controls_cover_the_truth() -> None:
    """200 sets of controls: 95 % of the intervals of a site difference hold it."""
    rng = np.random.default_rng(2)
    truth, covered = 0.3, 0
    for _ in range(200):
        found = site_difference(draw_controls(rng, np.array([0.0, truth, 0.1]), batches=4), np.array([-1.0, 1.0, 0.0]))
        half = stats.t.ppf(0.975, found.df) * found.std_error
        covered += abs(found.estimate - truth) <= half
    # Three standard errors of 95 % in 200 draws.
    assert 180 <= covered <= 199


def test_spread_of_many_sites_is_found() -> None:
    rng = np.random.default_rng(4)
    spread = site_spread(draw_controls(rng, rng.normal(0, 0.5, 40), batches=4, batch_sd=0.2))
    assert isinstance(spread, Spread)
    assert spread.site[1] < 0.5 < spread.site[2]
    assert spread.batch[1] < 0.2 < spread.batch[2]


def test_few_sites_leave_the_spread_wide_open() -> None:
    spread = site_spread(draw_controls(np.random.default_rng(5), np.array([0.0, 0.5]), batches=3))
    assert isinstance(spread, Spread)
    assert spread.site[2] == reml.MAX_SD


def test_a_zero_count_is_an_ordinary_control() -> None:
    controls = draw_controls(np.random.default_rng(6), np.array([0.0, 0.2]), cells=30)
    controls.counts[0] = 0
    found = site_difference(controls, np.array([-1.0, 1.0]))
    assert np.isfinite(found.estimate)
    assert found.std_error > 0


def test_controls_that_cannot_tell_say_why() -> None:
    one = np.zeros(4, int)
    alone = Controls(np.full(4, 5.0), np.full(4, 100.0), one, np.arange(4), one)
    assert site_spread(alone) == "control samples at fewer than two sites"
    two = np.array([0, 0, 1, 1])
    own = Controls(np.full(4, 5.0), np.full(4, 100.0), two, np.arange(4), two)
    assert site_spread(own) == "no control donor was run at two sites"
    assert "no control donor links" in site_difference(own, np.array([1.0, -1.0])).problem
    single = Controls(np.full(2, 5.0), np.full(2, 100.0), np.arange(2), np.arange(2), np.zeros(2, int))
    assert "one control sample" in site_difference(single, np.array([1.0, -1.0])).problem
    none = Controls(*(np.empty(0, int) for _ in range(5)))
    assert site_spread(none) == "control samples at fewer than two sites"
    assert site_shares(none) == []


def test_recalibration_adds_the_variances_and_takes_welch_degrees_of_freedom() -> None:
    value, error, df = recalibrate((0.5, 0.3, 20.0), (0.2, 0.4, 5.0))
    assert value == pytest.approx(0.3)
    assert error == pytest.approx(0.5)
    # Satterthwaite: 0.25^2 / (0.09^2 / 20 + 0.16^2 / 5).
    assert df == pytest.approx(0.25**2 / (0.09**2 / 20 + 0.16**2 / 5))


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
    for table in site_tables(compared).values():
        assert isinstance(table, pd.DataFrame)
        assert pd.api.types.is_float_dtype(table["estimate"])
