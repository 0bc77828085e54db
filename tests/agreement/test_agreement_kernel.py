"""The figures equal those of scikit-learn and statsmodels; the errors between donors those of cluster-robust OLS."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, confusion_matrix, precision_recall_fscore_support
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from aida_tools.agreement import kernel


def answers(n: int, seed: int = 1) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Answers of two annotators who are mostly right, and 12 donors of unequal size."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, 12, n) * rng.integers(0, 2, n)
    true = rng.random(n) < 0.05 + 0.02 * (donor % 4)
    return true ^ (rng.random(n) < 0.03), true ^ (rng.random(n) < 0.06), donor


def one_level(tables: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.zeros(len(tables), dtype=np.int64)


def tables_of(a: NDArray, b: NDArray, donor: NDArray, n_donors: int = 12) -> NDArray[np.int64]:
    return kernel.tabulate(a, b, donor, n_donors, np.ones(len(a), dtype=bool))


def test_tables_are_confusion_matrices_of_the_kept_cells() -> None:
    a, b, donor = answers(3000)
    keep = np.arange(3000) % 3 > 0
    donor[:50] = -1
    tables = kernel.tabulate(a, b, donor, 12, keep)
    for d in range(12):
        own = keep & (donor == d)
        np.testing.assert_array_equal(tables[d], confusion_matrix(a[own], b[own], labels=[False, True]))


def test_kappa_and_its_error_are_those_of_sklearn_and_statsmodels() -> None:
    a, b, donor = answers(3000)
    tables = tables_of(a, b, donor)
    got = kernel.kappa(tables, one_level(tables), 1)
    reference = cohens_kappa(tables.sum(axis=0))
    assert got.estimate[0] == pytest.approx(cohen_kappa_score(a, b))
    assert got.std_error[0] == pytest.approx(reference.std_kappa)
    assert (got.ci_low[0], got.ci_high[0]) == pytest.approx((reference.kappa_low, reference.kappa_upp))
    assert (got.n_cells[0], got.n_donors[0]) == (3000, 12)


def test_levels_are_separate() -> None:
    a, b, donor = answers(3000)
    tables = tables_of(a, b, donor)
    level = np.arange(12) % 3
    for estimate in (kernel.kappa, kernel.f1):
        together = estimate(tables, level, 4)
        for one in range(3):
            alone = estimate(tables[level == one], np.zeros(4, dtype=np.int64), 1)
            for name in ("n_cells", "n_donors", "estimate", "std_error", "donor_std_error", "donor_ci_high"):
                assert getattr(together, name)[one] == pytest.approx(getattr(alone, name)[0])
        assert together.n_cells[3] == 0
        assert np.isnan(together.estimate[3])


def test_sensitivity_precision_and_f1_are_those_of_sklearn() -> None:
    a, b, donor = answers(3000)
    tables = tables_of(a, b, donor)
    precision, recall, f1, _ = precision_recall_fscore_support(a, b, average="binary")
    level = one_level(tables)
    assert kernel.share(tables[:, 1, 1], tables[:, 1].sum(axis=1), level, 1).estimate[0] == pytest.approx(recall)
    assert kernel.share(tables[:, 1, 1], tables[:, :, 1].sum(axis=1), level, 1).estimate[0] == pytest.approx(precision)
    assert kernel.f1(tables, level, 1).estimate[0] == pytest.approx(f1)


@pytest.mark.parametrize("hits", [0, 1, 37, 400])
def test_the_interval_from_cells_is_wilsons(hits: int) -> None:
    got = kernel.share(np.array([hits]), np.array([400]), np.array([0]), 1)
    low, high = proportion_confint(hits, 400, method="wilson")
    assert (got.ci_low[0], got.ci_high[0]) == pytest.approx((low, high), abs=1e-12)


def test_the_error_between_donors_is_the_cluster_robust_one() -> None:
    a, _, donor = answers(3000)
    hits, totals = np.bincount(donor[a], minlength=12), np.bincount(donor, minlength=12)
    got = kernel.share(hits, totals, np.zeros(12, dtype=np.int64), 1)
    fit = OLS(a.astype(float), np.ones((3000, 1))).fit()
    robust = fit.get_robustcov_results("cluster", groups=donor, use_correction=False)
    assert got.donor_std_error[0] == pytest.approx(robust.bse[0] * np.sqrt(12 / 11))


@pytest.mark.parametrize("estimate", [kernel.kappa, kernel.f1])
def test_linearised_errors_are_near_those_of_the_jackknife(estimate) -> None:  # type: ignore[no-untyped-def]
    a, b, _ = answers(40_000, seed=3)
    donor = np.random.default_rng(4).integers(0, 60, 40_000)
    flip = np.random.default_rng(5).random(60)[donor] < 0.3
    tables = tables_of(a, b ^ (flip & (np.arange(40_000) % 9 == 0)), donor, 60)
    got = estimate(tables, one_level(tables), 1)
    left = [estimate(np.delete(tables, d, axis=0), one_level(tables)[1:], 1).estimate[0] for d in range(60)]
    jackknife = np.sqrt(59 / 60 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert got.donor_std_error[0] == pytest.approx(jackknife, rel=0.05)
    assert got.donor_std_error[0] > 2 * got.std_error[0]


def test_one_cell_a_donor_gives_the_error_of_independent_cells() -> None:
    a, b, _ = answers(500)
    tables = tables_of(a, b, np.arange(500), 500)
    for got in (
        kernel.kappa(tables, one_level(tables), 1),
        kernel.share(tables[:, 1].sum(axis=1), tables.sum(axis=(1, 2)), one_level(tables), 1),
    ):
        assert got.donor_std_error[0] == pytest.approx(got.std_error[0] * np.sqrt(500 / 499))


def test_intervals_between_donors_cover_and_those_from_cells_do_not() -> None:
    rng = np.random.default_rng(11)
    n_studies, n_donors, p, rho = 2000, 25, 0.7, 0.1
    size = (1 - rho) / rho
    donors = rng.beta(p * size, (1 - p) * size, (n_studies, n_donors))
    totals = rng.integers(5, 60, (n_studies, n_donors))
    level = np.repeat(np.arange(n_studies), n_donors)
    got = kernel.share(rng.binomial(totals, donors).ravel(), totals.ravel(), level, n_studies)
    between = np.mean((got.donor_ci_low <= p) & (p <= got.donor_ci_high))
    from_cells = np.mean((got.ci_low <= p) & (p <= got.ci_high))
    assert 0.93 < between < 0.97
    assert from_cells < 0.75


def test_degenerate_tables_give_no_number_or_a_known_one() -> None:
    nothing, same, constant, perfect = [[0, 0], [0, 0]], [[9, 0], [0, 0]], [[7, 2], [0, 0]], [[6, 0], [0, 3]]
    got = kernel.kappa(np.array([nothing, same, constant, perfect]), np.arange(4), 4)
    np.testing.assert_array_equal(got.estimate, [np.nan, np.nan, 0, 1])
    assert np.isnan(got.std_error).all()
    assert np.isnan(got.ci_low).all()
    shares = kernel.share(np.array([0, 3, 2]), np.array([0, 3, 5]), np.arange(3), 3)
    np.testing.assert_array_equal(np.isnan(shares.estimate), [True, False, False])
    assert np.isnan(shares.donor_ci_low).all()
    assert shares.ci_high[1] == 1


def test_an_interval_between_donors_is_never_narrower_than_one_from_cells() -> None:
    got = kernel.share(np.array([5, 5, 5]), np.array([50, 50, 50]), np.zeros(3, dtype=np.int64), 1)
    assert got.donor_std_error[0] == 0
    assert got.donor_ci_low[0] < got.ci_low[0] < got.ci_high[0] < got.donor_ci_high[0]


def test_depth_bins_are_tenths_and_do_not_depend_on_order() -> None:
    rng = np.random.default_rng(2)
    total = rng.permutation(1000)
    bins, edges = kernel.depth_bins(total)
    np.testing.assert_array_equal(np.bincount(bins), [100] * 10)
    assert all(total[bins == b].min() >= edges[b] for b in range(10))
    tied = np.repeat([5, 9], [600, 400])
    order = rng.permutation(1000)
    np.testing.assert_array_equal(kernel.depth_bins(tied)[0][order], kernel.depth_bins(tied[order])[0])
    assert len(np.unique(kernel.depth_bins(np.full(7, 3))[0])) == 1
