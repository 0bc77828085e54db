"""Count models against glm and glmmTMB (tests/oracles/betabinomial.R), algebra and finite differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models.betabinomial import fit_betabinomial, log_binomials
from aida_tools.models.containment import Containment, truncated_freedom
from aida_tools.models.contributions import contributions
from aida_tools.models.data import Data, Fit
from aida_tools.models.laplace import Intercepts, Restricted
from aida_tools.models.likelihood import all_terms, terms
from aida_tools.models.mixed import fit_mixed
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
    for fit, reml in ((fit_betabinomial, False), (fit_mixed, True)):
        want = oracle_table[oracle_table["reml"] == reml]
        got = fit(data)[0]
        assert_agrees(got, want, estimate=1e-4, error=5e-4)
        assert got.precision == pytest.approx(want["phi"].iloc[0], rel=1e-4)


@pytest.mark.parametrize("cell_type", TYPES)
def test_mixed_agrees_with_glmmtmb(cohort: pd.DataFrame, cell_type: str) -> None:
    """Estimates to the digits that both optimisers reach, standard errors and likelihood as well."""
    fit = fit_mixed(data_of(cohort, cell_type))[0]
    want = oracle(cell_type, "betabinomial-mixed-reml")
    assert_agrees(fit, want, estimate=2e-6, error=1e-5)
    assert fit.group_sd == pytest.approx(want["sd"].iloc[0], abs=1e-5)
    assert fit.precision == pytest.approx(want["phi"].iloc[0], rel=1e-5)


def crossed() -> tuple[pd.DataFrame, Data]:
    """Return donors who repeat across batches of two sites, and the data of the formula of the oracle."""
    table = pd.read_csv(ORACLES / "crossed_data.tsv", sep="\t")
    design = build_design(parse_formula("~ population + site", table.columns), table).matrix
    sites = table.drop_duplicates("batch").sort_values("batch")["site"]
    codes = [pd.factorize(table[column], sort=True)[0] for column in ("batch", "donor_id")]
    counts, totals = table[["y"]].to_numpy(float), table["n"].to_numpy(float)
    return table, Data(counts, totals, design, codes[0], sites=pd.factorize(sites)[0], donors=codes[1])


@pytest.mark.parametrize("model", ["batch", "batch+donor", "batch by site", "batch by site+donor"])
def test_crossed_intercepts_agree_with_glmmtmb(model: str) -> None:
    """Batches and donors crossed, and a standard deviation of batches for each site, as `(0 + site | batch)` has it."""
    want = pd.read_csv(ORACLES / "crossed.tsv", sep="\t", comment="#").query("model == @model")
    _, data = crossed()
    groups = data.sites if "site" in model else np.zeros(data.n_groups, int)
    intercepts = Intercepts(data.groups, groups, donors=data.donors if "donor" in model else None)
    start = fit_betabinomial(data)[0]
    found = Restricted(data.counts[:, 0], data.totals, data.design, intercepts, start.coef).fit(start.precision)
    assert found.reached
    np.testing.assert_allclose(found.coef, want["estimate"], atol=2e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), want["std_error"], rtol=1e-3)
    assert found.precision == pytest.approx(want["phi"].iloc[0], rel=1e-4)
    np.testing.assert_allclose(found.sds, want[["sd_1", "sd_2"]].iloc[0].dropna(), atol=2e-4)
    assert found.donor_sd == pytest.approx(want["sd_donor"].iloc[0], abs=2e-4)


def test_the_gradient_of_the_restricted_likelihood_is_its_slope() -> None:
    """Finite differences, with a held standard deviation, groups and crossed donors."""
    _, data = crossed()
    intercepts = Intercepts(data.groups, np.arange(data.n_groups) % 3, {2: 0.2}, data.donors)
    restricted = Restricted(data.counts[:, 0], data.totals, data.design, intercepts, np.zeros(3))
    theta = np.array([3.4, -1.2, -1.9, -0.9])
    _, gradient, slopes, _ = restricted(theta)
    h = 1e-4 * np.eye(4)
    up, down = ([restricted(theta + sign * step)[0] for step in h] for sign in (1, -1))
    np.testing.assert_allclose(gradient, (np.array(up) - down) / 2e-4, rtol=1e-4, atol=1e-4)
    moved = []
    for step in h:
        at = [(restricted(theta + sign * step), restricted._core[:3].copy())[1] for sign in (1, -1)]
        moved.append((at[0] - at[1]) / 2e-4)
    np.testing.assert_allclose(slopes, np.array(moved).T, rtol=1e-3, atol=1e-5)


def test_contributions_are_what_a_shift_of_the_shares_does() -> None:
    """Shift the true log-odds of one batch: the estimates move by the sum of its samples' contributions."""
    _, data = crossed()
    fit = fit_mixed(data)[0]
    predicted = contributions(data, fit)[data.codes == 3].sum(axis=0)
    moved = []
    for step in (0.05, -0.05):
        share = np.where(data.codes == 3, special.expit(special.logit(data.counts[:, 0] / data.totals) + step), np.nan)
        counts = np.where(data.codes == 3, share * data.totals, data.counts[:, 0])[:, None]
        moved.append(fit_mixed(replace(data, counts=counts))[0].coef)
    np.testing.assert_allclose((moved[0] - moved[1]) / 0.1, predicted, atol=0.04)
    # Whatever the samples' weights, a shift of all of them is taken up by the intercept alone.
    np.testing.assert_allclose(contributions(data, fit).sum(axis=0), [1, 0, 0], atol=1e-9)


def test_between_batches_the_variance_is_that_of_restricted_likelihood() -> None:
    """With many cells and alike donors a share is its batch's: a t test of 6 against 6 batch means, by algebra."""
    rng = np.random.default_rng(5)
    batches = np.repeat(np.arange(12), 10)
    population, sex = (batches >= 6).astype(float), np.tile([0.0, 1.0], 60)
    sds = np.where(np.arange(12) < 6, 0.6, 0.15)
    p = special.expit(-1.0 + rng.normal(0, sds)[batches])
    totals = np.full(120, 20_000.0)
    counts = rng.binomial(20_000, rng.beta(p * 3000, (1 - p) * 3000))[:, None].astype(float)
    data = Data(counts, totals, np.column_stack([np.ones(120), population, sex]), batches)
    means = special.logit((counts[:, 0] / totals).reshape(12, 10)).mean(axis=1)
    between = np.eye(3)[1]
    together, apart = (fit_mixed(d)[0].contrast(between) for d in (data, replace(data, sites=np.repeat([0, 1], 6))))
    t = stats.ttest_ind(means[6:], means[:6])
    assert together.value / together.std_error == pytest.approx(t.statistic, rel=0.01)
    assert together.df == pytest.approx(10)
    # With a standard deviation for each site it is Welch's test.
    welch = stats.ttest_ind(means[6:], means[:6], equal_var=False)
    assert apart.value / apart.std_error == pytest.approx(welch.statistic, rel=0.01)
    assert apart.df == pytest.approx(welch.df, rel=0.02)


@pytest.mark.parametrize(("ratio", "df"), [(1.0, 3.0), (1.0, 11.0), (2.5, 5.0), (40.0, 7.0)])
def test_freedom_of_a_variance_that_cannot_be_less_than_its_known_part(ratio: float, df: float) -> None:
    """Moments of drawn variances; far above the known part nothing is cut off, and the freedom is that of batches."""
    drawn = np.maximum(ratio * np.random.default_rng(1).chisquare(df, 400_000) / df, 1.0)
    assert truncated_freedom(ratio, df) == pytest.approx(2 * drawn.mean() ** 2 / drawn.var(), rel=0.02)
    assert truncated_freedom(1e6, df) == pytest.approx(df, rel=1e-3)


def test_the_shortfall_of_a_variance_that_batches_only_join_when_they_make_it_smaller() -> None:
    """Two mixed batches of six: variances of 7 and 1 degrees of freedom, pooled where the second is the smaller."""
    counts = np.tile([30.0, 31.0, 36.0, 40.0, 44.0, 52.0], 2)[:, None]
    design = np.column_stack([np.ones(12), np.tile([0.0, 1.0], 6), np.tile([1.0, 0.0, 0.0], 4), np.arange(12) % 6])
    data = Data(counts, np.full(12, 700.0), design.astype(float), np.repeat([0, 1], 6))
    found = Containment(data, fit_mixed(data)[0])
    assert (found.inside, found.between) == (7, 1)
    rng = np.random.default_rng(3)
    inside, between = rng.chisquare(7, 10**6) / 7, rng.chisquare(1, 10**6)
    joined = between < 1
    pooled = (7 * inside.mean() + between[joined].mean()) / 8
    assert found.shortfall == pytest.approx(1 / pooled, rel=0.01)


def test_the_error_of_counting_has_no_shortfall() -> None:
    """Shares that vary no more than draws of cells do: nothing is estimated about donors, so nothing is put back."""
    counts = np.array([341.0, 352, 338, 361, 349, 355, 344, 359, 347, 351, 340, 357])[:, None]
    design = np.column_stack([np.ones(12), np.tile([0.0, 1.0], 6)])
    data = Data(counts, np.full(12, 700.0), design, np.repeat([0, 1], 6))
    fit, plain = fit_mixed(data)[0], fit_betabinomial(data)[0]
    assert Containment(data, fit).shortfall > 1.05
    alone = Restricted(counts[:, 0], data.totals, design, Intercepts(data.groups), plain.coef).fit(plain.precision)
    np.testing.assert_allclose(fit.cov, alone.cov, rtol=5e-3)


@pytest.mark.parametrize("sds", [(0.0, 0.0), (0.1, 0.1), (0.4, 0.1), (0.4, 0.4)])
def test_few_batches_with_a_variance_of_their_own_keep_the_level(sds: tuple[float, float]) -> None:
    """Means of four and nine batches, 15 donors of SD 0.4 in each: t rejects in 1.5 to 7 %."""
    rng, known, m = np.random.default_rng(2), 0.4**2 / 15, 20_000
    numbers = (4, 9)
    drawn = [rng.normal(0, np.sqrt(sd**2 + known), (m, n)) for sd, n in zip(sds, numbers, strict=True)]
    variance = [np.maximum(x.var(axis=1, ddof=1), known) for x in drawn]
    parts = [v / n for v, n in zip(variance, numbers, strict=True)]
    freedom = [[truncated_freedom(x / known, n - 1.0) for x in v] for v, n in zip(variance, numbers, strict=True)]
    df = sum(parts) ** 2 / sum(part**2 / np.array(own) for part, own in zip(parts, freedom, strict=True))
    t = (drawn[0].mean(axis=1) - drawn[1].mean(axis=1)) / np.sqrt(sum(parts))
    assert 0.015 < (np.abs(t) > stats.t.ppf(0.975, df)).mean() < 0.07


def test_a_site_with_few_batches_has_the_standard_deviation_of_all() -> None:
    """Two batches at site 1 leave one degree of freedom, six at site 0 leave five."""
    rng = np.random.default_rng(7)
    batches = np.repeat(np.arange(8), 12)
    p = special.expit(-2.0 + rng.normal(0, 0.4, 8)[batches])
    counts = rng.binomial(2000, rng.beta(p * 200, (1 - p) * 200))[:, None].astype(float)
    design = np.column_stack([np.ones(96), batches >= 6]).astype(float)
    sites = (np.arange(8) >= 6).astype(int)
    data = Data(counts, np.full(96, 2000.0), design, batches, sites=sites)
    fit, together = fit_mixed(data)[0], fit_mixed(replace(data, sites=None))[0]
    np.testing.assert_array_equal(fit.pooled, sites == 1)
    np.testing.assert_allclose(fit.batch_sd[6:], together.batch_sd[0], rtol=1e-3)
    assert fit.batch_sd[0] != pytest.approx(together.batch_sd[0], rel=1e-3)


def test_degrees_of_freedom_are_those_of_their_stratum(cohort: pd.DataFrame) -> None:
    """A and B share batches, C and D have theirs: 16 batches less intercept, C, D; 240 samples less 16, B, age, sex.

    nlme 3.1's lme(y ~ population + age + sex, random = ~ 1 | batch) has 13 for C and D, 221 for B, age and sex.
    """
    fit = fit_mixed(data_of(cohort, "common"))[0]
    b, c, d, age = np.eye(6)[[1, 2, 3, 4]]
    assert fit.df == 13
    for weights in (c, d, c - d, c - b):
        assert fit.contrast(weights).df == pytest.approx(13, abs=0.01)
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

    wanted = [slope(0, h, 0), slope(0, 0, h), *(slope(k, *by) for k in (1, 2) for by in ((h, 0), (0, h)))]
    wanted = [*wanted[:4], wanted[5], slope(3, h, 0), slope(3, 0, h)]
    np.testing.assert_allclose(derivatives, wanted, rtol=1e-5, atol=1e-6)


def test_likelihood_is_scipys() -> None:
    y, n = np.array([0.0, 3.0, 30.0]), np.array([10.0, 10.0, 30.0])
    eta, tau = np.array([-1.0, 0.2, 1.0]), 1.2
    got = all_terms(y, n, eta, tau)[0].sum() + log_binomials(y, n)
    a = special.expit(eta) * np.exp(tau)
    assert got == pytest.approx(stats.betabinom.logpmf(y, n, a, np.exp(tau) - a).sum(), rel=1e-10)


def test_batches_that_do_not_differ_give_the_plain_fit() -> None:
    rng = np.random.default_rng(0)
    totals = np.full(60, 500.0)
    groups = np.repeat(np.arange(12), 5)
    # Sorted inside batches: every batch holds the same counts, so batches vary less than donors do.
    counts = np.tile(np.sort(rng.binomial(500, rng.beta(8, 80, 5))), 12).astype(float)
    data = Data(counts[:, None], totals, np.ones((60, 1)), groups)
    with_batches, plain = fit_mixed(data)[0], fit_betabinomial(data)[0]
    assert with_batches.group_sd < 0.01
    # Batches that seem not to differ are as good as a variance known from their donors; not quite: they might differ.
    assert with_batches.contrast(np.ones(1)).df == pytest.approx(truncated_freedom(1.0, 11.0), rel=0.05)
    np.testing.assert_allclose(with_batches.coef, plain.coef, atol=1e-3)


def test_no_batches_and_few_batches_are_said(cohort: pd.DataFrame) -> None:
    data = data_of(cohort, "common")
    without = fit_mixed(Data(data.counts, data.totals, data.design))[0]
    assert without.converged
    assert "no batch is recorded" in without.message
    # One batch a site: A and B at one, C and D alone.
    codes = np.where(data.codes < 8, 0, np.where(data.codes < 12, 1, 2))
    few = fit_mixed(Data(data.counts, data.totals, data.design, codes))[0]
    assert "cannot be estimated (3 batches, 3 between-batch coefficients); the interval ignores it" in few.message
    np.testing.assert_array_equal(few.cov, without.cov)
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
