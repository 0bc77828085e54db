"""Reliability equals scikit-learn's; ratios are right in simulations; paired differences are the paired t-test's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import ttest_rel
from sklearn.calibration import calibration_curve

from aida_tools.agreement import calibration, kernel


def probabilities(n: int, seed: int = 1) -> tuple[NDArray[np.bool_], NDArray, NDArray[np.int64]]:
    """Truth, probabilities that are too low, and 20 donors."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-2, 2, n)
    return rng.random(n) < expit(log_odds + 0.5), expit(log_odds), rng.integers(0, 20, n)


def one_level(tables: NDArray) -> NDArray[np.int64]:
    return np.zeros(len(tables), dtype=np.int64)


def test_bins_are_those_of_sklearn() -> None:
    focus, p, donor = probabilities(4000)
    p[1:3] = 0.0, 1.0
    keep = np.arange(4000) % 4 > 0
    tables = calibration.tabulate(focus, p, donor, 20, keep)
    observed, predicted = calibration.reliability(tables, one_level(tables), 1)
    share, mean = calibration_curve(focus[keep], p[keep], n_bins=10, strategy="uniform")
    np.testing.assert_allclose(observed.estimate, share)
    np.testing.assert_allclose(predicted, mean)
    assert observed.n_cells.sum() == keep.sum()


def test_errors_and_ratios_are_plain_sums() -> None:
    focus, p, donor = probabilities(4000)
    tables = calibration.tabulate(focus, p, donor, 20, np.ones(4000, bool))
    level = np.arange(20) % 2
    ratio = calibration.expected_to_observed(tables, level, 2)
    error = calibration.calibration_error(tables, level, 2)
    for k in range(2):
        here = donor % 2 == k
        assert ratio.estimate[k] == pytest.approx(p[here].sum() / focus[here].sum())
        residual = p[here] - ratio.estimate[k] * focus[here]
        assert ratio.std_error[k] == pytest.approx(np.sqrt((residual**2).sum()) / focus[here].sum())
        share, mean = calibration_curve(focus[here], p[here], n_bins=10)
        weight = np.bincount(np.minimum((p[here] * 10).astype(int), 9), minlength=10) / here.sum()
        assert error.estimate[k] == pytest.approx((weight * abs(share - mean)).sum())
        assert ratio.n_cells[k] == here.sum()
        assert ratio.n_donors[k] == 10
    assert np.isnan(error.donor_ci_low).all()


def test_a_ratios_error_between_donors_is_near_that_of_the_jackknife() -> None:
    focus, p, _ = probabilities(20_000, seed=2)
    rng = np.random.default_rng(3)
    donor = rng.integers(0, 50, 20_000)
    p = np.clip(p * rng.uniform(0.5, 1.5, 50)[donor], 0, 1)
    tables = calibration.tabulate(focus, p, donor, 50, np.ones(20_000, bool))
    got = calibration.expected_to_observed(tables, one_level(tables), 1)
    left = np.array([p[donor != d].sum() / focus[donor != d].sum() for d in range(50)])
    jackknife = np.sqrt(49 / 50 * ((left - left.mean()) ** 2).sum())
    assert got.donor_std_error[0] == pytest.approx(jackknife, rel=0.03)
    assert got.donor_std_error[0] > 2 * got.std_error[0]


def test_the_ratio_of_true_probabilities_is_1_as_often_as_its_interval_says() -> None:
    rng = np.random.default_rng(4)
    n_studies, n_donors, size = 600, 25, 40
    log_odds = rng.normal(-2.5, 1, (n_studies, n_donors, 1)) + rng.normal(0, 1, (n_studies, n_donors, size))
    p = expit(log_odds).ravel()
    focus = rng.random(p.size) < p
    group = np.repeat(np.arange(n_studies * n_donors), size)
    tables = calibration.tabulate(focus, p, group, n_studies * n_donors, np.ones(p.size, bool))
    got = calibration.expected_to_observed(tables, np.repeat(np.arange(n_studies), n_donors), n_studies)
    covered = np.mean((got.donor_ci_low <= 1) & (got.donor_ci_high >= 1))
    assert 0.93 < covered < 0.975


def test_empty_levels_and_cells_without_the_focus_type_have_no_ratio() -> None:
    tables = calibration.tabulate(np.zeros(4, bool), np.full(4, 0.2), np.zeros(4, int), 1, np.ones(4, bool))
    ratio = calibration.expected_to_observed(tables, np.array([0]), 2)
    assert np.isnan(ratio.estimate).all()
    np.testing.assert_array_equal(ratio.n_cells, [4, 0])
    np.testing.assert_allclose(calibration.calibration_error(tables, np.array([0]), 2).estimate, [0.2, np.nan])


def test_a_difference_in_donors_of_equal_size_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(6)
    totals = np.full((30, 2), 50)
    first = rng.binomial(50, rng.beta(3, 30, 30))
    hits = np.stack([first, rng.binomial(first, 0.8)], axis=1)
    got = kernel.difference(hits, totals, np.zeros(30, int), 1)
    expected = ttest_rel(hits[:, 1] / 50, hits[:, 0] / 50)
    low, high = expected.confidence_interval()
    assert got.estimate[0] == pytest.approx((hits[:, 1] - hits[:, 0]).sum() / 1500)
    assert (got.donor_ci_low[0], got.donor_ci_high[0]) == pytest.approx((low, high))
    # What donors have in common at both depths does not widen the interval.
    alone = kernel.share(hits[:, 1], totals[:, 1], np.zeros(30, int), 1)
    assert got.donor_std_error[0] < 0.7 * alone.donor_std_error[0]


def test_a_difference_covers_where_donors_are_unequal() -> None:
    rng = np.random.default_rng(7)
    n_studies, n_donors, p, kept = 1500, 25, 0.08, 0.85
    donors = rng.beta(8, 92, (n_studies, n_donors))
    total = rng.integers(20, 200, (n_studies, n_donors))
    first = rng.binomial(total, donors)
    hits = np.stack([first.ravel(), rng.binomial(first, kept).ravel()], axis=1)
    totals = np.stack([total.ravel(), total.ravel()], axis=1)
    level = np.repeat(np.arange(n_studies), n_donors)
    got = kernel.difference(hits, totals, level, n_studies)
    true = p * (kept - 1)
    assert 0.925 < np.mean((got.donor_ci_low <= true) & (true <= got.donor_ci_high)) < 0.97


def test_the_same_labels_twice_differ_by_nothing_without_an_interval() -> None:
    hits, totals = np.array([[2, 2], [3, 3], [0, 0]]), np.array([[9, 9], [8, 8], [0, 0]])
    got = kernel.difference(hits, totals, np.array([0, 0, 1]), 2)
    np.testing.assert_array_equal(got.estimate, [0, np.nan])
    np.testing.assert_array_equal(got.n_donors, [2, 0])
    assert np.isnan(got.donor_ci_low).all()
