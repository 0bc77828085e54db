"""Rows of contrasts: what leaks into them, at what size it counts, and what stands beside the number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from aida_tools.compare.run import compare_tables
from aida_tools.compare.step import Options
from aida_tools.design.contrasts import Contrast
from aida_tools.design.sites import HARMLESS, PLAUSIBLE_SITE_SD, Leaks, Places, standing, tolerable

A_B = "population: A - B"


def tables(samples: pd.DataFrame, log_odds: np.ndarray, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return counts of Treg among 700 cells or so, and the samples."""
    rng = np.random.default_rng(seed)
    n = rng.integers(400, 1000, len(samples))
    treg = rng.binomial(n, special.expit(log_odds + rng.normal(0, 0.3, len(samples))))
    samples = samples.assign(sample_id=[f"s{i}" for i in range(len(samples))])
    if "donor_id" not in samples:
        samples["donor_id"] = samples["sample_id"]
    wide = pd.DataFrame({"sample_id": samples["sample_id"], "Treg": treg, "other": n - treg})
    return wide.melt("sample_id", var_name="cell_type", value_name="n_cells"), samples


def rows(samples: pd.DataFrame, log_odds: np.ndarray, *, seed: int = 0, **options: Any) -> pd.DataFrame:
    """Compare with the primary model; return the rows of Treg."""
    options = {"models": ("betabinomial-mixed",), "formula": "~ population", "contrasts": (A_B,)} | options
    counts, samples = tables(samples, log_odds, seed)
    estimates = compare_tables(counts, samples, options=Options(**options))[0]["estimates"]
    return estimates[estimates["cell_type"] == "Treg"]


def groups(*parts: tuple[str, str, str, int]) -> pd.DataFrame:
    """Return samples of (population, site, batch, how many)."""
    table = [(p, site, batch) for p, site, batch, n in parts for _ in range(n)]
    return pd.DataFrame(table, columns=["population", "site", "batch"])


@pytest.mark.parametrize(("factor", "status"), [(0.99, "within-site"), (1.01, "between-site")])
def test_a_leak_counts_from_a_tenth_of_the_standard_error_on(factor: float, status: str) -> None:
    """At site SD 0.3 a leak of 0.02 moves an estimate by 0.006: a tenth of a standard error of 0.06."""
    assert (HARMLESS, PLAUSIBLE_SITE_SD) == (0.1, 0.3)
    assert tolerable(0.06, 1.0) == pytest.approx(0.02)
    # On a scale on which one unit of log-odds is 0.4 units, the same leak moves an estimate by as much less.
    assert tolerable(0.06, 0.4) == pytest.approx(0.05)
    places = Places(groups(("A", "S", "b1", 5), ("B", "S", "b1", 5)).assign(donor_id=list("abcdefghij")))
    leaks = Leaks(np.array([0.02 * factor]), 0.0, 0.01, 0.2, 0.0, (), 5.0)
    found = standing(Contrast("population", "A", "B"), leaks, places, tolerable(0.06, 1.0), inside=True, fixable=False)
    assert found.status == status


def test_a_small_leak_is_said_and_harmless() -> None:
    """Four of 200 samples of C are at A and B's site, and C's other site leaks through the slope of age a little."""
    samples = groups(
        *((p, "S1", f"b{k}", 12) for k in range(4) for p in "AB"), ("C", "S1", "b0", 8), ("C", "S2", "c", 40)
    )
    rng = np.random.default_rng(1)
    samples["age"] = (
        rng.normal(40, 10, len(samples)) + 3 * (samples["site"] == "S2") + 0.5 * (samples["population"] == "A")
    )
    (row,) = rows(samples, np.full(len(samples), -2.5), formula="~ population + age").to_dict("records")
    assert 1e-3 < row["site_leak"] < tolerable(row["std_error"], 1.0)
    assert row["status"] == "within-site"
    assert "of a site's effect enters it" in row["note"]
    assert not row["superseded"]


def test_n_effective_is_what_the_estimate_rests_on() -> None:
    """A plain comparison of 20 and 60 rests on 20; with a term for the site, one bridging sample is all there is."""
    plain = groups(("A", "S", "b", 20), ("B", "S", "b", 60))
    alone = rows(plain, np.full(80, -2.0)).iloc[0]
    assert alone["n_effective"] == pytest.approx(20, rel=0.05)
    assert "comes through" not in str(alone["note"])
    bridge = groups(("A", "S1", "b1", 60), ("B", "S1", "b1", 1), ("B", "S2", "b2", 59))
    asked, better = rows(bridge, np.full(120, -2.0)).to_dict("records")
    assert (asked["status"], asked["superseded"], asked["formula"]) == ("between-site", True, "~ population")
    assert (better["superseded"], better["formula"]) == (False, "~ population + site")
    assert better["n_effective"] == pytest.approx(1, rel=1e-6)
    assert better["std_error"] > 4 * asked["std_error"]
    assert better["q_value"] == pytest.approx(better["p_value"])


def test_the_rest_is_the_mean_of_its_populations_however_many_were_recruited() -> None:
    """B is as A, C is higher by 1: A against the rest is -1/2 by algebra, and not what 90 donors of C say."""
    parts = [(p, "S", f"b{k}", n) for k in range(3) for p, n in (("A", 20), ("B", 10), ("C", 90))]
    samples = groups(*parts)
    log_odds = -2.5 + 1.0 * (samples["population"] == "C").to_numpy()
    models, contrasts = ("betabinomial-mixed", "log10-ols"), ("population: A - rest", A_B, "population: A - C")
    found = rows(samples, log_odds, models=models, contrasts=contrasts).set_index(["model", "contrast"])
    of = found.loc["betabinomial-mixed"]["estimate"]
    assert of["population: A - rest"] == pytest.approx((of[A_B] + of["population: A - C"]) / 2, abs=1e-12)
    shares = found.loc["betabinomial-mixed"]
    assert shares.loc["population: A - rest", "share_b"] == pytest.approx(
        (shares.loc[A_B, "share_b"] + shares.loc["population: A - C", "share_b"]) / 2, rel=1e-9
    )
    study = found.loc["log10-ols", "population: A - rest"]
    assert "each donor weighs alike, as in the reference study" in study["note"]
    recruited = np.log10(special.expit(-2.5)) - (
        0.1 * np.log10(special.expit(-2.5)) + 0.9 * np.log10(special.expit(-1.5))
    )
    assert study["estimate"] == pytest.approx(recruited, abs=0.06)


def test_controls_tie_sites_of_one_population_together() -> None:
    """Sites differ by 0.8 and the populations by -0.3: only the controls, run at both, can tell these apart."""
    runs = [(p, s, f"{s}{k}", 12) for s, p in (("S1", "A"), ("S2", "B")) for k in range(5)]
    controls = [("European", s, f"{s}{k}", 3) for s in ("S1", "S2") for k in range(5)]
    samples = groups(*runs, *controls)
    samples["is_control"] = samples["population"] == "European"
    samples["donor_id"] = [f"d{i}" if not c else f"c{i % 3}" for i, c in enumerate(samples["is_control"])]
    samples["age"] = np.where(samples["is_control"], np.nan, np.random.default_rng(2).normal(40, 10, len(samples)))
    log_odds = -2.5 + 0.8 * (samples["site"] == "S1") - 0.3 * (samples["population"] == "A")
    options: dict[str, Any] = {"formula": "~ population + age"}
    (alone,) = rows(samples, log_odds.to_numpy(), **options).to_dict("records")
    assert alone["status"] == "between-site"
    assert alone["estimate"] == pytest.approx(0.5, abs=0.25)
    asked, tied = rows(samples, log_odds.to_numpy(), controls=True, **options).to_dict("records")
    assert asked["superseded"]
    assert tied["status"] == "indirect"
    assert "rests on control" in tied["aliased_with"]
    assert "3 donors measured at several sites" in tied["note"]
    assert tied["ci_low"] < -0.3 < tied["ci_high"] < alone["estimate"]


def test_bridging_donors_all_stay_in() -> None:
    """Ten donors of A were run at both sites; the sites differ by 1 and the populations not at all."""
    samples = groups(*(("A", "S1", f"a{k}", 10) for k in range(5)), *(("B", "S2", f"b{k}", 10) for k in range(5)))
    again = samples.iloc[:10].assign(site="S2", batch=["b0", "b1", "b2", "b3", "b4"] * 2)
    every = pd.concat([samples, again], ignore_index=True)
    every["donor_id"] = [f"d{i}" for i in [*range(100), *range(10)]]
    log_odds = -2.5 + 1.0 * (every["site"] == "S1").to_numpy()
    for formula in ("~ population", "~ population + site"):
        found = rows(every, log_odds, formula=formula)
        (tied,) = found[~found["superseded"]].to_dict("records")
        assert tied["status"] == "within-site"
        assert tied["n_samples_a"] == 60
        assert tied["ci_low"] < 0 < tied["ci_high"]
        assert 5 < tied["n_effective"] < 11
        assert "10 donors measured at several sites tie the sites together" in tied["note"]
    # A model that does not know donors is given one sample of each.
    (plain,) = rows(every, log_odds, formula="~ population + site", models=("betabinomial",)).to_dict("records")
    assert plain["n_samples_a"] == 50


def test_standardised_shares_say_where_ages_do_not_overlap() -> None:
    samples = groups(*((p, "S", f"b{k}", 10) for k in range(3) for p in "AB"))
    rng = np.random.default_rng(3)
    samples["age"] = np.where(samples["population"] == "A", rng.uniform(20, 30, 60), rng.uniform(50, 70, 60))
    counts, table = tables(samples, np.full(60, -2.5))
    options = Options(models=("betabinomial-mixed",), formula="~ population + age")
    standardised = compare_tables(counts, table, options=options)[0]["standardised"]
    note = standardised.query("contrast == @A_B and cell_type == 'Treg'")["note"].iloc[0]
    assert note.startswith("the sides do not overlap in age (")
    mixed = table.assign(age=rng.permutation(table["age"]))
    assert (
        compare_tables(counts, mixed, options=options)[0]["standardised"].query("contrast == @A_B")["note"].isna().all()
    )


def test_samples_without_a_batch_are_one_batch_of_their_site() -> None:
    """Forty batches of one sample each would be forty witnesses; they may have been one run."""
    samples = groups(*(("A", "S1", f"a{k}", 10) for k in range(4)), ("B", "S2", "x", 40))
    known = rows(samples, np.full(80, -2.0))
    samples.loc[samples["site"] == "S2", "batch"] = None
    blank = rows(samples, np.full(80, -2.0))
    assert "the batch of 40 samples is not recorded: those of a site are taken for one batch" in blank["note"].iloc[0]
    for column in ("estimate", "std_error", "df"):
        assert blank[column].iloc[0] == pytest.approx(known[column].iloc[0], rel=1e-6)


def test_what_has_no_standardised_share_does_not_hide_what_has_one() -> None:
    samples = groups(("A", "S", "b1", 15), ("B", "S", "b1", 15), ("A", "S", "b2", 15), ("B", "S", "b2", 15))
    samples["age"] = np.random.default_rng(3).normal(40, 10, 60)
    counts, samples = tables(samples, np.full(60, -2.0))
    options = Options(models=("betabinomial-mixed",), formula="~ population + age", contrasts=("age", A_B))
    told = compare_tables(counts, samples, options=options)[0]["standardised"]
    assert set(told["contrast"]) == {A_B}


def test_one_against_the_rest_is_asked_only_if_it_is_asked_for() -> None:
    samples = groups(*((p, "S", f"b{k}", 8) for k in range(2) for p in "ABC"))
    asked = {"contrasts": (), "formula": "~ population"}
    pairs = {f"population: {a} - {b}" for a, b in ("AB", "AC", "BC")}
    assert set(rows(samples, np.full(48, -2.0), **asked)["contrast"]) == pairs
    rest = {f"population: {p} - rest" for p in "ABC"}
    assert set(rows(samples, np.full(48, -2.0), one_vs_rest=True, **asked)["contrast"]) == pairs | rest
    samples["age"] = np.random.default_rng(1).normal(40, 10, 48)
    alone = rows(samples, np.full(48, -2.0), one_vs_rest=True, formula="~ age", contrasts=("age",))
    assert set(alone["contrast"]) == {"age"}
