"""Every way in which a label could lie, each on one drawn table: the status, the words and the verdict it now gets.

Designs are those of benchmarks/calibration, whose scenarios name the status that their contrasts deserve.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest

from aida_tools.claims.verdict import ALPHA, NOT_SUPPORTED, SHOWN, SUPPORTED
from aida_tools.core.errors import AidaError
from aida_tools.models.cluster import MODEL as CLUSTER
from aida_tools.models.log10_ols import MODEL as LOG10
from aida_tools.models.mixed import MODEL as MIXED
from aida_tools.results.refit import Comparison
from aida_tools.results.results import Results
from aida_tools.robustness.permutations import permutation_tables
from aida_tools.robustness.sites import site_tables
from tests.calibration import designs, judge, run, simulate
from tests.statuses.told import compared, row, set_aside

A_B, A_C = "population: A - B", "population: A - C"


@pytest.mark.parametrize("scenario", designs.SCENARIOS)
def test_every_contrast_gets_the_status_that_it_deserves(scenario: str) -> None:
    """Artefacts are not within-site; populations mixed inside batches are, whatever the other sites do."""
    wanted = {asked.contrast: asked.expected for asked in designs.SCENARIOS[scenario].asked}
    told = pd.DataFrame([row(compared(scenario), contrast) for contrast in wanted]).set_index("contrast")
    assert told["status"].to_dict() == wanted
    # What the benchmark says of many cohorts is what its reader would be told of each.
    columns = ["status", "estimate", "std_error", "df"]
    benchmark = run.fit_cohort(run.draw(scenario, 1), [MIXED.name]).set_index("contrast")
    pd.testing.assert_frame_equal(benchmark[columns], told[columns], check_dtype=False, rtol=1e-6)


def claim(results: Results, contrast: str) -> pd.Series:
    """Return the verdict of the claim that the reported estimate suggests."""
    return judge.claimed(results, contrast, "lower" if row(results, contrast)["estimate"] < 0 else "higher")


class TestThirdPopulation:
    """1. A site enters through the slope of age, which a third population shares."""

    results = staticmethod(lambda: compared("age-confounded", 1))

    def test_the_site_term_is_added_and_both_rows_are_there(self) -> None:
        said, before = row(self.results(), A_B), set_aside(self.results(), A_B)
        assert (said["status"], before["status"]) == ("within-site", "between-site")
        assert before["p_value"] < 1e-3
        assert said["p_value"] > ALPHA
        assert "site" in said["formula"].split(" + ")
        assert "site" not in before["formula"]

    def test_the_leak_is_what_the_shift_of_a_site_does(self) -> None:
        """By least squares on the design, written out here; the model weighs its samples by their cells as well."""
        s = run.draw("age-confounded", 1).samples
        levels = [s["population"].eq("A"), s["population"].eq("B"), s["population"].eq("C")]
        design = np.column_stack([*levels, s["age"], s["sex"].eq("male")]).astype(float)
        effects = np.linalg.pinv(design) @ s["site"].eq("S3").to_numpy(float)
        assert abs(effects[0] - effects[1]) > 0.5
        assert set_aside(self.results(), A_B)["site_leak"] == pytest.approx(abs(effects[0] - effects[1]), rel=0.1)
        assert row(self.results(), A_B)["site_leak"] == pytest.approx(0, abs=1e-6)

    def test_words_name_the_site_and_the_remedy(self) -> None:
        words = set_aside(self.results(), A_B)["aliased_with"]
        assert re.search("site S[23]", words)
        assert "add 'site' to the formula" in words

    def test_the_claim_is_not_supported(self) -> None:
        assert claim(self.results(), A_B)["verdict"] == NOT_SUPPORTED


class TestUnmixed:
    """2. Population is batch at one site, or batches are not recorded."""

    @pytest.mark.parametrize("scenario", ["unmixed-1", "unmixed-2", "unmixed-4"])
    def test_words_name_the_batches(self, scenario: str) -> None:
        assert "no batch holds both A" in row(compared(scenario), A_B)["aliased_with"]

    def test_words_say_that_batches_are_not_recorded(self) -> None:
        assert "not recorded" in row(compared("unmixed-unrecorded"), A_B)["aliased_with"]

    @pytest.mark.parametrize("scenario", ["unmixed-1", "unmixed-unrecorded"])
    def test_what_is_shown_is_not_plainly_supported(self, scenario: str) -> None:
        results = next(r for r in (compared(scenario, k) for k in range(9)) if row(r, A_B)["p_value"] < 0.01)
        assert claim(results, A_B)["verdict"] in {SHOWN["between-batch"], "the methods disagree"}


class TestUnequalBatches:
    """3. Batches of two sites vary four times as much as those of the others."""

    def test_each_site_has_a_spread_of_its_own(self) -> None:
        results = compared("unequal-many")
        noisy, quiet = row(results, A_B), row(results, "population: C - D")
        assert noisy["batch_variance"] == quiet["batch_variance"] == "by site"
        # Truth: batch SD 0.4 and 0.1 with 8 batches, and 32 donors a side.
        donors = 2 * (0.35**2 + 1 / 35) / 32
        wanted = np.sqrt([2 * 0.4**2 / 8 + donors, 2 * 0.1**2 / 8 + donors])
        assert [noisy["std_error"], quiet["std_error"]] == pytest.approx(wanted, rel=0.4)
        assert noisy["std_error"] > 1.3 * quiet["std_error"]

    def test_the_twin_need_not_correct_the_primary_model(self) -> None:
        results = compared("unequal-many")
        assert row(results, A_B)["std_error"] == pytest.approx(row(results, A_B, CLUSTER.name)["std_error"], rel=0.4)


class TestChain:
    """4. The sides never shared a site: the number rests on a third population."""

    def test_words_name_the_third_population(self) -> None:
        said = row(compared("chain"), A_C)
        assert said["status"] == "indirect"
        assert "B" in said["aliased_with"]

    def test_the_verdict_says_so(self) -> None:
        results = next(r for r in (compared("chain", k) for k in range(9)) if row(r, A_C)["p_value"] < ALPHA)
        assert claim(results, A_C)["verdict"] in {SHOWN["indirect"], "the methods disagree"}

    def test_it_is_the_sum_of_its_two_steps(self) -> None:
        found = {c: row(compared("chain"), f"population: {c}")["estimate"] for c in ("A - B", "B - C", "A - C")}
        assert found["A - C"] == pytest.approx(found["A - B"] + found["B - C"], abs=1e-6)


def test_one_bridging_donor_is_the_information_of_one() -> None:
    """5. 61 and 60 samples, of which one links the sites."""
    said = row(compared("bridge-of-one"), A_B)
    assert said["n_effective"] < 1.5
    assert (said["n_samples_a"], said["n_samples_b"]) == (60, 60)
    # Its donor alone: SD 0.35 and about 700 cells.
    assert said["std_error"] > 0.3


def with_controls(scenario: str, controls: str, factor: float = 1.0) -> Comparison:
    """Return a comparison whose two sites also ran control samples, with their shares multiplied by a factor."""
    cohort, drawn = run.draw(scenario, 1), run.draw(controls, 1)
    site = np.array(["S1", "S2"])[drawn.sites]
    samples = pd.DataFrame(
        {
            "sample_id": [f"control {k}" for k in range(len(site))],
            "donor_id": [f"control donor {d}" for d in drawn.donors],
            "population": "control",
            "site": site,
            "batch": [f"{s}_run{b}" for s, b in zip(site, drawn.batches, strict=True)],
            "sex": "unknown",
            "is_control": True,
        }
    )
    everyone = pd.concat([cohort.samples.assign(is_control=False), samples], ignore_index=True)
    focus = np.rint(drawn.counts * factor).astype(int)
    counts = np.vstack([cohort.counts, np.column_stack([focus, drawn.totals - focus])])
    both = simulate.Cohort(everyone, counts, counts.sum(axis=1), cohort.truth)
    return Comparison(judge.compared(both, MIXED.name))


class TestControls:
    """6, 7. Controls that were run once a site, or whose share is far from the donors'."""

    def test_one_run_a_site_is_no_measure_of_a_site(self) -> None:
        tables = site_tables(with_controls("few-batches", "controls-1x3"))
        assert tables["recalibrated"]["status"].tolist() == ["not-estimable"]
        assert "once a site" in tables["recalibrated"]["note"].iloc[0]

    def test_degrees_of_freedom_are_of_runs(self) -> None:
        """Two runs at each of two sites, the same three donors in each: 4 runs less 2 sites."""
        found = site_tables(with_controls("few-batches", "controls-2x3"))["recalibrated"].iloc[0]
        assert (found["status"], found["control_df"]) == ("recalibrated", pytest.approx(2))
        assert found["recalibrated_std_error"] > found["std_error"]

    def test_a_share_far_from_the_donors_is_said_with_its_size(self) -> None:
        far = site_tables(with_controls("few-batches", "controls-3x3", factor=0.4))["recalibrated"].iloc[0]
        assert far["control_share"] < 0.6 * far["donor_share"]
        assert "false calls" in far["note"]
        # False calls move the log odds of 2 % more than twice as much as those of 5 %.
        assert abs(far["false_call_difference"]) < 0.6 * abs(far["control_difference"])


class TestPilots:
    """8. Few donors in two mixed batches: the precision is by restricted likelihood."""

    @pytest.mark.parametrize("donors", [3, 4, 6])
    def test_the_error_is_not_far_below_that_of_least_squares(self, donors: int) -> None:
        """Least squares of the logits on population, age, sex and batch, written out here."""
        cohort = run.draw(f"pilot-{donors}", 1)
        s, y = cohort.samples, cohort.counts[:, 0] + 0.5
        design = np.column_stack([s["population"] == "A", np.ones(len(s)), s["age"], s["sex"] == "male"]).astype(float)
        y = np.log(y / (cohort.totals + 1 - y))
        coef, residual, rank, _ = np.linalg.lstsq(design, y)
        error = np.sqrt(residual[0] / (len(y) - rank) * np.linalg.inv(design.T @ design)[0, 0])
        said = row(compared(f"pilot-{donors}"), A_B)
        assert said["estimate"] == pytest.approx(coef[0], abs=error)
        assert said["std_error"] > 0.6 * error
        assert said["df"] <= len(y) - rank


class TestBridgingDonors:
    """9. Ten donors of A were run at B's site as well."""

    def test_no_sample_is_left_out(self) -> None:
        results = compared("bridging-donors")
        assert results.excluded.empty
        assert row(results, A_B)["n_samples_a"] == 50

    def test_the_site_is_learnt_from_the_donors_who_were_at_both(self) -> None:
        """The difference of the sites is that of the ten donors' two samples, up to ages and sexes."""
        cohort, said = run.draw("bridging-donors", 1), row(compared("bridging-donors"), A_B)
        share = (cohort.counts[:, 0] + 0.5) / (cohort.totals + 1)
        logits = cohort.samples.assign(y=np.log(share / (1 - share)))
        twice = logits.pivot(index="donor_id", columns="site", values="y").dropna()
        assert len(twice) == 10
        site = (twice["S2"] - twice["S1"]).mean()
        at_home = logits[~logits["donor_id"].duplicated()].groupby("population")["y"].mean()
        assert said["status"] == "within-site"
        assert said["estimate"] == pytest.approx(at_home["A"] - (at_home["B"] - site), abs=0.1)
        assert 5 < said["n_effective"] < 15


def test_an_unrecorded_batch_is_not_a_batch_of_its_own() -> None:
    """10. With B's batches blank, each of its samples would pass for a batch: 33 batches, an error too small."""
    said = row(compared("batch-blank"), A_B)
    assert "not recorded" in f"{said['note']} {said['aliased_with']}"
    assert said["df"] < 58


def test_tests_over_populations_know_their_degrees_of_freedom() -> None:
    """11. No likelihood ratio is referred to a chi-square: with five batches it rejects three times too often."""
    tests = compared("unequal-few").tests
    assert set(tests["test"].str.partition(":")[0]) == {"Wald F"}
    assert tests["df_residual"].notna().all()


class TestRest:
    """12. Populations of the rest weigh alike, however many donors each has."""

    def test_the_contrast_is_the_mean_of_its_pairs(self) -> None:
        for scenario in ("rest-50-10", "rest-10-50"):
            cohort = run.draw(scenario, 1)
            pairs = dataclasses.replace(cohort, truth=dict.fromkeys([A_B, A_C, "population: A - rest"], 0.0))
            results = judge.compared(pairs, MIXED.name)
            mean = (row(results, A_B)["estimate"] + row(results, A_C)["estimate"]) / 2
            assert row(results, "population: A - rest")["estimate"] == pytest.approx(mean, abs=1e-6)

    def test_the_reference_studys_own_dummy_says_what_it_weighs_by(self) -> None:
        results = judge.compared(run.draw("rest-50-10", 1), LOG10.name)
        said = row(results, "population: A - rest", LOG10.name)
        assert "weigh" in said["note"]


class TestSharedIds:
    """13. Donors of two populations are numbered alike."""

    def test_different_people_of_one_id_are_refused(self) -> None:
        cohort = run.draw("shared-ids", 1)
        ages = cohort.samples.assign(age=np.where(cohort.samples["population"] == "A", 30, 50))
        with pytest.raises(AidaError, match="donor_id"):
            judge.compared(dataclasses.replace(cohort, samples=ages), MIXED.name)

    def test_where_nothing_tells_them_apart_it_is_asked(self) -> None:
        warnings = compared("shared-ids").options["warnings"]
        assert [text for text in warnings if "32 donor ids in several populations" in text]


def test_a_permutation_that_cannot_reach_5_percent_says_so() -> None:
    """14. Three and two batches have 10 arrangements, two-sided; and batches that change sites cannot see a site."""
    table = permutation_tables(Comparison(compared("few-batches")), permutations=1000, seed=1)["permutation"]
    said = table.set_index("test").loc["mixed-logit"]
    assert said["n_permutations"] == 10
    assert said["p_min"] >= 0.1
    assert np.isnan(said["rejection_rate"])
    assert "cannot see a site effect" in said["note"]
    assert "cannot be reached" in said["note"]


def test_claims_and_robustness_have_one_bound() -> None:
    """15. For one population against four others of which two are elsewhere, whose sites weigh a half and a quarter."""
    cohort = dataclasses.replace(run.draw("trio", 1), truth={"population: A - rest": 0.0})
    results = judge.compared(cohort, MIXED.name, CLUSTER.name)
    said, bound = claim(results, "population: A - rest"), site_tables(Comparison(results))["site_bound"].iloc[0]
    assert bound["spread"] == pytest.approx(0.5**2 + 2 * 0.25**2, rel=0.1)
    assert f"a standard deviation of {bound['site_sd_bound']:.2f} on the log-odds scale" in said["evidence"]


@pytest.mark.parametrize("scenario", ["trio", "runs-of-two", "t3-donors", "unequal-cells"])
def test_a_difference_inside_batches_is_supported(scenario: str) -> None:
    """No false alarm: with a true difference the claim is supported, beside sites that differ."""
    design = designs.SCENARIOS[scenario]
    groups = tuple(g._replace(shift=0.6) if g.population == "A" else g for g in design.groups)
    cohort = designs.draw(dataclasses.replace(design, groups=groups), np.random.default_rng(1))
    results = judge.compared(cohort, MIXED.name, CLUSTER.name)
    assert claim(results, A_B)["verdict"] == SUPPORTED
