"""The specification curve: its choices, their counts by hand, its rows against fresh comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.models.registry import MODELS
from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.results.scale import log_odds_factor, on_log_odds
from aida_tools.robustness.specifications import (
    AS_FOCUS,
    AS_GIVEN,
    EXCLUDED,
    INCLUDED,
    Grid,
    Levels,
    donor_filters,
    formulas,
    specification_tables,
    unresolved_rules,
)

from .conftest import EFFECTS, SMALL, compare_cohort, make_cohort

LEVELS = Levels(("CD4+_T", "T"), ("bmi", "smoking", "introns"), ("introns",))


@pytest.fixture(scope="module")
def tables(compared: Comparison) -> dict[str, pd.DataFrame]:
    return specification_tables(compared, levels=LEVELS, limit=24, seed=3, threads=2)


def test_unresolved_cells_go_where_the_rule_says(compared: Comparison) -> None:
    rules = unresolved_rules(compared, ("author", "CD4_T"), ("CD4+_T", "T"))
    given, everything = compared.denominators["author", "CD4_T"], compared.denominators["author", "all"]
    treg, naive, open_cd4 = (given.counts[:, given.types.index(t)] for t in ("Treg", "CD4_naive", "CD4+_T"))
    open_t = everything.counts[:, everything.types.index("T")]
    assert list(rules) == [AS_GIVEN, EXCLUDED, INCLUDED, AS_FOCUS]
    want = {
        AS_GIVEN: (treg, treg + naive + open_cd4),
        EXCLUDED: (treg, treg + naive),
        INCLUDED: (treg, treg + naive + open_cd4 + open_t),
        AS_FOCUS: (treg + open_cd4, treg + naive + open_cd4),
    }
    for rule, (focus, total) in want.items():
        d = rules[rule]
        np.testing.assert_array_equal(d.counts[:, d.types.index("Treg")], focus)
        np.testing.assert_array_equal(d.totals, total)
        np.testing.assert_array_equal(d.counts.sum(axis=1), total)
    assert list(unresolved_rules(compared, ("author", "all"), ("CD4+_T", "T"))) == [AS_GIVEN, EXCLUDED, AS_FOCUS]
    assert list(unresolved_rules(compared, ("author", "CD4_T"), ("no such label",))) == [AS_GIVEN]


def test_formulas_and_filters_follow_the_samples(compared: Comparison) -> None:
    assert formulas(compared, ("bmi", "introns", "smoking")) == [
        "~ population + age + sex",
        "~ population",
        "~ population + ns(age, df=3) + sex",
        "~ population + age + sex + bmi",
        "~ population + age + sex + introns",
    ]
    filters = donor_filters(compared, ("introns",))
    assert list(filters)[:3] == ["at least 400 cells", "at least 200 cells", "at least 800 cells"]
    ages = compared.samples["age"]
    overlap = next(f for name, f in filters.items() if name.startswith("ages"))
    used = compared.selection.samples.groupby("population")["age"]
    assert overlap.mask.sum() == ages.between(used.quantile(0.05).max(), used.quantile(0.95).min()).sum()
    np.testing.assert_array_equal(filters["introns: True"].mask, compared.samples["introns"] == "True")
    # One population shares its ages with nobody.
    alone = Comparison(compared.results)
    samples = compared.selection.samples
    one = samples[samples["population"] == samples["population"].iloc[0]]
    alone.__dict__["selection"] = replace(compared.selection, samples=one)
    assert not any(name.startswith("ages") for name in donor_filters(alone, ()))


def test_a_large_grid_keeps_the_reported_one_and_its_neighbours(compared: Comparison) -> None:
    grid = Grid(compared, LEVELS)
    every = grid.all()
    # (3 + 2 rules) x 3 models x 5 formulas x 6 filters, and the unresolved as the focus type once.
    assert len(every) == 5 * 3 * 5 * 6 + 1
    chosen, possible = grid.choose(60, np.random.default_rng(1))
    assert possible == len(every)
    assert len(chosen) == len(set(chosen)) == 60
    assert grid.primary in chosen
    near = [s for s in every if sum(a != b for a, b in zip(s, grid.primary, strict=True)) == 1]
    assert set(near) <= set(chosen)
    assert grid.choose(10_000, np.random.default_rng(1))[0] == every


def test_the_reported_specification_is_the_reported_estimate(
    compared: Comparison, tables: dict[str, pd.DataFrame]
) -> None:
    table = tables["specification"]
    primary = table[table["primary"]].set_index("contrast")
    want = compared.estimates.set_index("contrast")
    assert len(primary) == len(want)
    for column in ("estimate", "ci_low", "ci_high", "p_value"):
        pd.testing.assert_series_equal(primary[column], want[column], rtol=1e-6, check_names=False)
    pd.testing.assert_series_equal(primary["log_odds_ratio"], want["estimate"], rtol=1e-6, check_names=False)


def test_a_specification_is_a_fresh_comparison_with_its_choices(
    tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    samples, counts = make_cohort()
    table = tables["specification"]
    reported = table[table["primary"]].iloc[0]
    contrast = "population: Korean - SG_Chinese"
    choices = ("denominator", "annotator", "model", "covariates", "donors", "unresolved")

    def row(**changed: str) -> pd.Series:
        wanted = {c: changed.get(c, reported[c]) for c in choices} | {"contrast": contrast}
        return table[np.logical_and.reduce([table[k] == v for k, v in wanted.items()])].iloc[0]

    quick: dict[str, object] = {"one_vs_rest": False, "models": (reported["model"],)}

    def fresh(**options: object) -> pd.Series:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder = compare_cohort(folder, samples, counts, contrasts=(contrast,), **(quick | options))
        estimates = load_comparison(folder).estimates
        return estimates[estimates["contrast"] == contrast].iloc[0]

    no_open = "CD4_T=Treg,CD4_naive"
    for found, want in (
        (row(covariates="~ population"), fresh(formula="~ population")),
        (row(unresolved=EXCLUDED), fresh(denominators=(no_open, "all"))),
        (row(model="quasibinomial"), fresh(models=("quasibinomial",))),
        (row(donors="at least 800 cells"), fresh(min_cells=800)),
        (row(denominator="all"), fresh(primary_denominator="all")),
    ):
        assert found["estimate"] == pytest.approx(want["estimate"], rel=1e-6)
        assert found["std_error"] == pytest.approx(want["std_error"], rel=1e-4)


def test_specifications_without_an_answer_say_why(tables: dict[str, pd.DataFrame]) -> None:
    table = tables["specification"]
    bmi = table[table["covariates"].str.contains("bmi") & table["contrast"].str.contains("Korean - SG")]
    assert len(bmi)
    assert set(bmi["status"]) == {"too-few"}
    assert bmi["note"].str.contains("Korean has no samples").all()
    assert table.loc[table["estimate"].isna(), "note"].notna().all()


def test_the_summary_counts_the_table(tables: dict[str, pd.DataFrame]) -> None:
    table, contrast = tables["specification"], "population: Japanese - Korean"
    rows = table[table["contrast"] == contrast].dropna(subset="estimate")
    summary = tables["specification_summary"].set_index("contrast").loc[contrast]
    assert summary["n_specifications"] == 24
    assert summary["n_estimated"] == len(rows)
    assert summary["same_sign"] == pytest.approx((rows["estimate"] > 0).mean())
    assert summary["excludes_1"] == pytest.approx(((rows["ci_low"] > 0) | (rows["ci_high"] < 0)).mean())
    assert summary["maximum"] == rows["log_odds_ratio"].max()
    assert summary["same_sign"] > 0.9  # The planted effect is large.
    assert f"{len(rows)} of 24 specifications" in summary["sentence"]


@pytest.mark.parametrize("model", [name for name, m in MODELS.items() if m.link in ("log10", "asin")])
def test_other_scales_become_log_odds(model: str) -> None:
    """The converted difference of two near shares is their log odds ratio to second order."""
    a, b = 0.052, 0.048
    log_odds = np.log(a / (1 - a)) - np.log(b / (1 - b))
    own = {"log10": np.log10(a / b), "asin": np.arcsin(np.sqrt(a)) - np.arcsin(np.sqrt(b))}[MODELS[model].link]
    assert own * log_odds_factor(model, a, b) == pytest.approx(log_odds, rel=2e-3)


def test_a_scale_without_odds_says_so() -> None:
    row = {"model": "clr", "estimate": 0.2, "std_error": 0.1, "ci_low": 0.0, "ci_high": 0.4, "status": "within-site"}
    found = on_log_odds(row)
    assert found["status"] == "not-estimable"
    assert np.isnan(found["estimate"])
    assert "no odds ratio" in found["note"]


def test_all_models_land_near_the_planted_effect(tmp_path: Path) -> None:
    samples, counts = make_cohort(11, sites=SMALL, donors=24, cells=4000, donor_sd=0.1)
    folder = compare_cohort(tmp_path, samples, counts, models=(), one_vs_rest=False)
    compared = load_comparison(folder)
    specs = specification_tables(compared, levels=Levels((), (), ()), limit=40)["specification"]
    rows = specs[
        (specs["contrast"] == "population: Korean - SG_Chinese")
        & (specs["covariates"] == "~ population + age + sex")
        & (specs["denominator"] == "CD4_T")
        & specs["log_odds_ratio"].notna()
    ]
    assert rows["model"].nunique() >= 6
    # Treg is rare: its log odds in CD4 T are those of its weight.
    np.testing.assert_allclose(rows["log_odds_ratio"], EFFECTS["Korean"], atol=0.12)
