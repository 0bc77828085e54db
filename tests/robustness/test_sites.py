"""Tables on sites: the bound, plausible site effects, recalibration; truth of a simulation, and named states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness import reml, sites
from aida_tools.robustness.bound import share_shift, site_bound
from aida_tools.robustness.controls import Controls, noticeable
from aida_tools.robustness.prior import SITE_SDS
from aida_tools.robustness.sites import (
    batch_spread,
    between_sites,
    controls_of,
    recalibrated_table,
    site_tables,
    site_weights,
)

from .conftest import EFFECTS, SITES, compare_cohort, make_cohort


def test_at_the_bound_the_interval_touches_no_difference() -> None:
    for estimate, error, df, spread in ((-0.5, 0.1, 20.0, 2.0), (0.8, 0.2, np.inf, 1.36)):
        tau = site_bound(estimate, error, df, spread)
        half = stats.t.ppf(0.975, df) * np.sqrt(error**2 + spread * tau**2)
        assert half == pytest.approx(abs(estimate))


def test_an_interval_that_holds_no_difference_needs_no_site_effect() -> None:
    assert site_bound(0.1, 0.1, 20, 2.0) == 0


def test_share_shift_is_on_the_odds_scale() -> None:
    shifted = 0.04 + share_shift(0.04, np.log(1.5))
    assert shifted / (1 - shifted) == pytest.approx(1.5 * 0.04 / 0.96)
    assert share_shift(0.04, 0.0) == 0


@pytest.fixture(scope="module")
def tables(compared: Comparison) -> dict[str, pd.DataFrame]:
    return site_tables(compared)


#: Two sites of one population: the smallest cohort with something to bound.
PAIR = {"KR": (3, ("Korean",)), "JP": (3, ("Japanese",))}


def test_site_weights_of_pairs_are_one_and_minus_one(compared: Comparison) -> None:
    weights = site_weights(compared)
    assert weights["population: Japanese - Korean"] == pytest.approx({"JP": 1, "KR": -1, "SG": 0}, abs=1e-9)
    assert weights["population: Korean - SG_Malay"] == pytest.approx({"JP": 0, "KR": 1, "SG": -1}, abs=1e-9)
    assert weights["population: SG_Chinese - SG_Malay"] == pytest.approx({"JP": 0, "KR": 0, "SG": 0}, abs=1e-6)
    # One third of the rest each: Japanese, and the two populations of SG.
    assert weights["population: Korean - rest"] == pytest.approx({"JP": -1 / 3, "KR": 1, "SG": -2 / 3}, abs=0.02)
    for of_sites in weights.values():
        assert sum(of_sites.values()) == pytest.approx(0, abs=1e-9)  # A shift of all sites alike is no difference.


@pytest.mark.parametrize(
    ("model", "tolerance"),
    # Shifted shares are not quite beta-binomial of the old precision, which the weights hold still.
    [("quasibinomial", 0.02), ("betabinomial-mixed", 0.06)],
)
def test_site_weights_are_what_a_shift_of_a_site_does(compared: Comparison, model: str, tolerance: float) -> None:
    """The odds of the focus type at one site are multiplied, and the model is fitted again."""
    asked = Comparison(replace(compared.results, options=compared.options | {"model": model}))
    d, step, site = asked.primary, 0.1, "SG"
    focus, here = d.types.index("Treg"), (asked.samples["site"] == site).to_numpy()
    share = d.counts[here, focus] / d.totals[here]

    def shifted(by: float) -> pd.Series:
        counts = d.counts.copy()
        counts[here, focus] = d.totals[here] * special.expit(special.logit(share) + by)
        rows = asked.refit(asked.contrasts, denominator=replace(d, counts=counts))
        return pd.Series({row["contrast"]: row["estimate"] for row in rows})

    slope = (shifted(step) - shifted(-step)) / (2 * step)
    weights = site_weights(asked)
    assert len(weights) == len(slope) == 10
    for contrast, of_sites in weights.items():
        assert of_sites[site] == pytest.approx(slope[contrast], abs=tolerance)


def test_tables_of_a_cohort(tables: dict[str, pd.DataFrame]) -> None:
    bound = tables["site_bound"].set_index("contrast")
    assert "population: SG_Chinese - SG_Malay" not in bound.index
    pair = bound.loc["population: Japanese - Korean"]
    assert pair["spread"] == pytest.approx(2)
    half = stats.t.ppf(0.975, pair["df"]) * np.sqrt(pair["std_error"] ** 2 + 2 * pair["site_sd_bound"] ** 2)
    assert half == pytest.approx(abs(pair["estimate"]))
    assert pair["status"] == "bounded"
    assert "odds ratio" in pair["sentence"]
    rest = bound.loc["population: Korean - rest"]
    assert 1 < rest["spread"] < 2
    # Truth: batches differ by SD 0.05, and the sites not at all.
    assert pair["batch_sd_low"] <= 0.05 <= pair["batch_sd_high"]
    assert pair["control_site_sd_low"] == 0
    recalibrated = tables["recalibrated"].set_index("contrast").loc["population: Japanese - Korean"]
    assert recalibrated["status"] == "recalibrated"
    assert recalibrated["recalibrated_std_error"] > recalibrated["std_error"]
    assert recalibrated["recalibrated_ci_low"] < -EFFECTS["Korean"] < recalibrated["recalibrated_ci_high"]


def test_controls_take_a_planted_site_effect_out(tmp_path: Path) -> None:
    samples, counts = make_cohort(5, sites=PAIR, site_shift={"KR": 0.8}, controls=8, cells=3000)
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    row = site_tables(compared)["recalibrated"].set_index("contrast").loc["population: Japanese - Korean"]
    truth = -EFFECTS["Korean"]
    assert row["ci_high"] < truth  # What is reported misses the truth because of the site ...
    assert row["recalibrated_ci_low"] < truth < row["recalibrated_ci_high"]  # ... and the controls bring it back.
    assert row["recalibrated"] == pytest.approx(truth, abs=0.3)


def test_without_controls_or_site_or_batches_there_are_named_states(tmp_path: Path) -> None:
    samples, counts = make_cohort(2, sites=PAIR, controls=0)
    tables = site_tables(load_comparison(compare_cohort(tmp_path / "a", samples, counts, models=("quasibinomial",))))
    assert set(tables["recalibrated"]["status"]) == {"no-controls"}
    assert set(tables["controls_effect"]["status"]) == {"not-estimable"}
    assert tables["site_bound"]["note"].str.contains("fewer than two sites").all()
    assert tables["site_bound"]["site_sd_bound"].notna().all()
    nowhere = samples.assign(site=None, batch=None)
    tables = site_tables(load_comparison(compare_cohort(tmp_path / "b", nowhere, counts, models=("quasibinomial",))))
    assert set(tables["site_bound"]["status"]) == {"no-site-recorded"}
    assert tables["site_bound"]["site_sd_bound"].isna().all()


def test_a_site_without_controls_does_not_keep_the_others_from_theirs(compared: Comparison) -> None:
    """Whichever site it is: each contrast goes by the sites that it is of."""
    controls, names = controls_of(compared)
    for absent in ("JP", "KR"):
        there = np.array([name != absent for name in names])[controls.sites]
        left = [name for name in names if name != absent]
        some = Controls(
            controls.counts[there], controls.totals[there], pd.factorize(controls.sites[there], sort=True)[0],
            pd.factorize(controls.batches[there])[0], pd.factorize(controls.donors[there])[0], 0,
        )  # fmt: skip
        table = recalibrated_table(compared, some, left).set_index("contrast")
        of_absent = table["note"].str.contains(f"no control sample at site {absent}", na=False)
        assert set(table.loc[of_absent, "status"]) == {"no-controls"}
        assert of_absent.any()
        assert (table.loc[~of_absent, "status"] == "recalibrated").any()


def test_one_site_has_nothing_to_bound(tmp_path: Path) -> None:
    samples, counts = make_cohort(3, sites={"SG": SITES["SG"]})
    tables = site_tables(load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",))))
    assert tables["site_bound"].empty
    assert tables["recalibrated"].empty
    spread = tables["controls_effect"].set_index("quantity").loc["site_sd"]
    assert spread["note"] == "control samples at fewer than two sites"


def test_one_batch_a_site_has_no_spread_between_batches(tmp_path: Path) -> None:
    sites = {"KR": (1, ("Korean",)), "JP": (1, ("Japanese",))}
    samples, counts = make_cohort(4, sites=sites, donors=20)
    tables = site_tables(load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",))))
    assert tables["site_bound"]["batch_sd"].isna().all()
    assert tables["site_bound"]["note"].str.contains("no site has several batches").all()
    assert set(tables["recalibrated"]["status"]) == {"not-estimable"}


def test_controls_are_the_samples_that_can_be_compared(compared: Comparison) -> None:
    """Not those without a site, nor without cells of the denominator; a batch name of two sites is two batches."""
    every, names = controls_of(compared)
    assert names == ["JP", "KR", "SG"]
    assert (len(every.counts), every.unknown) == (14, 0)
    at = np.flatnonzero(compared.samples["is_control"].to_numpy())
    samples = compared.samples.copy()
    samples.loc[at[0], "site"] = None
    samples.loc[at[1:3], "batch"] = None
    samples.loc[at[3:], "batch"] = "same"
    totals = compared.primary.totals.copy()
    totals[at[4]] = 0
    other = Comparison(compared.results)
    other.__dict__["samples"] = samples
    key = compared.options["annotator"], compared.options["denominator"]
    other.__dict__["denominators"] = {key: replace(compared.primary, totals=totals)}
    fewer, names = controls_of(other)
    assert (len(fewer.counts), fewer.unknown) == (12, 2)
    left = np.delete(at, [0, 4])
    np.testing.assert_array_equal(fewer.totals, compared.primary.totals[left])
    np.testing.assert_array_equal(fewer.counts, compared.primary.counts[left, 0])
    assert [names[code] for code in fewer.sites] == compared.samples.loc[left, "site"].tolist()
    assert len(np.unique(fewer.batches)) == 4  # `same` at three sites, and the unknown ones.


def test_plausible_site_effects_are_simulated_ones(compared: Comparison) -> None:
    """Columns of the bound against 200,000 site effects drawn from the half-normal: the design has no controls."""
    samples = compared.samples.assign(is_control=False)
    other = Comparison(compared.results)
    other.__dict__["samples"] = samples
    other.__dict__["selection"] = compared.selection
    tables = site_tables(other)
    bound = tables["site_bound"].set_index("contrast")
    rng = np.random.default_rng(2)
    sd = np.abs(rng.normal(0, 0.3, 200_000))
    weights = site_weights(compared)
    for contrast in ("population: Japanese - Korean", "population: SG_Malay - rest"):
        row = bound.loc[contrast]
        w = np.array(list(weights[contrast].values()))
        assert row["spread"] == pytest.approx(w @ w)
        left = row["estimate"] - (rng.normal(size=(len(sd), len(w))) * sd[:, None]) @ w
        sign = np.sign(row["estimate"])
        end = row["ci_low" if sign > 0 else "ci_high"] - row["estimate"]
        # Four standard errors of a share among 200,000.
        assert row["keeps_sign"] == pytest.approx((left * sign > 0).mean(), abs=0.0045)
        assert row["keeps_interval"] == pytest.approx(((left + end) * sign > 0).mean(), abs=0.0045)
        assert row["plausible_site_sd"] == pytest.approx(np.quantile(sd, 0.5), rel=0.02)
        assert row["plausible_site_sd_high"] == pytest.approx(np.quantile(sd, 0.95), rel=0.02)
        assert row["rests_on"] == "half-normal of scale 0.30 (the least that is assumed)"
    np.testing.assert_allclose(tables["site_prior"]["density"], tables["site_prior"]["start"], rtol=1e-5)


def test_what_the_prior_rests_on_is_said(compared: Comparison, tables: dict[str, pd.DataFrame]) -> None:
    row = tables["site_bound"].iloc[0]
    assert row["rests_on"] == (
        "half-normal of scale 0.30 (the least that is assumed) and what the control samples at 3 sites say of it"
    )
    likely = -((SITE_SDS - 0.8) ** 2) / 0.02
    others = site_tables(compared, others=[likely, likely])["site_bound"].iloc[0]
    assert others["rests_on"].endswith("control samples at 3 sites say of it and 2 other cohorts")
    assert others["plausible_site_sd"] > 2 * row["plausible_site_sd"]
    assert others["keeps_sign"] < row["keeps_sign"]


def test_batches_that_vary_widen_the_prior(tmp_path: Path) -> None:
    samples, counts = make_cohort(5, sites=PAIR, controls=0, batch_sd=0.7)
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    row = site_tables(compared)["site_bound"].iloc[0]
    assert row["batch_sd"] > 0.4
    assert row["rests_on"] == f"half-normal of scale {row['batch_sd']:.2f} (as batches of one site vary)"
    assert row["plausible_site_sd"] == pytest.approx(row["batch_sd"] * stats.halfnorm.median(), rel=1e-3)


def test_batches_inside_sites_have_the_spread_of_a_simpler_analysis(compared: Comparison) -> None:
    """Balanced batches without covariates: the analysis of variance of the batch means."""
    plain = Comparison(replace(compared.results, options=compared.options | {"formula": "~ population"}))
    found = batch_spread(plain)
    assert isinstance(found, tuple)
    sd, low, high = found
    assert low <= sd <= high
    kept, counts = plain.selection.samples, plain.chosen(plain.primary, plain.selection)
    logits, _ = reml.empirical_logits(counts.counts[:, 0], counts.totals)
    frame = kept.assign(y=logits - pd.Series(logits).groupby(kept["population"]).transform("mean"))
    n_batches, n_sites = frame["batch"].nunique(), frame["site"].nunique()
    means = frame.groupby("batch")["y"].mean()
    between = 12 * float((means**2).sum()) / (n_batches - n_sites)
    inside = float(((frame["y"] - frame["batch"].map(means)) ** 2).sum()) / (len(frame) - n_batches - 1)
    assert sd == pytest.approx(np.sqrt(max((between - inside) / 12, 0)), abs=0.02)


def test_no_batch_of_several_samples_has_no_spread(compared: Comparison) -> None:
    def of(**changed: object) -> tuple[float, float, float] | str:
        other = Comparison(compared.results)
        samples = compared.selection.samples.assign(**changed)
        other.__dict__["selection"] = replace(compared.selection, samples=samples)
        return batch_spread(other)

    assert of(batch=None) == "no batch holds several samples"
    assert of(batch=lambda t: t["sample_id"]) == "no batch holds several samples"
    assert of(batch=lambda t: t["site"]) == "no site has several batches"


def test_differences_of_controls_are_of_the_controls_of_both_sites(
    compared: Comparison, tables: dict[str, pd.DataFrame]
) -> None:
    n = compared.results.focus_controls().groupby("site").size()
    table = tables["controls_effect"]
    differences = table[table["quantity"] == "difference"]
    assert len(differences) == len(n) * (len(n) - 1) / 2
    wanted = [n[row.site] + n[row.other_site] for row in differences.itertuples()]
    assert differences["n_samples"].tolist() == wanted
    assert table.loc[table["quantity"] == "site_sd", "n_samples"].tolist() == [n.sum()]


def test_a_contrast_without_a_site_in_it_does_not_keep_the_others_from_their_controls(compared: Comparison) -> None:
    usual = recalibrated_table(compared, *controls_of(compared)).set_index("contrast")["recalibrated"].dropna()
    table, first = compared.estimates, usual.index[0]
    other = Comparison(compared.results)
    other.__dict__["estimates"] = table.assign(status=table["status"].where(table["contrast"] != first, "too-few"))
    found = recalibrated_table(other, *controls_of(compared)).set_index("contrast")
    assert found.loc[first, "status"] == "too-few"
    assert found["recalibrated"].dropna().equals(usual.drop(first))


@pytest.mark.parametrize(
    ("freedom", "why"),
    [((0, 9), "no site has several batches"), ((1, 0), "too few samples to tell batches from donors"), ((1, 1), "")],
)
def test_batches_need_a_degree_of_freedom_between_and_inside_them(
    compared: Comparison, monkeypatch: pytest.MonkeyPatch, freedom: tuple[int, int], why: str
) -> None:
    monkeypatch.setattr(sites, "degrees", lambda *_: freedom)
    found = batch_spread(compared)
    assert found == why if why else not isinstance(found, str)


def test_false_calls_beside_the_correction(tables: dict[str, pd.DataFrame]) -> None:
    """Every column against its definition, from the shares of `controls_effect.tsv`."""
    effect = tables["controls_effect"]
    shares = effect[effect["quantity"] == "share"].set_index("site")["estimate"]
    table = tables["recalibrated"].set_index("contrast")
    row = table.loc["population: Japanese - Korean"]
    difference = effect[(effect["site"] == "JP") & (effect["other_site"] == "KR")].iloc[0]
    assert row["control_difference"] == pytest.approx(difference["estimate"])
    assert (row["control_std_error"], row["control_df"]) == pytest.approx((difference["std_error"], difference["df"]))
    logits = special.logit(shares[["JP", "KR"]].to_numpy())
    assert row["control_share"] == pytest.approx(special.expit(logits.mean()))
    assert row["donor_share"] == pytest.approx(special.expit(special.logit([row["share_a"], row["share_b"]]).mean()))
    false = (shares - shares[["JP", "KR"]].min()) / (1 - shares[["JP", "KR"]].min())
    true = [(row[f"share_{side}"] - false[site]) / (1 - false[site]) for side, site in (("a", "JP"), ("b", "KR"))]
    added = special.logit([row["share_a"], row["share_b"]]) - special.logit(true)
    assert row["false_call_difference"] == pytest.approx(added[0] - added[1])
    assert row["correction_difference"] == pytest.approx(row["control_difference"] - row["false_call_difference"])
    assert row["recalibrated"] == pytest.approx(row["estimate"] - row["control_difference"])
    t = row["recalibrated"] / row["recalibrated_std_error"]
    assert row["recalibrated_p_value"] == pytest.approx(2 * stats.t.sf(abs(t), row["recalibrated_df"]))
    for _, one in table.iterrows():
        assert noticeable(one["correction_difference"], one["control_std_error"]) == (
            "if the sites differ by false calls" in str(one["note"])
        )


def test_controls_missing_at_a_site_are_named(compared: Comparison) -> None:
    samples = compared.samples.copy()
    samples.loc[samples["is_control"] & (samples["site"] == "KR"), "site"] = None
    other = Comparison(compared.results)
    other.__dict__["samples"] = samples
    other.__dict__["selection"] = compared.selection
    table = site_tables(other)["recalibrated"].set_index("contrast")
    assert table.loc["population: Japanese - Korean", "status"] == "no-controls"
    assert table.loc["population: Japanese - Korean", "note"] == "no control sample at site KR"
    assert table.loc["population: Japanese - SG_Malay", "status"] == "recalibrated"


def test_samples_without_a_site_are_said_and_not_corrected(tmp_path: Path) -> None:
    samples, counts = make_cohort(2, sites=PAIR)
    samples.loc[(samples["batch"] == "KR_B00") & ~samples["is_control"], "site"] = None
    compared = load_comparison(compare_cohort(tmp_path, samples, counts, models=("quasibinomial",)))
    tables = site_tables(compared)
    row = tables["recalibrated"].set_index("contrast").loc["population: Japanese - Korean"]
    assert (row["status"], row["note"]) == (
        "not-estimable", "the site of some samples is not recorded: no control can stand for it",
    )  # fmt: skip
    note = tables["site_bound"].set_index("contrast").loc["population: Japanese - Korean", "note"]
    assert "sites: not recorded for 12 samples, whose site effects are not counted" in note


def test_contrasts_that_no_site_enters_have_no_bound(compared: Comparison) -> None:
    for status, bounded in (("indirect", False), ("between-batch", False), ("within-site", False), ("too-few", True)):
        other = Comparison(compared.results)
        other.__dict__["estimates"] = compared.estimates.assign(status=status)
        rows = between_sites(other)
        assert len(rows) == (10 if bounded else 0)
    assert {row["status"] for row in between_sites(compared)} == {"between-site"}


def test_tables_hold_numbers_not_text(tables: dict[str, pd.DataFrame]) -> None:
    for table, column in zip(tables.values(), ("estimate", "density", "estimate", "recalibrated"), strict=True):
        assert isinstance(table, pd.DataFrame)
        assert pd.api.types.is_float_dtype(table[column])
