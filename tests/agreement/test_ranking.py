"""Curves and average precision equal those of scikit-learn; errors between donors those of the jackknife."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, precision_recall_curve

from aida_tools.agreement import ranking


def scores(n: int, seed: int = 1, n_donors: int = 30) -> tuple[NDArray[np.bool_], NDArray, NDArray[np.int64]]:
    """Truth, a score that is right on average and better in some donors, and the donors."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, n_donors, n)
    focus = rng.random(n) < 0.05 + 0.05 * (donor % 3)
    return focus, rng.normal(size=n) + focus * (1 + 0.4 * (donor % 4)), donor


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_curve_and_area_are_those_of_sklearn_also_with_ties(decimals: int) -> None:
    focus, score, donor = scores(3000)
    score = np.round(score, decimals)
    got = ranking.curve(focus, score)
    precision, recall, threshold = precision_recall_curve(focus, score)
    np.testing.assert_allclose(got.threshold, threshold[::-1])
    np.testing.assert_allclose(got.precision, precision[:-1][::-1])
    np.testing.assert_allclose(got.recall, recall[:-1][::-1])
    np.testing.assert_array_equal(got.n_called, [(score >= t).sum() for t in got.threshold])
    area = ranking.average_precision(focus, score, donor)
    assert area.estimate[0] == pytest.approx(average_precision_score(focus, score))
    assert (area.n_cells[0], area.n_donors[0]) == (3000, 30)


def test_cells_without_a_score_are_called_at_no_threshold() -> None:
    focus, score, donor = scores(2000)
    score[::5] = np.nan
    known = ~np.isnan(score)
    got = ranking.curve(focus, score)
    assert got.n_called[-1] == known.sum()
    assert got.recall[-1] == pytest.approx(focus[known].sum() / focus.sum())
    # Average precision is a mean over the cells of the focus type; those without a score add nothing to it.
    among_known = average_precision_score(focus[known], score[known])
    area = ranking.average_precision(focus, score, donor).estimate[0]
    assert area == pytest.approx(among_known * focus[known].sum() / focus.sum())


def test_steps_reach_every_hundredth_of_recall_first() -> None:
    focus, score, _ = scores(5000)
    whole = ranking.curve(focus, score)
    few = whole.steps(100)
    assert len(few.recall) == 100
    assert few.recall[-1] == 1
    for k in (1, 17, 50, 100):
        at = np.flatnonzero(whole.recall >= k / 100 - 1e-12)[0]
        assert (few.threshold[k - 1], few.precision[k - 1]) == (whole.threshold[at], whole.precision[at])
    assert len(ranking.curve(focus[:40], np.zeros(40)).steps(100).recall) == 1


def test_the_error_between_donors_is_near_that_of_the_jackknife() -> None:
    focus, score, donor = scores(20_000, seed=3, n_donors=60)
    score[::7] = np.nan
    score += np.random.default_rng(4).normal(0, 1, 60)[donor]
    got = ranking.average_precision(focus, score, donor)
    left = [
        ranking.average_precision(focus[donor != d], score[donor != d], donor[donor != d]).estimate[0]
        for d in range(60)
    ]
    jackknife = np.sqrt(59 / 60 * ((np.array(left) - np.mean(left)) ** 2).sum())
    assert got.donor_std_error[0] == pytest.approx(jackknife, rel=0.05)
    assert got.donor_std_error[0] > 2 * got.std_error[0]


def test_one_cell_a_donor_gives_the_error_of_independent_cells() -> None:
    focus, score, _ = scores(400)
    got = ranking.average_precision(focus, score, np.arange(400))
    assert got.donor_std_error[0] == pytest.approx(got.std_error[0] * np.sqrt(400 / 399))


def test_intervals_between_donors_cover() -> None:
    rng = np.random.default_rng(5)
    n_donors, size, shift = 40, 60, 1.5
    # The area of the population, by integration: cells of all donors together are two mixtures of normals.
    spread = np.hypot(1, 0.7)
    t = np.linspace(-8, 10, 4001)
    right, wrong = 0.1 * norm.sf(t, shift, spread), 0.9 * norm.sf(t, 0, spread)
    true = float(np.trapezoid(norm.pdf(t, shift, spread) * right / (right + wrong), t))
    found = []
    for _ in range(400):
        donor = np.repeat(np.arange(n_donors), size)
        focus = rng.random(donor.size) < 0.1
        score = rng.normal(size=donor.size) + shift * focus + 0.7 * rng.normal(size=n_donors)[donor]
        got = ranking.average_precision(focus, score, donor)
        found.append([got.estimate, got.donor_std_error, got.donor_ci_low, got.donor_ci_high, got.ci_low, got.ci_high])
    estimate, error, low, high, cells_low, cells_high = np.array(found)[..., 0].T
    assert error.mean() == pytest.approx(estimate.std(), rel=0.1)
    between = np.mean((low <= true) & (true <= high))
    # Average precision is a little too high in small samples, so that slightly fewer than 95 % cover.
    assert 0.89 < between < 0.97
    assert np.mean((cells_low <= true) & (true <= cells_high)) < between


def test_degenerate_scores_give_no_number_or_a_known_one() -> None:
    donor, yes = np.repeat([0, 1], 5), np.arange(10) % 5 == 0
    none = ranking.average_precision(np.zeros(10, bool), np.arange(10.0), donor)
    perfect = ranking.average_precision(yes, yes * 1.0, donor)
    unscored = ranking.average_precision(yes, np.full(10, np.nan), donor)
    assert np.isnan(none.estimate[0])
    assert (perfect.estimate[0], unscored.estimate[0]) == (1, 0)
    for got in (none, perfect, unscored):
        assert np.isnan([got.std_error[0], got.ci_low[0], got.donor_ci_low[0]]).all()
    assert len(ranking.curve(yes, np.full(10, np.nan)).steps().recall) == 0
