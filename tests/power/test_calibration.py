"""The calibration benchmark: its cohorts are what it says they are, and its committed table says what we say of it."""

from __future__ import annotations

import fnmatch
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from aida_tools.compare.run import compare_tables
from aida_tools.compare.step import Options
from aida_tools.models.mixed import MODEL as MIXED
from aida_tools.models.registry import MODELS


@pytest.fixture(scope="module")
def run(root: Path) -> ModuleType:
    """The benchmark; the modules beside it come with it."""
    sys.path.insert(0, str(root / "benchmarks" / "calibration"))
    try:
        return import_module("run")
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def simulate(run: ModuleType) -> ModuleType:
    return run.simulate


def test_the_design_is_that_of_the_study(simulate: ModuleType) -> None:
    samples = simulate.make_samples(np.random.default_rng(1))
    assert len(samples) == 600
    assert samples["batch"].nunique() == 14 + 9 + 11 + 4 + 3
    assert samples.groupby("batch")["site"].nunique().eq(1).all()
    assert samples.groupby("batch").size().max() == 15
    mixed = samples[samples["site"] == "SG"].groupby("batch")["population"].value_counts()
    assert mixed.eq(5).all()
    assert samples.groupby("population").size()["SG_Chinese"] == 70


@pytest.mark.parametrize("name", ["A", "C", "D"])
def test_spreads_and_effects_are_those_of_the_scenario(simulate: ModuleType, name: str) -> None:
    scenario = simulate.SCENARIOS[name]
    rng, runs = np.random.default_rng(2), 100
    malay, japanese, between, batches = [], [], [], []
    for _ in range(runs):
        cohort = simulate.draw(scenario, rng)
        share = pd.Series(logit((cohort.counts[:, 0] + 0.5) / (cohort.totals + 1)))
        means = share.groupby(cohort.samples["population"]).mean()
        malay.append(means["SG_Malay"] - means["SG_Chinese"])
        japanese.append(means["Japanese"] - means["SG_Chinese"])
        between.append(means["Korean"] - means["Thai"])
        korea = (cohort.samples["site"] == "KR").to_numpy()
        batches.append(share[korea].groupby(cohort.samples["batch"][korea]).mean().var())
        assert (cohort.counts.sum(axis=1) == cohort.totals).all()
    assert np.mean(malay) == pytest.approx(0, abs=4 * np.std(malay) / np.sqrt(runs))
    # Age differs between the sites: 13.5 years at the median.
    wanted = simulate.PLANTED - 0.1 * 13.5 / 12
    assert np.mean(japanese) == pytest.approx(wanted, abs=4 * np.std(japanese) / np.sqrt(runs))
    # Donors, ages, sexes, and cells: the mean of 1 / N where N is gamma with shape 4.
    donor = 0.35**2 + 0.1**2 + 0.025**2 + 1 / (0.75 * 700 * 0.05 * 0.95)
    # Korea fills ten batches with 15 donors and one with 10.
    assert np.mean(batches) == pytest.approx(scenario.batch_sd**2 + donor * (10 / 15 + 1 / 10) / 11, rel=0.15)
    wanted = 2 * scenario.site_sd**2 + scenario.batch_sd**2 * (1 / 11 + 1 / 4) + donor * (1 / 160 + 1 / 60)
    assert np.var(between) == pytest.approx(wanted, rel=0.5)


def test_a_cohort_depends_on_its_number_alone(simulate: ModuleType) -> None:
    one, other = (simulate.draw(simulate.SCENARIOS["B"], np.random.default_rng([1, 7])) for _ in range(2))
    assert (one.counts == other.counts).all()


def test_its_estimates_are_those_of_compare(run: ModuleType) -> None:
    """For every model of the registry that fits counts: what the benchmark finds is true of what users run."""
    cohort = run.draw("B", 0)
    models = [name for name, model in MODELS.items() if model.of_counts]
    fitted = run.fit_cohort(cohort, models)
    types = [run.FOCUS, *(f"type {k}" for k in range(1, cohort.counts.shape[1]))]
    wide = pd.DataFrame(cohort.counts, columns=types, index=cohort.samples["sample_id"])
    counts = wide.reset_index().melt("sample_id", var_name="cell_type", value_name="n_cells")
    samples = cohort.samples.assign(n_cells=cohort.totals)
    options = Options(models=models, formula=run.FORMULA, contrasts=tuple(cohort.truth), denominators=("all",))
    estimates = compare_tables(counts, samples, options=options)[0]["estimates"]
    keys, numbers = ["model", "contrast"], ["estimate", "std_error", "df"]
    wanted = estimates[estimates["cell_type"] == run.FOCUS].set_index(keys)[numbers]
    # Batches as a factor leave no sites to compare.
    assert wanted["estimate"].notna().sum() == sum(2 if MODELS[name].by_batch else 4 for name in models)
    pd.testing.assert_frame_equal(fitted.set_index(keys)[numbers], wanted, check_like=True, rtol=1e-6)


@pytest.fixture(scope="module")
def results(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "benchmarks" / "calibration" / "results.tsv", sep="\t")


def test_models_are_named_as_in_the_registry(root: Path, results: pd.DataFrame) -> None:
    folder = root / "benchmarks" / "calibration"
    picture, page = ((folder / name).read_text() for name in ("calibration.svg", "README.md"))
    assert set(results["model"]) <= set(MODELS)
    assert not [name for name in set(results["model"]) if f">{name}</text>" not in picture]
    said = re.findall(r"`((?:betabinomial|quasi|propeller|clr|log10)[\w-]*\*?)`", page)
    assert MIXED.name in said
    assert not [pattern for pattern in said if not fnmatch.filter(MODELS, pattern)]


@pytest.mark.parametrize("scenario", ["A", "B", "E"])
@pytest.mark.parametrize("kind", ["within-site", "between-site"])
def test_the_primary_model_is_calibrated(results: pd.DataFrame, scenario: str, kind: str) -> None:
    rows = results[(results["scenario"] == scenario) & (results["model"] == "betabinomial-mixed")]
    row = rows[rows["contrast"] == f"{kind}, no effect"].iloc[0]
    slack = 2 * row["rejected_mcse"]
    assert row["cohorts"] >= 1000
    assert row["failed"] == 0
    assert 0.04 - slack <= row["rejected"] <= 0.06 + slack
    assert 0.94 - slack <= row["coverage"] <= 0.96 + slack


def test_the_closed_form_foresees_the_power_of_the_simulation(results: pd.DataFrame) -> None:
    rows = results.dropna(subset="predicted")
    assert set(rows["scenario"]) == set("ABCDE")
    assert (rows["predicted"] - rows["rejected"]).abs().max() < 0.06


def test_no_model_repairs_an_unknown_site(results: pd.DataFrame) -> None:
    rows = results[(results["scenario"] == "C") & (results["contrast"] == "between-site, no effect")]
    assert (rows["rejected"].dropna() > 0.5).all()
