"""Permutation tests against refits, brute force, and the uniform distribution of honest p-values."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.compose.wide import import_counts
from aida_tools.design.contrasts import Contrast
from aida_tools.models.data import Data
from aida_tools.models.mixed import fit_mixed
from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness import permutations, reml
from aida_tools.robustness.permutations import (
    Permuted,
    _histogram,
    _Scheme,
    _Sides,
    _test,
    blind,
    permutation_p,
    permutation_tables,
)
from aida_tools.robustness.permute import Null, arrangements, count_arrangements, permutation_test, t_statistics

from .conftest import SITES, SMALL, compare_cohort, make_cohort


def draw(rng: np.random.Generator, *, batches: int = 6, donors: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Responses with batches, a design with age, and the batch of each donor."""
    codes = np.repeat(np.arange(batches), donors)
    x = np.column_stack([np.ones(len(codes)), rng.normal(0, 1, len(codes))])
    y = x @ [1.0, 0.3] + rng.normal(0, 0.2, batches)[codes] + rng.normal(0, 0.4, len(codes))
    return y, x, codes


def test_the_statistic_is_the_refit_by_least_squares() -> None:
    rng = np.random.default_rng(1)
    y, x, _ = draw(rng)
    n, p = x.shape
    labels = (rng.random((5, n)) < 0.5).astype(float)
    found = reml.fit(y, np.ones(n), x, [])
    weighted = found.project(y)
    t, coef = t_statistics(labels, weighted, found.project(np.eye(n)), float(y @ weighted), n - p - 1)
    for k in range(5):
        want = sm.OLS(y, np.column_stack([x, labels[k]])).fit()
        assert t[k] == pytest.approx(want.tvalues[-1], rel=1e-8)
        assert coef[k] == pytest.approx(want.params[-1], rel=1e-8)


def test_the_statistic_is_the_refit_by_generalised_least_squares_when_batches_are_the_units() -> None:
    rng = np.random.default_rng(2)
    y, x, codes = draw(rng)
    n, p = x.shape
    variance = rng.uniform(0.05, 0.2, n)
    found = reml.fit(y, variance, x, [codes, np.arange(n)])
    same = codes[:, None] == codes
    covariance = np.diag(variance + found.sd[1] ** 2) + found.sd[0] ** 2 * same
    units = (codes[:, None] == np.arange(6)).astype(float)
    weighted = found.project(y)
    labels = np.array([[1.0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1]])
    score, information = units.T @ weighted, units.T @ found.project(units)
    t, coef = t_statistics(labels, score, information, float(y @ weighted), n - p - 1)
    for k in range(2):
        want = sm.GLS(y, np.column_stack([x, units @ labels[k]]), sigma=covariance).fit()
        assert t[k] == pytest.approx(want.tvalues[-1], rel=1e-6)
        assert coef[k] == pytest.approx(want.params[-1], rel=1e-6)


def plain(labels: np.ndarray, y: np.ndarray, blocks: np.ndarray, m: int, seed: int = 1) -> Null:
    """Permute samples, adjusting for nothing but the mean."""
    n = len(y)
    found = reml.fit(y, np.ones(n), np.ones((n, 1)), [])
    weighted = found.project(y)
    information = found.project(np.eye(n))
    rng = np.random.default_rng(seed)
    total = float(y @ weighted)
    return permutation_test(labels, blocks, weighted, information, total=total, df=n - 2.0, permutations=m, rng=rng)


def test_few_permutations_are_all_made_and_the_smallest_p_value_is_said() -> None:
    y = np.array([5.0, 6.0, 1.0, 2.0, 1.5, 2.5])
    labels = np.array([True, True, False, False, False, False])
    null = plain(labels, y, np.zeros(6, int), 10_000)
    means = [abs(y[list(c)].mean() - np.delete(y, c).mean()) for c in itertools.combinations(range(6), 2)]
    assert null.exact
    assert null.n_distinct == len(null.permuted) == 15
    assert null.p_value == pytest.approx(np.mean(np.array(means) >= means[0] - 1e-9)) == pytest.approx(1 / 15)
    assert null.p_min == pytest.approx(1 / 15)


def test_equal_halves_cannot_beat_two_of_all() -> None:
    null = plain(np.arange(8) < 4, np.arange(8.0), np.zeros(8, int), 10_000)
    assert null.n_distinct == 70
    assert null.p_min == pytest.approx(2 / 70)


def test_random_permutations_count_the_observed_one() -> None:
    y = np.concatenate([np.full(15, 10.0), np.zeros(15)]) + np.random.default_rng(3).normal(0, 0.1, 30)
    null = plain(np.arange(30) < 15, y, np.zeros(30, int), 499)
    assert not null.exact
    assert null.p_value == null.p_min == pytest.approx(1 / 500)
    assert null.n_distinct == math.comb(30, 15)


def test_blocks_keep_their_labels() -> None:
    labels = np.array([True, False, False, True, True, False, False])
    blocks = np.array([0, 0, 0, 1, 1, 1, 1])
    assert count_arrangements(labels, blocks) == math.comb(3, 1) * math.comb(4, 2)
    exact, chunks = arrangements(labels, blocks, 100, np.random.default_rng(1))
    every = np.vstack(list(chunks))
    assert exact
    assert len({tuple(row) for row in every}) == 18
    _, chunks = arrangements(labels, blocks, 17, np.random.default_rng(1))
    for drawn in (every, np.vstack(list(chunks))):
        np.testing.assert_array_equal(drawn[:, :3].sum(axis=1), 1)
        np.testing.assert_array_equal(drawn[:, 3:].sum(axis=1), 2)


def test_labels_of_one_kind_have_no_statistic() -> None:
    t, coef = t_statistics(np.ones((1, 3)), np.zeros(3), np.eye(3) - 1 / 3, 1.0, 1)
    assert t[0] == coef[0] == 0


def test_the_batch_test_is_honest_where_least_squares_is_not() -> None:
    """400 null cohorts with batches of SD 0.2: the batch permutation rejects 5 %, t by least squares far more."""
    rng = np.random.default_rng(4)
    on_a = np.arange(10) < 4
    rejected, naive = 0, 0
    for _ in range(400):
        y, x, codes = draw(rng, batches=10)
        n, p = x.shape
        found = reml.fit(y, np.ones(n), x, [])
        units = (codes[:, None] == np.arange(10)).astype(float)
        weighted = found.project(y)
        null = permutation_test(
            on_a, np.zeros(10, int), units.T @ weighted, units.T @ found.project(units),
            total=float(y @ weighted), df=n - p - 1.0, permutations=500, rng=rng,
        )  # fmt: skip
        assert null.exact  # 210 arrangements.
        rejected += null.p_value <= 0.05
        naive += abs(null.statistic) > stats.t.ppf(0.975, n - p - 1)
    # Within three standard errors of 5 % of 400 (13); least squares rejects at least twice as often.
    assert 7 <= rejected <= 33
    assert naive > 2 * 20


def test_tables_of_a_cohort(compared: Comparison) -> None:
    tables = permutation_tables(compared, permutations=2000, seed=1)
    table = tables["permutation"].set_index(["contrast", "test"])
    between = table.loc[("population: Japanese - Korean", "mixed-logit")]
    assert between["scheme"] == "batches between sites"
    assert between["exact"]
    assert between["n_permutations"] == math.comb(8, 4)
    assert between["p_value"] == pytest.approx(2 / 70)  # Planted, and as small as 4 against 4 batches can show.
    within = table.loc[("population: SG_Chinese - SG_Malay", "mixed-logit")]
    assert within["scheme"] == "donors within batches"
    assert within["p_value"] < 0.01
    mixed = table.loc[("population: SG_Malay - rest", "mixed-logit")]
    assert mixed["status"] == "not-permutable"
    assert "neither batches nor donors" in mixed["note"]
    null = tables["permutation_null"]
    n = null[(null["contrast"] == "population: SG_Chinese - SG_Malay") & (null["test"] == "ols-log10")]["n"].sum()
    assert n == 2000


def test_the_same_seed_gives_the_same_table(compared: Comparison) -> None:
    first, again = (permutation_tables(compared, permutations=300, seed=5)["permutation"] for _ in range(2))
    assert first.equals(again)


def test_a_batch_a_side_cannot_be_permuted_to_five_percent(tmp_path: Path) -> None:
    sites = {"KR": (1, ("Korean",)), "JP": (1, ("Japanese",))}
    samples, counts = make_cohort(4, sites=sites, donors=20)
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    row = permutation_tables(compared, permutations=100, seed=1)["permutation"].iloc[0]
    assert row["n_permutations"] == 2
    assert row["p_value"] == row["p_min"] == 1
    assert np.isnan(row["rejection_rate"])
    assert "p below 1 cannot be reached with so few units" in row["note"]
    assert "batches change sites under this scheme: it cannot see a site effect" in row["note"]


def test_paired_samples_change_sides_inside_their_donor(shared: Path, tmp_path: Path) -> None:
    """Eight donors of Kang et al. 2018, before and after stimulation: 2^8 ways."""
    import_counts(
        shared / "data" / "kang2018_counts.csv", tmp_path / "in", columns={},
        pattern="^(?P<population>ctrl|stim)(?P<donor_id>.*)$",
    )  # fmt: skip
    options = Options(formula="~ population + donor_id", focus="CD4 T cells", models=("quasibinomial",))
    compare(tmp_path / "in" / "counts.tsv", tmp_path / "in" / "samples.tsv", tmp_path / "out", options=options)
    table = permutation_tables(load_comparison(tmp_path / "out"), permutations=1000, seed=1)["permutation"].set_index(
        "test"
    )
    row = table.loc["ols-logit"]
    assert row["scheme"] == "samples within donors"
    assert row["n_permutations"] == 256
    wide = pd.read_csv(shared / "data" / "kang2018_counts.csv", index_col=0).sort_index()
    cd4, total = wide["CD4 T cells"].to_numpy(), wide.sum(axis=1).to_numpy()
    logit = np.log((cd4 + 0.5) / (total - cd4 + 0.5))
    assert wide.index[0].startswith("ctrl")
    assert wide.index[8].startswith("stim")
    want = stats.ttest_rel(logit[:8], logit[8:])
    assert row["statistic"] == pytest.approx(want.statistic, rel=1e-6)
    flips = np.array(list(itertools.product([1, -1], repeat=8)))
    means = np.abs(flips @ (logit[:8] - logit[8:]))
    assert row["p_value"] == pytest.approx((means >= means[0] - 1e-9).mean())


def paired(folder: Path, *, alone: int = 0) -> tuple[Comparison, pd.DataFrame, pd.DataFrame]:
    """Eight donors, each measured as A and as B in one batch; so many of them as A only."""
    samples, counts = make_cohort(3, sites={"S": (4, ("A", "B"))}, donors=4, controls=0)
    samples = samples.sort_values(["population", "sample_id"])
    samples = samples.assign(donor_id=[f"D{k}" for k in range(8)] * 2, sex="female", age=40.0)
    samples = samples.iloc[: 16 - alone] if alone else samples
    counts = counts[counts["sample_id"].isin(samples["sample_id"])]
    formula = "~ population + donor_id" if not alone else "~ population"
    return compared_of(folder, (samples, counts), formula), samples, counts


def test_the_samples_of_a_donor_change_sides_together(tmp_path: Path) -> None:
    """2^8 ways; the statistic is the paired t of the logits, unweighted."""
    compared, samples, counts = paired(tmp_path)
    table = permutation_tables(compared, permutations=1000, seed=1)["permutation"].set_index("test")
    row = table.loc["ols-logit"]
    assert (row["scheme"], row["n_permutations"]) == ("samples within donors", 256)
    wide = counts.pivot(index="sample_id", columns="cell_type", values="n_cells").loc[samples["sample_id"]]
    treg, total = wide["Treg"].to_numpy(), wide[["Treg", "CD4_naive", "CD4+_T"]].sum(axis=1).to_numpy()
    logit = np.log((treg + 0.5) / (total - treg + 0.5))
    assert row["statistic"] == pytest.approx(stats.ttest_rel(logit[:8], logit[8:]).statistic, rel=1e-6)
    flips = np.array(list(itertools.product([1, -1], repeat=8)))
    means = np.abs(flips @ (logit[:8] - logit[8:]))
    assert row["p_value"] == pytest.approx((means >= means[0] - 1e-9).mean())


def test_donors_on_one_side_and_on_both_cannot_be_exchanged_freely(tmp_path: Path) -> None:
    compared, _, _ = paired(tmp_path, alone=3)
    found = of_row(compared, "population: A - B")
    assert isinstance(found, str)
    assert found.startswith("some donors are on both sides and others on one")


def test_without_batches_donors_are_the_units(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites={"SG": SITES["SG"]}, controls=0)
    folder = compare_cohort(tmp_path, samples.assign(batch=None), counts, models=("quasibinomial",))
    row = permutation_tables(load_comparison(folder), permutations=200, seed=1)["permutation"].iloc[0]
    assert row["n_units_a"] + row["n_units_b"] == 72
    assert row["n_permutations"] == 200
    assert row["scheme"] == "samples between sides"
    assert np.isfinite(row["rejection_rate"])
    assert pd.isna(row["note"])


def test_the_linear_companion_stands_for_the_reported_model(compared: Comparison) -> None:
    """Over 30 permutations of the batches, t of the logits and t of the beta-binomial mixed model go together."""
    counts = compared.chosen(compared.primary, compared.selection)
    samples = compared.selection.samples
    keep = samples["population"].isin(["Korean", "SG_Chinese"]).to_numpy()
    y, total = counts.counts[keep, counts.types.index("Treg")], counts.totals[keep]
    batches, _ = pd.factorize(samples.loc[keep, "batch"], sort=True)
    ages = samples.loc[keep, "age"].to_numpy(float)
    nuisance = np.column_stack([np.ones(keep.sum()), ages - 45, samples.loc[keep, "sex"] == "male"]).astype(float)
    response, variance = reml.empirical_logits(y, total)
    found = reml.fit(response, variance, nuisance, [batches, np.arange(len(y))])
    units = (batches[:, None] == np.arange(10)).astype(float)
    weighted = found.project(response)
    rng = np.random.default_rng(6)
    labels = np.array([rng.permutation(np.arange(10) < 4) for _ in range(30)], float)
    score, information = units.T @ weighted, units.T @ found.project(units)
    t, _ = t_statistics(labels, score, information, float(response @ weighted), len(y) - 4.0)
    reported = []
    for row in labels:
        fit = fit_mixed(Data(y[:, None], total, np.column_stack([nuisance, units @ row]), batches))[0]
        value = fit.contrast(np.eye(4)[3])
        reported.append(value.value / value.std_error)
    # Not quite 1: the mixed model estimates the batches' variance again under each labelling.
    assert np.corrcoef(t, reported)[0, 1] > 0.95


def test_three_libraries_against_two_reach_no_less_than_a_tenth(small_folder: Path) -> None:
    """Ten arrangements: no rejection rate is given, and the words say why; batches of one site against another's."""
    table = permutation_tables(load_comparison(small_folder), permutations=500, seed=1)["permutation"]
    rows = table[table["contrast"] == "population: Korean - SG_Chinese"]
    assert set(rows["n_permutations"]) == {10}
    np.testing.assert_allclose(rows["p_min"], 0.1)
    assert rows["rejection_rate"].isna().all()
    assert rows["note"].str.startswith("p below 0.1 cannot be reached with so few units to exchange").all()
    within = table[table["contrast"] == "population: SG_Chinese - SG_Malay"]
    assert within["rejection_rate"].between(0.01, 0.12).all()
    assert within["note"].isna().all()


def test_few_permutations_are_no_fault_of_the_design(small_folder: Path) -> None:
    table = permutation_tables(load_comparison(small_folder), permutations=19, seed=1)["permutation"]
    row = table[table["contrast"] == "population: SG_Chinese - SG_Malay"].iloc[0]
    assert row["p_min"] == pytest.approx(0.05)
    assert np.isnan(row["rejection_rate"])
    assert row["note"] == "p below 0.05 cannot be reached with so few permutations: no rejection rate is given"


def of_row(compared: Comparison, contrast: str, **more: object) -> Permuted | str:
    asked: dict[str, object] = {
        "denominator": compared.primary, "cell_type": "Treg", "permutations": 300, "seed": 5,
    }  # fmt: skip
    return permutation_p(compared, compared.results.contrast(contrast), **(asked | more))  # type: ignore[arg-type]


def test_a_contrast_asked_alone_has_the_numbers_of_the_table(compared: Comparison) -> None:
    table = permutation_tables(compared, permutations=300, seed=5)["permutation"]
    for contrast in ("population: SG_Chinese - SG_Malay", "population: Japanese - Korean"):
        row = table[(table["contrast"] == contrast) & (table["test"] == "mixed-logit")].iloc[0]
        assert of_row(compared, contrast) == (row["estimate"], row["p_value"], row["p_min"], row["scheme"])
    refused = of_row(compared, "population: SG_Malay - rest")
    assert isinstance(refused, str)
    assert "neither batches nor donors" in refused


def test_any_type_denominator_and_column_can_be_permuted(compared: Comparison) -> None:
    everything = compared.denominators["author", "all"]
    found = of_row(compared, "population: SG_Chinese - SG_Malay", denominator=everything, cell_type="NK")
    assert isinstance(found, Permuted)
    assert found.p_value > 0.01  # NK cells differ in nothing.
    assert found.p_min == pytest.approx(1 / 301)
    sex = of_row(compared, "sex: female - male")
    assert isinstance(sex, Permuted)
    assert sex.scheme == "donors within batches"
    assert of_row(compared, "age") == "a number has no sides to exchange"
    one = Contrast("population", "Korean", "nobody")
    assert of_row(compared, str(one)) == "one side has no sample"


def two_sites(*, mixed: bool, shift: float = 0.0, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two populations at two sites each, in batches of both or of one; the second site is shifted."""
    if mixed:
        sites = {"S1": (4, ("A", "B")), "S2": (4, ("A", "B"))}
        return make_cohort(seed, sites=sites, controls=0, site_shift={"S2": shift})
    samples, counts = make_cohort(seed, sites={"S1": (8, ("A",)), "S2": (8, ("A",))}, donors=4, controls=0,
                                  site_shift={"S2": shift}, batch_sd=0.2)  # fmt: skip
    number = samples["batch"].str[-2:].astype(int)
    # Most batches of A are at the first site, most of B at the second.
    of_b = np.where(samples["site"] == "S1", number < 2, number < 6)
    return samples.assign(population=np.where(of_b, "B", "A")), counts


def compared_of(folder: Path, cohort: tuple[pd.DataFrame, pd.DataFrame], formula: str) -> Comparison:
    return load_comparison(compare_cohort(folder, *cohort, models=("quasibinomial",), formula=formula))


def test_a_site_effect_cannot_pass_for_a_difference_inside_sites(tmp_path: Path) -> None:
    """Batches are exchanged inside their sites where both sides are there: a shift of one site does not matter."""
    found = {
        shift: of_row(compared_of(tmp_path / str(shift), two_sites(mixed=False, shift=shift), "~ population + site"),
                      "population: A - B", permutations=2000)
        for shift in (0.0, 1.5)
    }  # fmt: skip
    for one in found.values():
        assert isinstance(one, Permuted)
        assert one.scheme == "batches within sites"
        assert not blind(one.scheme)
        assert one.p_min == pytest.approx(1 / (math.comb(8, 2) * math.comb(8, 6)))
        assert one.p_value > 0.05


def test_donors_are_exchanged_inside_the_batches_of_several_sites(tmp_path: Path) -> None:
    found = of_row(compared_of(tmp_path, two_sites(mixed=True, shift=1.5), "~ population"), "population: A - B")
    assert isinstance(found, Permuted)
    assert found.scheme == "donors within batches"
    assert found.p_value > 0.01


def test_sites_that_are_not_recorded_could_be_any(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites=SMALL, controls=0)
    compared = compared_of(tmp_path, (samples.assign(site=None), counts), "~ population")
    found = of_row(compared, "population: Korean - SG_Malay")
    assert isinstance(found, Permuted)
    assert found.scheme == "batches between unrecorded sites"
    assert blind(found.scheme)


def test_population_and_batch_at_one_site_are_exchanged_between_sides(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites={"S": (10, ("A",))}, donors=5, controls=0)
    samples["population"] = np.where(samples["batch"].str[-1].astype(int) < 5, "A", "B")
    compared = compared_of(tmp_path, (samples, counts), "~ population")
    found = of_row(compared, "population: A - B")
    assert isinstance(found, Permuted)
    assert found.scheme == "batches between sides"
    assert found.p_min == pytest.approx(2 / math.comb(10, 5))


def test_a_formula_that_leaves_nothing_to_compare_says_so(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites={"S": (4, ("A", "B"))}, controls=0)
    samples = samples.assign(kind=samples["population"])
    compared = compared_of(tmp_path, (samples, counts), "~ population + kind")
    assert of_row(compared, "population: A - B") == (
        "the other terms of the formula leave no difference between the sides"
    )


def test_two_samples_of_a_donor_are_one_unit(compared: Comparison) -> None:
    """A donor who was run twice counts by the larger sample, as in every model without a donor term."""
    selection = compared.selection
    extra = selection.samples.iloc[[0]].assign(sample_id="again", n_cells=5)
    both = replace(selection, samples=pd.concat([selection.samples, extra], ignore_index=True))
    twice = Comparison(compared.results)
    twice.__dict__["selection"] = both
    counts = compared.chosen(compared.primary, selection)
    doubled = replace(
        counts, counts=np.vstack([counts.counts, counts.counts[:1]]), totals=np.append(counts.totals, 5.0)
    )
    contrast = compared.results.contrast("population: SG_Chinese - SG_Malay")
    one = permutations._sides(compared, contrast, counts, "Treg")
    two = permutations._sides(twice, contrast, doubled, "Treg")
    assert one.samples["sample_id"].tolist() == two.samples["sample_id"].tolist()
    np.testing.assert_array_equal(one.totals, two.totals)


def test_the_bins_of_a_null_begin_and_end_where_it_does() -> None:
    for low, high in ((-0.3, 1.0), (-2.0, -0.6), (0.1, 7.3)):
        edges, n = _histogram(np.array([low, (low + high) / 2, high]))
        assert edges[0] <= low < edges[1]
        assert edges[-2] <= high < edges[-1]
        assert n.sum() == 3


@pytest.mark.parametrize("n", [2, 3])
def test_one_degree_of_freedom_is_enough_to_permute(n: int) -> None:
    """Three samples with an intercept and the label leave one; two leave none."""
    labels, blocks = np.arange(n) == 0, np.zeros(n, int)
    nothing = np.full(n, None, dtype=object)
    counts, totals = np.array([50.0, 20.0, 30.0])[:n], np.full(n, 100.0)
    sides = _Sides(pd.DataFrame(), counts, totals, labels, np.arange(n), nothing, np.ones((n, 1)), False)
    found = _test("ols-logit", sides, _Scheme("samples", labels, blocks, False), 100, np.random.default_rng(1))
    if n == 2:
        assert found == "2 samples are too few"
    else:
        assert not isinstance(found, str)
        assert (found.exact, found.n_distinct, found.df) == (True, 3, 1.0)
        # By hand: the logit of the first less the mean of the others.
        logits = np.log((counts + 0.5) / (totals - counts + 0.5))
        wanted = logits[0] - logits[1:].mean()
        assert found.estimate == pytest.approx(wanted, rel=1e-6)
