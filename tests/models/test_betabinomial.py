"""Count models against glm and glmmTMB (tests/oracles/betabinomial.R), algebra and finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models import mixed
from aida_tools.models.betabinomial import fit_betabinomial, fit_restricted, log_binomials
from aida_tools.models.data import Data, Fit
from aida_tools.models.likelihood import all_terms, mixed_loglik, terms
from aida_tools.models.links import hermite
from aida_tools.models.mixed import fit_mixed, fit_mixed_ml
from aida_tools.models.quasibinomial import fit_quasibinomial

ORACLES = Path(__file__).parents[1] / "oracles"
TYPES = ["common", "rare"]


def oracle(cell_type: str, model: str) -> pd.DataFrame:
    table = pd.read_csv(ORACLES / "betabinomial.tsv", sep="\t", comment="#")
    return table[(table["type"] == cell_type) & (table["model"] == model)]


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    return pd.read_csv(ORACLES / "betabinomial_data.tsv", sep="\t")


def data_of(cohort: pd.DataFrame, cell_type: str) -> Data:
    design = build_design(parse_formula("~ population + age + sex", cohort.columns), cohort)
    totals = cohort[f"n_{cell_type}"].to_numpy(float)
    return Data(cohort[[cell_type]].to_numpy(float), totals, design.matrix, pd.factorize(cohort["batch"])[0])


def assert_agrees(fit: Fit, want: pd.DataFrame, *, estimate: float, error: float) -> None:
    assert fit.converged
    np.testing.assert_allclose(fit.coef, want["estimate"], atol=estimate, rtol=0)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.cov)), want["std_error"], atol=error, rtol=0)


@pytest.mark.parametrize("cell_type", TYPES)
def test_quasibinomial_agrees_with_glm(cohort: pd.DataFrame, cell_type: str) -> None:
    fit = fit_quasibinomial(data_of(cohort, cell_type))[0]
    want = oracle(cell_type, "quasibinomial")
    assert_agrees(fit, want, estimate=1e-7, error=1e-7)
    assert fit.precision == pytest.approx(want["phi"].iloc[0], rel=1e-7)
    assert fit.df == len(cohort) - 6


@pytest.mark.parametrize("cell_type", TYPES)
def test_betabinomial_agrees_with_glmmtmb(cohort: pd.DataFrame, cell_type: str) -> None:
    fit = fit_betabinomial(data_of(cohort, cell_type))[0]
    want = oracle(cell_type, "betabinomial")
    # glmmTMB's standard errors come from a numerical Hessian here: they are good to 1e-3 of themselves.
    assert_agrees(fit, want, estimate=1e-4, error=3e-4)
    assert fit.loglik == pytest.approx(want["loglik"].iloc[0], abs=1e-6)
    assert fit.precision == pytest.approx(want["phi"].iloc[0], rel=1e-5)


def test_restricted_likelihood_agrees_with_glmmtmb_on_pairs() -> None:
    """Eight donors measured twice, a coefficient a donor: maximum likelihood sees half the variance."""
    table = pd.read_csv(ORACLES / "paired_data.tsv", sep="\t")
    oracle_table = pd.read_csv(ORACLES / "paired.tsv", sep="\t", comment="#")
    donors = [table["donor"] == f"d{j}" for j in range(2, 9)]
    design = np.column_stack([np.ones(16), table["condition"] == "stim", *donors]).astype(float)
    data = Data(table[["y"]].to_numpy(float), table["n"].to_numpy(float), design)
    for fit, reml in ((fit_betabinomial, False), (fit_restricted, True), (fit_mixed, True)):
        want = oracle_table[oracle_table["reml"] == reml]
        got = fit(data)[0]
        assert_agrees(got, want, estimate=1e-4, error=5e-4)
        assert got.precision == pytest.approx(want["phi"].iloc[0], rel=1e-4)


@pytest.mark.parametrize("cell_type", TYPES)
def test_mixed_agrees_with_glmmtmb(cohort: pd.DataFrame, cell_type: str) -> None:
    """Quadrature against Laplace: they differ by less than the last digit anyone reads."""
    fit = fit_mixed_ml(data_of(cohort, cell_type))[0]
    want = oracle(cell_type, "betabinomial-mixed")
    assert_agrees(fit, want, estimate=1e-3, error=1e-3)
    assert fit.group_sd == pytest.approx(want["sd"].iloc[0], abs=2e-3)


def test_between_batches_the_variance_is_that_of_restricted_likelihood() -> None:
    """With many cells and alike donors a share is its batch's: a t test of 6 against 6 batch means, by algebra.

    Maximum likelihood divides their squared deviations by 12; the t test divides by 10. Inside batches nothing changes.
    """
    rng = np.random.default_rng(5)
    batches = np.repeat(np.arange(12), 10)
    population, sex = (batches >= 6).astype(float), np.tile([0.0, 1.0], 60)
    p = special.expit(-1.0 + rng.normal(0, 0.4, 12)[batches])
    totals = np.full(120, 20_000.0)
    counts = rng.binomial(20_000, rng.beta(p * 3000, (1 - p) * 3000))[:, None].astype(float)
    data = Data(counts, totals, np.column_stack([np.ones(120), population, sex]), batches)
    exact, wide = fit_mixed_ml(data)[0], fit_mixed(data)[0]
    between, inside = np.eye(3)[1], np.eye(3)[2]
    assert wide.contrast(between).std_error / exact.contrast(between).std_error == pytest.approx(np.sqrt(1.2), rel=5e-3)
    assert wide.contrast(inside).std_error == pytest.approx(exact.contrast(inside).std_error, rel=1e-3)
    means = special.logit((counts[:, 0] / totals).reshape(12, 10)).mean(axis=1)
    t = stats.ttest_ind(means[6:], means[:6])
    got = wide.contrast(between)
    assert got.value / got.std_error == pytest.approx(t.statistic, rel=0.02)
    assert got.df == t.df == 10
    np.testing.assert_array_equal(wide.coef, exact.coef)


def test_degrees_of_freedom_are_those_of_their_stratum(cohort: pd.DataFrame) -> None:
    """A and B share batches, C and D have theirs: 16 batches less intercept, C, D; 240 samples less 16, B, age, sex.

    nlme 3.1's lme(y ~ population + age + sex, random = ~ 1 | batch) has 13 for C and D, 221 for B, age and sex.
    """
    fit = fit_mixed(data_of(cohort, "common"))[0]
    b, c, d, age = np.eye(6)[[1, 2, 3, 4]]
    assert fit.df == 13
    for weights in (c, d, c - d, c - b):
        assert fit.contrast(weights).df == 13
    for weights in (b, age):
        assert fit.contrast(weights).df == pytest.approx(221, rel=0.1)


def test_degrees_of_freedom_fall_as_batches_are_less_mixed(cohort: pd.DataFrame) -> None:
    """With A and B together in one batch only, nearly all is told between batches."""
    data = data_of(cohort, "common")
    batches = cohort["batch"].where(cohort["population"] != "B", "B" + cohort["batch"])
    batches[(cohort["batch"] == "b01")] = "b01"
    apart = Data(data.counts, data.totals, data.design, pd.factorize(batches)[0])
    fit = fit_mixed(apart)[0]
    assert fit.df == 23 - 3
    assert 20 < fit.contrast(np.eye(6)[1]).df < 60


@pytest.mark.parametrize("cell_type", TYPES)
def test_one_node_is_the_laplace_approximation(cohort: pd.DataFrame, cell_type: str) -> None:
    """At glmmTMB's own estimates the likelihood with one node is glmmTMB's."""
    data, want = data_of(cohort, cell_type), oracle(cell_type, "betabinomial-mixed")
    order = np.argsort(data.codes, kind="stable")
    theta = np.concatenate([want["estimate"], [np.log(want["phi"].iloc[0]), np.log(want["sd"].iloc[0])]])
    starts = np.searchsorted(data.codes[order], np.arange(17))
    counts, totals, design = data.counts[order, 0].copy(), data.totals[order], data.design[order].copy()
    value, _, _ = mixed_loglik(counts, totals, design, starts, theta, np.zeros(16), *hermite(1))
    assert value + log_binomials(counts, totals) == pytest.approx(want["loglik"].iloc[0], abs=1e-5)


def test_more_nodes_change_nothing(cohort: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of(cohort, "rare")
    few = fit_mixed(data)[0]
    monkeypatch.setattr(mixed, "NODES", (25,))
    many = fit_mixed(data)[0]
    np.testing.assert_allclose(few.coef, many.coef, atol=1e-5)
    assert few.group_sd == pytest.approx(many.group_sd, abs=1e-4)


@pytest.mark.parametrize(
    ("y", "n", "eta", "tau"), [(3, 40, -2.0, 1.5), (0, 300, -5.0, 3.0), (250, 700, -0.5, 6.0), (40.5, 90.25, 0.3, 0.2)]
)
def test_terms_are_the_likelihood_and_its_derivatives(y: float, n: float, eta: float, tau: float) -> None:
    a, b = special.expit(eta) * np.exp(tau), special.expit(-eta) * np.exp(tau)
    value, *derivatives = terms(y, n, eta, tau)
    assert value == pytest.approx(special.betaln(y + a, n - y + b) - special.betaln(a, b), rel=1e-9)
    h = 1e-5

    def slope(which: int, d_eta: float, d_tau: float) -> float:
        return (terms(y, n, eta + d_eta, tau + d_tau)[which] - terms(y, n, eta - d_eta, tau - d_tau)[which]) / (2 * h)

    wanted = [slope(0, h, 0), slope(0, 0, h), slope(1, h, 0), slope(1, 0, h), slope(2, 0, h)]
    np.testing.assert_allclose(derivatives, wanted, rtol=1e-5, atol=1e-6)


def test_likelihood_is_scipys() -> None:
    y, n = np.array([0.0, 3.0, 30.0]), np.array([10.0, 10.0, 30.0])
    eta, tau = np.array([-1.0, 0.2, 1.0]), 1.2
    got = all_terms(y, n, eta, tau)[0].sum() + log_binomials(y, n)
    a = special.expit(eta) * np.exp(tau)
    assert got == pytest.approx(stats.betabinom.logpmf(y, n, a, np.exp(tau) - a).sum(), rel=1e-10)


def test_mixed_gradient_and_hessian() -> None:
    """Finite differences of the marginal likelihood, with enough nodes to make it exact."""
    rng = np.random.default_rng(3)
    totals = rng.integers(50, 400, 30).astype(float)
    counts = rng.binomial(totals.astype(int), rng.beta(3, 20, 30)).astype(float)
    design = np.column_stack([np.ones(30), rng.normal(size=30)])
    starts, theta = np.arange(0, 31, 6), np.array([-1.8, 0.1, 3.0, -0.8])

    def at(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        return mixed_loglik(counts, totals, design, starts, point, np.zeros(5), *hermite(31))

    _, gradient, hessian = at(theta)
    h = 1e-5 * np.eye(4)
    slopes = [(at(theta + step)[0] - at(theta - step)[0]) / 2e-5 for step in h]
    curves = [(at(theta + step)[1] - at(theta - step)[1]) / 2e-5 for step in h]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hessian, curves, rtol=1e-4, atol=1e-4)


def test_batches_that_do_not_differ_give_the_plain_fit() -> None:
    rng = np.random.default_rng(0)
    totals = np.full(60, 500.0)
    groups = np.repeat(np.arange(12), 5)
    # Sorted inside batches: every batch holds the same counts, so batches vary less than donors do.
    counts = np.tile(np.sort(rng.binomial(500, rng.beta(8, 80, 5))), 12).astype(float)
    data = Data(counts[:, None], totals, np.ones((60, 1)), groups)
    with_batches, plain = fit_mixed(data)[0], fit_betabinomial(data)[0]
    assert with_batches.group_sd == 0
    assert with_batches.df == 11
    np.testing.assert_array_equal(with_batches.coef, plain.coef)


def test_no_batches_and_few_batches_are_said(cohort: pd.DataFrame) -> None:
    data = data_of(cohort, "common")
    without = fit_mixed(Data(data.counts, data.totals, data.design))[0]
    assert without.converged
    assert "no batch is recorded" in without.message
    # One batch a site: A and B at one, C and D alone.
    codes = np.where(data.codes < 8, 0, np.where(data.codes < 12, 1, 2))
    few = fit_mixed(Data(data.counts, data.totals, data.design, codes))[0]
    assert "cannot be estimated (3 batches, 3 between-batch coefficients); the interval ignores it" in few.message
    np.testing.assert_array_equal(few.cov, fit_restricted(data)[0].cov)
    np.testing.assert_allclose(few.cov, fit_betabinomial(data)[0].cov, rtol=0.05, atol=1e-5)


def test_shares_without_overdispersion_are_binomial() -> None:
    """Identical shares: the precision runs to its bound and the coefficients are the binomial ones."""
    data = Data(np.full((20, 1), 30.0), np.full(20, 300.0), np.ones((20, 1)))
    fit = fit_betabinomial(data)[0]
    assert fit.converged
    assert fit.coef[0] == pytest.approx(special.logit(0.1), abs=1e-5)
    assert np.sqrt(fit.cov[0, 0]) == pytest.approx(np.sqrt(1 / (6000 * 0.09)), rel=1e-3)


@pytest.mark.parametrize("fit", [fit_quasibinomial, fit_betabinomial, fit_mixed])
def test_a_type_nobody_has_is_a_state(fit) -> None:
    data = Data(np.zeros((20, 1)), np.full(20, 300.0), np.ones((20, 1)), np.repeat(np.arange(5), 4))
    result = fit(data)[0]
    assert not result.converged
    assert result.status == "too-few"


@pytest.mark.parametrize("fit", [fit_quasibinomial, fit_betabinomial])
def test_an_empty_group_leaves_the_others_as_they_are(fit) -> None:
    """With no cell in group c, the contrast of a and b is that of a fit without group c."""
    rng = np.random.default_rng(5)
    counts = np.append(rng.binomial(200, rng.beta(5, 45, 40)), np.zeros(20)).astype(float)[:, None]
    design = np.column_stack([np.ones(60), np.repeat([0.0, 1.0, 0.0], 20), np.repeat([0.0, 0.0, 1.0], 20)])
    totals = np.full(60, 200.0)
    every, pair = fit(Data(counts, totals, design))[0], fit(Data(counts[:40], totals[:40], design[:40, :2]))[0]
    assert every.converged
    assert every.coef[1] == pytest.approx(pair.coef[1], abs=1e-4)
    if fit is fit_betabinomial:
        assert every.cov[1, 1] == pytest.approx(pair.cov[1, 1], rel=1e-3)
