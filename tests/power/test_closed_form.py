"""The closed forms against algebra, statsmodels and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from aida_tools.core.errors import AidaError
from aida_tools.models.data import Data
from aida_tools.models.quasibinomial import fit_quasibinomial
from aida_tools.power.closed_form import (
    Spread,
    contrast_variance,
    donor_sd,
    donor_variance,
    false_positive_rate,
    minimal_detectable,
    power_of,
    weighted_covariance,
)
from aida_tools.power.plan import Plan, between_site_error, parse_plan, within_site_error


@pytest.mark.parametrize(("n", "ratio"), [(3, 1.0), (70, 1.0), (40, 3.0)])
def test_t_tests_have_the_power_that_statsmodels_gives(n: int, ratio: float) -> None:
    error, df = np.sqrt(1 / n + 1 / (n * ratio)), n * (1 + ratio) - 2
    wanted = TTestIndPower().solve_power(nobs1=n, ratio=ratio, alpha=0.05, power=0.8)
    assert minimal_detectable(error, df) == pytest.approx(wanted, rel=1e-5)
    for effect in (0.1, 0.5, -1.0):
        assert power_of(effect, error, df) == pytest.approx(TTestIndPower().power(effect, n, 0.05, ratio), abs=1e-6)


def test_infinite_degrees_of_freedom_are_the_normal_test() -> None:
    error = np.sqrt(2 / 70)
    assert minimal_detectable(error) == pytest.approx(stats.norm.ppf([0.975, 0.8]).sum() * error, rel=1e-5)
    assert power_of(0.4, error) == pytest.approx(NormalIndPower().power(0.4, 70, 0.05), abs=1e-6)
    assert power_of(0.0, error, [5, 50, np.inf]) == pytest.approx([0.05] * 3, abs=1e-6)


def test_power_has_no_holes_and_ends_at_one() -> None:
    shift = np.linspace(0, 60, 241)
    for df in (1, 2, 5, 20, 100, 1e4):
        critical = stats.t.ppf(0.975, df)
        with np.errstate(all="ignore"):
            wanted = stats.nct.sf(critical, df, shift) + np.nan_to_num(stats.nct.cdf(-critical, df, shift))
        power = power_of(shift, 1.0, df)
        np.testing.assert_allclose(power, wanted, atol=1e-9)
        assert (np.diff(power) > -1e-12).all()
        assert power[-1] == pytest.approx(1, abs=1e-5)
    normal = stats.norm.sf(1.959964 - shift) + stats.norm.cdf(-1.959964 - shift)
    np.testing.assert_allclose(power_of(shift, 1.0), normal, atol=1e-6)
    np.testing.assert_allclose(power_of(shift, 1.0, 1e6), normal, atol=1e-5)
    assert np.isnan(power_of(1.0, np.nan, 5))


def test_the_published_design_anchor() -> None:
    """Donor SD 0.35, 70 against 70, 5 % of 700 cells: doubling the cells moves 1.20 to 1.19 (design notes)."""
    ratios = [
        float(np.exp(minimal_detectable(np.sqrt(2 * donor_variance(0.35, 0.05, cells) / 70)))) for cells in (700, 1400)
    ]
    assert np.round(ratios, 2).tolist() == [1.20, 1.19]


def test_donor_sd_is_the_spread_of_beta_drawn_log_odds() -> None:
    rng = np.random.default_rng(3)
    share, phi = 0.3, 400.0
    drawn = special.logit(rng.beta(share * phi, (1 - share) * phi, 200_000))
    assert donor_sd(phi, share) == pytest.approx(drawn.std(), rel=0.01)


def test_variance_of_a_contrast_is_the_quadratic_form_of_the_full_covariance() -> None:
    rng = np.random.default_rng(1)
    n, spread = 30, Spread(0.3, 0.15, 0.2)
    batch, site = rng.integers(0, 6, n), rng.integers(0, 2, n)
    weights, variance = rng.normal(size=n), rng.uniform(0.1, 0.3, n)
    same = [np.equal.outer(codes, codes) for codes in (batch, site)]
    covariance = np.diag(variance) + spread.batch**2 * same[0] + spread.site**2 * same[1]
    assert contrast_variance(weights, variance, batch, site, spread) == pytest.approx(weights @ covariance @ weights)


def test_covariance_by_batches_is_that_of_the_full_matrix() -> None:
    rng = np.random.default_rng(4)
    n = 25
    batch, variance = rng.permutation(np.arange(n) % 4), rng.uniform(0.1, 0.3, n)
    design = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    full = np.diag(variance) + 0.2**2 * np.equal.outer(batch, batch)
    wanted = np.linalg.inv(design.T @ np.linalg.solve(full, design))
    np.testing.assert_allclose(weighted_covariance(design, variance, batch, 0.2), wanted, rtol=1e-9)


def test_between_sites_batches_and_sites_add_their_share() -> None:
    plan = Plan(donors=60, cells=700, batches=4, sites=2, reference_donors=45, reference_batches=3, reference_sites=1)
    error, df = between_site_error(plan, 0.05, Spread(0.35, 0.15, 0.2))
    v = donor_variance(0.35, 0.05, 700)
    wanted = v * (1 / 60 + 1 / 45) + 0.15**2 * (1 / 4 + 1 / 3) + 0.2**2 * (1 / 2 + 1)
    assert error == pytest.approx(np.sqrt(wanted))
    assert df == 5


def test_within_sites_batches_and_sites_cancel() -> None:
    plan = Plan(donors=70, cells=700, batches=5)
    error, df = within_site_error(plan, 0.05, Spread(0.35, 0.5, 9.0))
    assert error == pytest.approx(np.sqrt(2 * donor_variance(0.35, 0.05, 700) / 70))
    assert df == 140 - 10 - 1


def test_within_sites_uneven_dealing_is_least_squares_with_batch_effects() -> None:
    plan = Plan(donors=11, cells=500, batches=2, reference_donors=23, reference_batches=3)
    a = np.r_[np.ones(11), np.zeros(23)]
    batch = np.r_[np.arange(11) % 5, np.arange(23) % 5]
    design = np.column_stack([a, np.equal.outer(batch, np.arange(5))])
    wanted = np.sqrt(donor_variance(0.3, 0.1, 500) * np.linalg.inv(design.T @ design)[0, 0])
    assert within_site_error(plan, 0.1, Spread(0.3, 0.1))[0] == pytest.approx(wanted)


def test_a_plan_in_words() -> None:
    plan = Plan(donors=12, cells=500, batches=2, sites=1, reference_donors=9, reference_batches=1, reference_sites=1)
    assert str(plan) == "12 donors in 2 batches at 1 site against 9 in 1 at 1 site, 500 cells a donor"
    assert "in 1 batch at 1 site" in str(Plan(donors=12, cells=500, batches=1))
    assert "in 2 batches at 2 sites" in str(Plan(donors=12, cells=500, batches=2, sites=2))


def test_without_a_shared_batch_nothing_is_estimable_within_sites() -> None:
    plan = Plan(donors=1, cells=500, batches=1, reference_donors=1, reference_batches=1)
    # Two batches, and the one donor of each population is dealt to the first: both there, but no df left.
    assert within_site_error(plan, 0.1, Spread(0.3, 0.1))[1] == 0


def test_an_ignored_site_makes_the_false_positives_of_the_simulation() -> None:
    """Least squares on logits of 160 against 70 donors, 11 and 14 batches of SD 0.15, sites of SD 0.2."""
    rng = np.random.default_rng(5)
    runs, batch = 3000, np.r_[np.arange(160) % 11, 11 + np.arange(70) % 14]
    y = rng.normal(0, 0.39, (runs, 230)) + rng.normal(0, 0.15, (runs, 25))[:, batch]
    y += np.repeat(rng.normal(0, 0.2, (runs, 2)), [160, 70], axis=1)
    declared = np.mean(stats.ttest_ind(y[:, :160], y[:, 160:], axis=1).pvalue < 0.05)
    weights = np.r_[np.full(160, 1 / 160), np.full(70, -1 / 70)]
    site = np.repeat([0, 1], [160, 70])
    actual = contrast_variance(weights, np.full(230, 0.39**2), batch, site, Spread(0.0, 0.15, 0.2))
    assumed = (0.39**2 + 0.15**2) * (1 / 160 + 1 / 70)
    assert false_positive_rate(np.sqrt(assumed), np.sqrt(actual), 228) == pytest.approx(declared, abs=0.03)


def test_power_of_counts_fitted_as_counts_is_the_closed_form() -> None:
    """Binomial cells of logit-normal donors, 60 against 60; Monte Carlo standard error 0.01."""
    rng = np.random.default_rng(11)
    runs, n, effect, share, cells = 2000, 60, 0.17, 0.05, 700
    design = np.column_stack([np.ones(2 * n), np.repeat([1.0, 0.0], n)])
    declared = 0
    for _ in range(runs):
        eta = special.logit(share) + effect * design[:, 1] + rng.normal(0, 0.35, 2 * n)
        counts = rng.binomial(cells, special.expit(eta))
        estimate = fit_quasibinomial(Data(counts[:, None], np.full(2 * n, float(cells)), design))[0].contrast(
            np.array([0.0, 1.0])
        )
        declared += abs(estimate.value / estimate.std_error) > stats.t.ppf(0.975, estimate.df)
    plan = Plan(donors=n, cells=cells, batches=1)
    assert declared / runs == pytest.approx(
        float(power_of(effect, within_site_error(plan, share, Spread(0.35, 0.0))[0], 2 * n - 2)), abs=0.04
    )


def test_power_between_sites_is_that_of_batch_means() -> None:
    """The t test on batch means is exact for equal batches, so its power is the closed form's."""
    rng = np.random.default_rng(7)
    runs, batches, each, effect = 4000, 6, 15, 0.3
    plan = Plan(donors=batches * each, cells=700, batches=batches)
    spread = Spread(0.35, 0.15)
    sd = np.sqrt(donor_variance(spread.donor, 0.05, 700))
    means = rng.normal(0, 0.15, (runs, 2, batches)) + rng.normal(0, sd / np.sqrt(each), (runs, 2, batches))
    declared = np.mean(stats.ttest_ind(means[:, 0] + effect, means[:, 1], axis=1).pvalue < 0.05)
    error, df = between_site_error(plan, 0.05, spread)
    assert float(power_of(effect, error, df)) == pytest.approx(declared, abs=0.025)


def test_a_plan_is_read_with_the_reference_like_the_new_one() -> None:
    assert parse_plan("donors=70, cells=700,batches=5,sites=2,reference_donors=200") == Plan(70, 700, 5, 2, 200, 5, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("donor=70,cells=700,batches=5", "Did you mean 'donors'"),
        ("donors=70,cells=700", "'batches' is missing"),
        ("donors=70,cells=-1,batches=5", "cells: value '-1' must be a whole number above 0"),
        ("donors=0,cells=1,batches=5", "donors: value '0'"),
        ("donors=3,cells=700,batches=5", "every batch a donor"),
        ("donors=30,cells=700,batches=2,sites=3", "every site needs a batch"),
        ("donors=70,donors=80", "twice"),
        ("", "is not of the form"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(AidaError, match=r"^plan ") as caught:
        parse_plan(text)
    assert words in str(caught.value)
