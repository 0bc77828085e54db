"""`aida-tools power` over what `aida-tools compare` writes."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import special, stats
from statsmodels.stats.power import TTestIndPower

from aida_tools.cli import main
from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.core.schema import write_tsv
from aida_tools.power.detect import detectable
from aida_tools.power.run import usual_plans
from aida_tools.results.results import load_results
from tests.statuses.told import compared as compared_of

DONOR_SD, BATCH_SD, SHARE = 0.3, 0.15, 0.1


def write_counts(folder: Path, *, batches: int = 8, batch_column: bool = True, seed: int = 2) -> Path:
    """Two populations mixed at site X, one alone at site Y; types `focus` (10 %) and `other`."""
    rng = np.random.default_rng(seed)
    n = batches * 20
    population = np.where(np.arange(n) >= n // 2, "C", np.array(["A", "B"])[np.arange(n) % 2])
    batch = np.arange(n) // 20
    eta = special.logit(SHARE) + rng.normal(0, BATCH_SD, batches)[batch] + rng.normal(0, DONOR_SD, n)
    focus = rng.binomial(800, special.expit(eta))
    ids = [f"d{i:03d}" for i in range(n)]
    samples = pd.DataFrame(
        {
            "sample_id": ids, "population": population, "site": np.where(population == "C", "Y", "X"),
            "batch": [f"b{j}" for j in batch], "sex": rng.choice(["female", "male"], n), "age": rng.integers(20, 70, n),
        }
    )  # fmt: skip
    counts = pd.concat(
        pd.DataFrame({"sample_id": ids, "cell_type": name, "n_cells": values})
        for name, values in (("focus", focus), ("other", 800 - focus))
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_tsv(samples if batch_column else samples.drop(columns="batch"), folder / "samples.tsv")
    write_tsv(counts, folder / "counts.tsv")
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_counts(tmp_path_factory.mktemp("power"), batches=24)
    options = Options(models=("betabinomial-mixed",), focus="focus", one_vs_rest=True)
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=options)
    return folder / "compare"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["power", *map(str, arguments)])
    return result.exit_code, result.output


def test_spreads_and_standard_errors_are_those_that_were_planted(compared: Path, tmp_path: Path) -> None:
    assert run(compared, "--out", tmp_path)[0] == 0
    table = pd.read_csv(tmp_path / "power.tsv", sep="\t").set_index(["cell_type", "contrast"]).loc["focus"]
    pair = table.loc["population: A - B"]
    assert pair["donor_sd"] == pytest.approx(DONOR_SD, rel=0.1)
    assert pair["batch_sd"] == pytest.approx(BATCH_SD, rel=0.35)
    assert pair["share"] == pytest.approx(SHARE, rel=0.1)
    # What the spreads lead to expect is what the model's own information matrix says.
    assert table["std_error_spread"].to_numpy() == pytest.approx(table["std_error"].to_numpy(), rel=0.08)
    assert table.loc["population: A - C", "note"] == "holds only as far as the sites do not differ"
    assert pd.isna(pair["note"])
    assert table.loc["age", "mdor"] < pair["mdor"] < table.loc["population: A - C", "mdor"]


def test_what_a_detectable_odds_ratio_holds_for_follows_the_status(compared: Path) -> None:
    results = load_results(compared)
    asked = ["population: A - B", "population: A - C", "population: B - C", "population: A - rest", "age"]
    rows = results.estimates.set_index("contrast").loc[asked].query("cell_type == 'focus'").reset_index()
    statuses = ["within-site", "between-batch", "indirect", "between-site", "between-site"]
    rows = rows.assign(status=statuses, superseded=False)
    gone = rows.iloc[[0]].assign(
        status="too-few", estimate=np.nan, std_error=np.nan, df=np.nan, note="too few", contrast="population: C - rest"
    )
    better = rows.iloc[[0]].assign(superseded=True, std_error=0.001)
    table = detectable(dataclasses.replace(results, estimates=pd.concat([better, rows, gone], ignore_index=True)))
    assert table["contrast"].tolist() == [*asked, "population: C - rest"]
    sites = "holds only as far as the sites do not differ"
    assert table["note"].where(table["note"].notna(), "").tolist() == [
        "",
        "holds only as far as the batches do not differ",
        "holds only as far as the samples that link the two sides are alike at every site",
        sites,
        f"{sites}; for one unit (one year of age)",
        "too few",
    ]
    # Twice a one-sided test at 0.025 with 80 % power, many degrees of freedom.
    first = rows.iloc[0]
    wanted = np.exp((stats.t.ppf(0.975, first["df"]) + stats.t.ppf(0.8, first["df"])) * first["std_error"])
    assert table["mdor"].iloc[0] == pytest.approx(wanted, rel=0.002)
    assert np.isnan(table["mdor"].iloc[-1])


def test_a_row_with_a_term_for_the_site_has_the_error_of_its_own_design() -> None:
    """Without the term, age would carry a site into the contrast, and its error would be half as large."""
    results = compared_of("age-confounded", 1)
    table = detectable(results).set_index(["cell_type", "contrast"])
    assert (results.superseded()["contrast"] == "population: A - B").any()
    for contrast in ("population: A - B", "age"):
        row = table.loc[("focus", contrast)]
        assert row["std_error_spread"] == pytest.approx(row["std_error"], rel=0.08)


def test_a_plan_like_the_cohort_detects_what_the_cohort_does(compared: Path, tmp_path: Path) -> None:
    assert run(compared, "--plan", "donors=120,cells=800,batches=6", "--out", tmp_path)[0] == 0
    done = pd.read_csv(tmp_path / "power.tsv", sep="\t").set_index(["cell_type", "contrast"])
    plans = pd.read_csv(tmp_path / "plans.tsv", sep="\t")
    asked = plans[(plans["source"] == "asked") & (plans["kind"] == "within-site")].iloc[0]
    assert asked["std_error"] == pytest.approx(done.loc[("focus", "population: A - B"), "std_error"], rel=0.05)
    curves = pd.read_csv(tmp_path / "power_curves.tsv", sep="\t")
    inside = curves[curves["kind"] == "within-site"]
    at_mdor = np.interp(asked["mdor"], inside["odds_ratio"], inside["power"])
    assert at_mdor == pytest.approx(0.8, abs=0.005)


def test_plans_of_many_sizes_are_tried_unasked(compared: Path, tmp_path: Path) -> None:
    assert run(compared, "--out", tmp_path)[0] == 0
    plans = pd.read_csv(tmp_path / "plans.tsv", sep="\t")
    tried = plans[(plans["source"] == "range") & (plans["kind"] == "within-site")]
    assert sorted(set(tried["donors"])) == [20, 40, 70, 100, 150, 200, 300]
    # Half, all and twice the cells of this cohort's samples.
    assert sorted(set(tried["cells"])) == [400, 800, 1600]
    # Twenty donors a batch, as here.
    assert (tried["batches"] == (tried["donors"] / 20).round().clip(lower=1)).all()
    assert (tried.sort_values("donors").groupby("cells")["mdor"].agg(lambda m: m.diff().max()) < 0).all()


def test_a_plan_has_a_cell_a_donor_at_least(compared: Path) -> None:
    results = load_results(compared)
    few = dataclasses.replace(results, shares=results.shares.assign(total=0.4))
    annotator, denominator = (str(results.options[key]) for key in ("annotator", "denominator"))
    plans, usual = usual_plans(few, annotator, denominator)
    assert {plan.cells for plan in [*plans, usual]} == {1}


def test_plans_between_sites_say_how_often_an_ignored_site_would_mislead(compared: Path, tmp_path: Path) -> None:
    assert run(compared, "--site-sd", 0, "--site-sd", 0.3, "--out", tmp_path)[0] == 0
    plans = pd.read_csv(tmp_path / "plans.tsv", sep="\t")
    between = plans[(plans["kind"] == "between-site")].dropna(subset="mdor")
    none, some = (between[between["site_sd"] == sd].set_index(["source", "plan"]) for sd in (0.0, 0.3))
    assert none["false_positive_rate"].to_numpy() == pytest.approx(0.05)
    assert (some["false_positive_rate"] > 0.05).all()
    assert (some["mdor"] > none["mdor"]).all()
    few = plans[(plans["batches"] == 1) & (plans["kind"] == "between-site")]
    assert few["std_error"].isna().all()
    assert few["note"].str.contains("no degrees of freedom").all()


def test_without_batches_the_spread_between_them_is_missing_and_said_so(tmp_path: Path) -> None:
    folder = write_counts(tmp_path, batches=3, batch_column=False)
    options = Options(models=("betabinomial",), focus="focus")
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=options)
    assert run(folder / "compare", "--out", tmp_path / "power")[0] == 0
    table = pd.read_csv(tmp_path / "power" / "power.tsv", sep="\t")
    assert table["batch_sd"].isna().all()
    assert table["spread_note"].str.contains("no batch is recorded").all()
    assert table["mdor"].notna().all()


def test_a_cohort_of_one_batch_a_site_has_power_between_sites(tmp_path: Path) -> None:
    """Nothing is compared inside a site there, and no batch effect can be modelled: the t test of donors is left."""
    folder = write_counts(tmp_path, batches=3)
    samples = pd.read_csv(folder / "samples.tsv", sep="\t")
    samples["population"] = samples["site"] = samples["batch"].map({"b0": "P", "b1": "Q", "b2": "R"})
    write_tsv(samples, folder / "samples.tsv")
    options = Options(models=("betabinomial-mixed",), focus="focus")
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=options)
    assert run(folder / "compare", "--site-sd", 0, "--out", tmp_path / "power")[0] == 0
    done = pd.read_csv(tmp_path / "power" / "power.tsv", sep="\t").query("contrast == 'population: P - Q'").iloc[0]
    assert done["status"] == "between-site"
    assert pd.isna(done["batch_sd"])
    assert "3 batches, 3 between-batch coefficients" in done["spread_note"]
    plans = pd.read_csv(tmp_path / "power" / "plans.tsv", sep="\t")
    own = plans[(plans["source"] == "as this cohort") & (plans["kind"] == "between-site")].iloc[0]
    assert own["df"] == 2 * 20 - 2
    assert "leaves batches out" in own["note"]
    curves = pd.read_csv(tmp_path / "power" / "power_curves.tsv", sep="\t")
    between = curves[curves["kind"] == "between-site"]
    # Donors' logits without covariates: what the t test of two groups of 20 has.
    wanted = TTestIndPower().power(np.log(between["odds_ratio"].iloc[-1]) / own["std_error"] / np.sqrt(10), 20, 0.05)
    assert between["power"].iloc[-1] == pytest.approx(wanted, abs=1e-6)
    assert own["std_error"] == pytest.approx(done["std_error"], rel=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--plan", "donors=5"], "'cells' is missing"), (["--plan", "cells=5,batches=x"], "value 'x' must be")],
)
def test_a_wrong_plan_writes_nothing(compared: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    code, output = run(compared, *arguments, "--out", tmp_path / "out")
    assert code == 1
    assert words in output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_comparison_is_refused(tmp_path: Path) -> None:
    code, output = run(tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "compare.json: there is no such file" in output


def test_models_that_are_not_odds_ratios_are_refused(tmp_path: Path) -> None:
    folder = write_counts(tmp_path, batches=4)
    options = Options(models=("log10-ols",), focus="focus")
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=options)
    code, output = run(folder / "compare", "--out", tmp_path / "power")
    assert code == 1
    assert "give no odds ratios" in output


def test_a_comparison_without_estimates_gives_empty_tables_with_their_columns(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path / "compare")
    header = (compared / "estimates.tsv").read_text().splitlines()[0]
    (tmp_path / "compare" / "estimates.tsv").write_text(header + "\n")
    code, output = run(tmp_path / "compare", "--out", tmp_path / "power")
    assert code == 0, output
    for name, column in (("power", "mdor"), ("plans", "mdor"), ("power_curves", "power")):
        table = pd.read_csv(tmp_path / "power" / f"{name}.tsv", sep="\t")
        assert table.empty
        assert column in table
