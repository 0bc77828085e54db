"""Responses in runs: Kenward-Roger against lme4 and pbkrtest, closed forms, coverage with few runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aida_tools.robustness.runs import RunFit, degrees, fit_runs

ORACLES = Path(__file__).parents[1] / "oracles"


@pytest.fixture(scope="module")
def oracle() -> pd.Series:
    table = pd.read_csv(ORACLES / "controls.tsv", sep="\t", comment="#")
    return table.set_index(["case", "name"])["value"]


def dummies(values: pd.Series) -> np.ndarray:
    return np.column_stack([values == level for level in sorted(values.unique())[1:]]).astype(float)


def fitted(case: str) -> RunFit:
    data = pd.read_csv(ORACLES / "controls_data.tsv", sep="\t")
    data = data[data["case"] == case]
    design = np.hstack([np.ones((len(data), 1)), dummies(data["site"]), dummies(data["donor"])])
    found = fit_runs(data["y"].to_numpy(), design, pd.factorize(data["run"])[0])
    assert isinstance(found, RunFit)
    return found


@pytest.mark.parametrize("case", ["balanced", "unequal", "alike", "single"])
def test_a_site_difference_agrees_with_r(oracle: pd.Series, case: str) -> None:
    found, want = fitted(case), oracle[case]
    weights = np.eye(len(found.coef))[1]
    value, error, df = found.combine(weights)
    assert value == pytest.approx(want["estimate"], rel=1e-5)
    assert error == pytest.approx(want["se"], rel=1e-5)
    assert found.satterthwaite(weights) == pytest.approx(want["df"], rel=1e-5)
    assert df == pytest.approx(max(want["df"], found.least_df), rel=1e-5)
    if "se_plain" in want:
        assert np.sqrt(weights @ found.plain @ weights) == pytest.approx(want["se_plain"], rel=1e-5)
        assert found.run_variance == pytest.approx(want["run_variance"], rel=1e-5)
        assert found.sample_variance == pytest.approx(want["sample_variance"], rel=1e-5)
    else:
        assert np.isnan(found.run_variance)


def test_no_other_ratio_of_the_variances_is_likelier() -> None:
    """The restricted likelihood written out with dense matrices, at 400 ratios: none is above the one found."""
    data = pd.read_csv(ORACLES / "controls_data.tsv", sep="\t")
    data = data[data["case"] == "unequal"]
    x = np.hstack([np.ones((len(data), 1)), dummies(data["site"]), dummies(data["donor"])])
    y, n, p = data["y"].to_numpy(), *x.shape
    same = (data["run"].to_numpy()[:, None] == data["run"].to_numpy()).astype(float)

    def loglik(run: float, sample: float) -> float:
        inverse = np.linalg.inv(run * same + sample * np.eye(n))
        information = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        logs = np.linalg.slogdet(information)[1] - np.linalg.slogdet(inverse)[1]
        return float(-(logs + rest @ inverse @ rest + (n - p) * np.log(2 * np.pi)) / 2)

    found = fitted("unequal")
    best = loglik(found.run_variance, found.sample_variance)
    for run in found.run_variance * np.geomspace(0.05, 20, 20):
        for sample in found.sample_variance * np.geomspace(0.05, 20, 20):
            assert loglik(run, sample) <= best + 1e-9


def test_degrees_of_freedom_are_counted_between_and_within_runs() -> None:
    sites, run = np.repeat([0, 0, 1, 1], 3), np.repeat(np.arange(4), 3)
    donors = np.tile(np.arange(3), 4)
    design = np.column_stack([sites == 0, sites == 1, donors == 1, donors == 2]).astype(float)
    assert degrees(design, run) == (4 - 2, 12 - 4 - 2)


def test_degrees_of_freedom_are_no_fewer_than_those_of_either_part() -> None:
    """Two runs a site, of three donors and of one: 2 degrees of freedom between runs and 2 within, not 0.5."""
    run, donors = np.array([0, 0, 0, 1, 2, 2, 2, 3]), np.array([0, 1, 2, 0, 0, 1, 2, 0])
    x = np.column_stack([run < 2, run >= 2, donors == 1, donors == 2]).astype(float)
    assert degrees(x, run) == (2, 2)
    found = fit_runs(np.random.default_rng(1).normal(0, 1, 8), x, run)
    assert isinstance(found, RunFit)
    weights = np.array([1.0, -1, 0, 0])
    assert found.satterthwaite(weights) < 2
    assert found.combine(weights)[2] == 2


def test_the_order_of_samples_and_the_names_of_runs_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    run = np.repeat(np.arange(6), 2)
    x = np.column_stack([np.ones(12), run > 2]).astype(float)
    y = rng.normal(0, 1, 12)
    order = rng.permutation(12)
    first, second = fit_runs(y, x, run), fit_runs(y[order], x[order], 10 - run[order])
    assert isinstance(first, RunFit)
    assert isinstance(second, RunFit)
    assert first.combine(np.array([0.0, 1])) == pytest.approx(second.combine(np.array([0.0, 1])), rel=1e-6)


def test_runs_whose_samples_cannot_be_told_apart_are_their_means() -> None:
    """Each sample of a run is of another kind, and each kind is once: nothing is known inside a run but its mean."""
    rng = np.random.default_rng(5)
    run = np.array([0, 0, 1, 2, 3, 4, 5])
    x = np.column_stack([np.ones(7), run > 2, np.arange(7) == 1]).astype(float)
    y = rng.normal(0, 1, 7)
    found = fit_runs(y, x, run)
    assert isinstance(found, RunFit)
    means = np.array([y[:2].mean(), *y[2:]])
    at = np.array([x[:2].mean(axis=0), *x[2:]])
    coef = np.linalg.lstsq(at, means, rcond=None)[0]
    variance = np.sum((means - at @ coef) ** 2) / 3 * np.linalg.inv(at.T @ at)[1, 1]
    assert found.combine(np.array([0.0, 1, 0])) == pytest.approx((coef[1], np.sqrt(variance), 3))


def test_runs_that_leave_nothing_say_why() -> None:
    x = np.column_stack([np.ones(4), [0, 0, 1, 1]])
    once = fit_runs(np.arange(4.0), x, np.array([0, 0, 1, 1]))
    assert isinstance(once, str)
    assert "no degrees of freedom" in once
    alike = fit_runs(np.ones(8), np.column_stack([np.ones(8), np.arange(8) > 3]), np.repeat(np.arange(4), 2))
    assert alike == "the control samples of a site are all alike, which leaves no error to judge by"


@pytest.mark.parametrize(("n_runs", "n_donors", "run_sd"), [(2, 3, 0.3), (3, 2, 0.0)])
def test_few_runs_cover_the_truth(n_runs: int, n_donors: int, run_sd: float) -> None:
    """200 draws, every third run without its last donor: 95 % of the intervals hold a difference of 0."""
    rng = np.random.default_rng([n_runs, n_donors, int(10 * run_sd)])
    site, run, donor = (
        a.ravel() for a in np.meshgrid(np.arange(2), np.arange(n_runs), np.arange(n_donors), indexing="ij")
    )
    run = run + n_runs * site
    kept = ~((run % 3 == 1) & (donor == n_donors - 1))
    site, run, donor = site[kept], run[kept], donor[kept]
    x = np.column_stack([site == 0, site == 1, *(donor == d for d in range(1, n_donors))]).astype(float)
    weights = np.array([1.0, -1, *np.zeros(n_donors - 1)])
    covered = 0
    for _ in range(200):
        y = rng.normal(0, run_sd, 2 * n_runs)[run] + rng.normal(0, 0.15, len(run)) + 0.4 * donor
        found = fit_runs(y, x, run)
        assert isinstance(found, RunFit)
        value, error, df = found.combine(weights)
        covered += abs(value) <= stats.t.ppf(0.975, df) * error
    # Three standard errors of 95 % in 200 draws, and the allowance for runs of different donors.
    assert 0.9 <= covered / 200 <= 0.995


def test_the_search_covers_variance_ratios_of_all_sizes() -> None:
    rng = np.random.default_rng(8)
    run = np.repeat(np.arange(10), 3)
    y = rng.normal(0, 30, 10)[run] + rng.normal(0, 0.001, 30)
    found = fit_runs(y, np.ones((30, 1)), run)
    assert isinstance(found, RunFit)
    means = y.reshape(10, 3).mean(axis=1)
    within = np.sum((y - means[run]) ** 2) / 20
    assert found.sample_variance == pytest.approx(within, rel=1e-3)
    assert found.run_variance == pytest.approx(np.var(means, ddof=1) - within / 3, rel=1e-3)
