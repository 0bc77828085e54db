"""What controls say of sites: closed forms, coverage, refusals, false calls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special, stats

from aida_tools.robustness import reml
from aida_tools.robustness.controls import (
    Controls,
    Spread,
    false_call_difference,
    noticeable,
    recalibrate,
    site_difference,
    site_shares,
    site_spread,
)


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


def test_runs_and_not_samples_are_the_degrees_of_freedom() -> None:
    """Three donors in each of two runs a site: the t test of the run means, on 4 - 2 degrees of freedom."""
    rng = np.random.default_rng(1)
    runs, donors = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    totals = np.full(12, 3000.0)
    counts = rng.binomial(3000, special.expit(-3 + 0.3 * donors + rng.normal(0, 0.2, 4)[runs])).astype(float)
    found = site_difference(Controls(counts, totals, runs // 2, runs, donors), np.array([1.0, -1.0]))
    means = reml.empirical_logits(counts, totals)[0].reshape(4, 3).mean(axis=1)
    want = stats.ttest_ind(means[:2], means[2:])
    assert found.df == pytest.approx(2)
    assert found.estimate == pytest.approx(means[:2].mean() - means[2:].mean())
    assert found.estimate / found.std_error == pytest.approx(want.statistic, rel=1e-5)


def test_the_share_of_a_site_is_that_of_its_average_donor() -> None:
    runs, donors = np.repeat(np.arange(6), 2), np.tile(np.arange(2), 6)
    counts = np.random.default_rng(3).binomial(2000, 0.05, 12).astype(float)
    controls = Controls(counts, np.full(12, 2000.0), runs // 3, runs, donors)
    logits = reml.empirical_logits(counts, controls.totals)[0].reshape(2, 3, 2)
    for found, at_site in zip(site_shares(controls), logits, strict=True):
        assert found.estimate == pytest.approx(at_site.mean())
        assert found.df == pytest.approx(4)


def test_intervals_of_the_controls_cover_the_truth() -> None:
    """150 sets of controls: 95 % of the intervals of a site difference hold it."""
    rng = np.random.default_rng(2)
    truth, covered = 0.3, 0
    for _ in range(150):
        found = site_difference(draw_controls(rng, np.array([0.0, truth, 0.1]), batches=4), np.array([-1.0, 1.0, 0.0]))
        half = stats.t.ppf(0.975, found.df) * found.std_error
        covered += abs(found.estimate - truth) <= half
    # Three standard errors of 95 % in 150 draws.
    assert 135 <= covered <= 149


def spread_of(controls: Controls) -> Spread | str:
    return site_spread(controls, np.array([0.0, 0.5]))


def test_spread_of_many_sites_is_found() -> None:
    rng = np.random.default_rng(4)
    spread = spread_of(draw_controls(rng, rng.normal(0, 0.5, 40), batches=4, batch_sd=0.2))
    assert isinstance(spread, Spread)
    assert spread.site[1] < 0.5 < spread.site[2]
    assert spread.batch[1] < 0.2 < spread.batch[2]


def test_few_sites_leave_the_spread_wide_open() -> None:
    spread = spread_of(draw_controls(np.random.default_rng(5), np.array([0.0, 0.5]), batches=3))
    assert isinstance(spread, Spread)
    assert spread.site[2] == reml.MAX_SD


def test_a_zero_count_is_an_ordinary_control() -> None:
    controls = draw_controls(np.random.default_rng(6), np.array([0.0, 0.2]), cells=30)
    controls.counts[0] = 0
    found = site_difference(controls, np.array([-1.0, 1.0]))
    assert np.isfinite(found.estimate)
    assert found.std_error > 0


def test_the_likelihood_of_the_site_sd_is_the_profile_of_the_dense_one() -> None:
    controls = draw_controls(np.random.default_rng(7), np.array([0.0, 0.5, 0.2]), batches=4)
    sds = np.array([0.0, 0.2, 0.6])
    spread = site_spread(controls, sds)
    assert isinstance(spread, Spread)
    response, variance = reml.empirical_logits(controls.counts, controls.totals)
    x = np.column_stack([np.ones(12), controls.donors])
    same = (controls.sites[:, None] == controls.sites).astype(float)

    def minus(batch: float, site: float) -> float:
        inverse = np.linalg.inv(np.diag(variance + batch**2) + site**2 * same)
        information = x.T @ inverse @ x
        rest = response - x @ np.linalg.solve(information, x.T @ inverse @ response)
        logs = np.linalg.slogdet(information)[1] - np.linalg.slogdet(inverse)[1] + 10 * np.log(2 * np.pi)
        return float(logs + rest @ inverse @ rest) / 2

    for sd, found in zip(sds, spread.loglik, strict=True):
        best = optimize.minimize_scalar(minus, bounds=(0, 2), args=(sd,), method="bounded", options={"xatol": 1e-8})
        assert found == pytest.approx(-best.fun, abs=1e-5)


def test_controls_that_were_run_once_a_site_are_refused_whatever_they_hold() -> None:
    """Batch and site are the same columns: no number is given, however many donors there are."""
    sites, donors = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    counts = np.random.default_rng(1).binomial(2000, 0.05, 9).astype(float)
    controls = Controls(counts, np.full(9, 2000.0), sites, sites, donors)
    why = "the controls were run once a site: a difference between runs cannot be told apart from one of the sites"
    assert spread_of(controls) == why
    nothing = (pytest.approx(np.nan, nan_ok=True),) * 3
    assert site_difference(controls, np.array([1.0, -1, 0])) == (*nothing, why)
    assert [found.problem for found in site_shares(controls)] == [why] * 3


def test_one_site_that_was_run_twice_tells_for_all() -> None:
    sites, runs = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    counts = np.array([90.0, 110, 100, 130, 80, 105])
    controls = Controls(counts, np.full(6, 2000.0), sites, runs, np.tile(np.arange(2), 3))
    assert site_difference(controls, np.array([1.0, -1.0])).df == pytest.approx(1)
    assert isinstance(spread_of(controls), Spread)


def test_controls_that_cannot_tell_say_why() -> None:
    one = np.zeros(4, int)
    alone = Controls(np.full(4, 5.0), np.full(4, 100.0), one, np.arange(4), one)
    assert spread_of(alone) == "control samples at fewer than two sites"
    two = np.array([0, 0, 1, 1])
    own = Controls(np.full(4, 5.0), np.full(4, 100.0), two, np.arange(4), two)
    assert spread_of(own) == "no control donor was run at two sites"
    assert "no control donor links" in site_difference(own, np.array([1.0, -1.0])).problem
    donors = np.array([0, 1, 0, 1])
    turns = Controls(np.array([5.0, 6, 7, 9]), np.full(4, 100.0), two, np.arange(4), donors)
    assert site_difference(turns, np.array([1.0, -1.0])).df == pytest.approx(1)
    more = Controls(np.array([5.0, 6, 7]), np.full(3, 100.0), two[:3], np.arange(3), donors[:3])
    assert "the control donors differ between the runs" in site_difference(more, np.array([1.0, -1.0])).problem
    none = Controls(*(np.empty(0, int) for _ in range(5)))
    assert spread_of(none) == "control samples at fewer than two sites"
    assert site_shares(none) == []


def test_batches_that_are_not_recorded_are_no_runs() -> None:
    controls = draw_controls(np.random.default_rng(1), np.array([0.0, 0.5]))
    every, some = controls._replace(unknown=16), controls._replace(unknown=3)
    assert spread_of(every) == (
        "the batches of the control samples are not recorded: runs cannot be told apart from sites"
    )
    assert site_difference(some, np.array([1.0, -1.0])).problem.startswith("the batches of 3 of 16 control samples are")


def test_recalibration_adds_the_variances_and_takes_welch_degrees_of_freedom() -> None:
    value, error, df = recalibrate((0.5, 0.3, 20.0), (0.2, 0.4, 5.0))
    assert value == pytest.approx(0.3)
    assert error == pytest.approx(0.5)
    # Satterthwaite: 0.25^2 / (0.09^2 / 20 + 0.16^2 / 5).
    assert df == pytest.approx(0.25**2 / (0.09**2 / 20 + 0.16**2 / 5))


def measured(share: float, false: float) -> float:
    return share + false * (1 - share)


@pytest.mark.parametrize(("control", "wanted"), [(0.02, 0.08), (0.05, 0.0)])
def test_false_calls_of_a_site_over_correct_donors_with_more_cells(control: float, wanted: float) -> None:
    """0.3 % false calls move log-odds by 0.14 at a share of 2 % and by 0.06 at 5 %."""
    donors, false = 0.05, 0.003
    moved = special.logit(measured(donors, false)) - special.logit(donors)
    assert moved == pytest.approx(0.058, abs=1e-3)
    shares = np.array([measured(control, false), control])
    other = false_call_difference(np.array([1.0, -1]), shares, (measured(donors, false), donors))
    assert other == pytest.approx(moved)
    correction = float(special.logit(shares) @ [1, -1])
    assert correction - other == pytest.approx(wanted, abs=3e-3)
    # With the sides exchanged everything changes its sign.
    flipped = false_call_difference(np.array([-1.0, 1]), shares, (donors, measured(donors, false)))
    assert flipped == pytest.approx(-moved)


def test_false_calls_at_several_sites_of_a_side_are_weighed() -> None:
    shares, weights = np.array([0.03, 0.026, 0.02, 0.4]), np.array([1.0, -0.25, -0.75, 0.0])
    false = (shares[:2] - 0.02) / 0.98
    at = np.array([0.06, 0.05])
    want = weights[:2] @ (special.logit(at) - special.logit((at - false) / (1 - false)))
    assert false_call_difference(weights, shares, (0.06, 0.05)) == pytest.approx(want)


def test_false_calls_of_more_than_was_measured_are_no_number() -> None:
    assert np.isnan(false_call_difference(np.array([1.0, -1]), np.array([0.2, 0.02]), (0.05, 0.04)))


@pytest.mark.parametrize(
    ("difference", "std_error", "wanted"),
    [(0.03, 0.5, True), (-0.03, 0.5, True), (0.015, 0.5, False), (0.015, 0.05, True), (0.01, 0.05, False)],
)
def test_two_hundredths_or_a_quarter_of_the_error_are_spoken_of(
    difference: float, std_error: float, wanted: bool
) -> None:
    assert noticeable(difference, std_error) is wanted
