"""`aida-tools compare`, table to table: truth, statuses, filters, families, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from click.testing import CliRunner
from scipy import stats

from aida_tools.cli import main
from aida_tools.compare.run import compare, compare_tables
from aida_tools.compare.step import Options
from aida_tools.compare.tables import ESTIMATES, read_estimates
from aida_tools.core.errors import AidaError
from aida_tools.core.options import make
from aida_tools.design.formula import TRANSFORMS, parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models.adjust import false_discovery_rate, holm
from aida_tools.models.registry import MODELS

from .made import EFFECTS, TYPES, make_cohort, write

COUNT_MODELS = {name: model for name, model in MODELS.items() if model.of_counts}
CD4 = "CD4_T=Treg,CD4_naive,CD4_memory"


def run(folder: Path, samples: pd.DataFrame, counts: pd.DataFrame, **options: object) -> pd.DataFrame:
    paths = write(folder / "in", samples, counts)
    defaults: dict[str, object] = {"denominators": (CD4, "all"), "one_vs_rest": True}
    compare(*paths, folder / "out", options=make(Options, defaults | options, "the test"))
    return read_estimates(folder / "out" / "estimates.tsv")


@pytest.fixture(scope="module")
def cohort() -> tuple[pd.DataFrame, pd.DataFrame]:
    return make_cohort()


@pytest.fixture(scope="module")
def result(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    run(folder, *cohort)
    return folder / "out"


@pytest.fixture(scope="module")
def estimates(result: Path) -> pd.DataFrame:
    return read_estimates(result / "estimates.tsv")


def one(estimates: pd.DataFrame, contrast: str, model: str, cell_type: str = "Treg", denominator: str = "CD4_T"):
    rows = estimates[
        (estimates["contrast"] == contrast) & (estimates["model"] == model)
        & (estimates["cell_type"] == cell_type) & (estimates["denominator"] == denominator)
    ]  # fmt: skip
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_contrast_of_every_type_and_model_is_a_row(estimates: pd.DataFrame) -> None:
    assert list(estimates.columns) == ESTIMATES.names
    # 10 pairs, 5 one-vs-rest, age, sex; 3 types of CD4 T and all 5.
    assert len(estimates) == 17 * 8 * len(COUNT_MODELS)
    empty = estimates["estimate"].isna()
    # Only the model that compares inside batches has to refuse: all pairs but Singapore's, and every rest, which
    # holds Korean or Japanese.
    assert set(estimates.loc[empty, "model"]) == {"betabinomial-batch"}
    assert empty.sum() == (7 + 5) * 8
    assert estimates.loc[empty, "note"].str.contains("batch").all()


@pytest.mark.parametrize("model", [m for m in COUNT_MODELS if MODELS[m].link == "logit" and not MODELS[m].by_batch])
def test_planted_odds_ratios_are_recovered(estimates: pd.DataFrame, model: str) -> None:
    """Within the 99 % intervals; how often the 95 % ones hold is counted in benchmarks/calibration."""
    for contrast, status, truth in (
        ("population: SG_Chinese - SG_Malay", "within-site", -EFFECTS["SG_Malay"]),
        ("population: Japanese - Korean", "between-site", -EFFECTS["Korean"]),
    ):
        row = one(estimates, contrast, model)
        assert row["status"] == status
        assert abs(row["estimate"] - truth) < stats.t.ppf(0.995, row["df"]) * row["std_error"]
        assert row["p_value"] < 0.05
    assert row["share_a"] > row["share_b"]


def test_standardised_shares_give_back_the_odds_ratio(estimates: pd.DataFrame) -> None:
    """The covariates do nothing in the made cohort, so the odds of the standardised shares are nearly collapsible."""
    row = one(estimates, "population: Japanese - Korean", "betabinomial")
    odds = [row[s] / (1 - row[s]) for s in ("share_a", "share_b")]
    assert np.log(odds[0] / odds[1]) == pytest.approx(row["estimate"], abs=0.01)


def test_donors_of_a_batch_are_compared_with_one_another_only(estimates: pd.DataFrame) -> None:
    malay = one(estimates, "population: SG_Chinese - SG_Malay", "betabinomial-batch")
    assert malay["status"] == "within-site"
    assert malay["ci_low"] < -EFFECTS["SG_Malay"] < malay["ci_high"]
    korean = one(estimates, "population: Japanese - Korean", "betabinomial-batch")
    assert korean["status"] == "not-estimable"
    assert "batch KR_B001 to KR_B004 (4)" in korean["note"]


def test_log10_ols_is_the_reference_studys_regression(
    cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    """One-vs-rest by statsmodels with a 0/1 dummy, zeros dropped, as the reference study's script does."""
    samples, counts = (table.copy() for table in cohort)
    zero = samples.loc[~samples["is_control"], "sample_id"].iloc[:3].tolist()
    counts.loc[counts["sample_id"].isin(zero) & (counts["cell_type"] == "Treg"), "n_cells"] = 0
    got = one(run(tmp_path, samples, counts, models=("log10-ols",)), "population: Korean - rest", "log10-ols")
    wide = counts.pivot(index="sample_id", columns="cell_type", values="n_cells").loc[samples["sample_id"]]
    table = samples.set_index("sample_id").assign(
        share=wide["Treg"] / wide[["Treg", "CD4_naive", "CD4_memory"]].sum(axis=1)
    )
    table = table[~table["is_control"] & (table["share"] > 0)]
    x = pd.DataFrame(
        {"one": 1.0, "korean": table["population"] == "Korean", "age": table["age"], "male": table["sex"] == "male"}
    ).astype(float)
    fit = sm.OLS(np.log10(table["share"]), x).fit()
    assert got["estimate"] == pytest.approx(fit.params["korean"], rel=1e-10)
    assert got["std_error"] == pytest.approx(fit.bse["korean"], rel=1e-10)
    assert got["p_value"] == pytest.approx(fit.pvalues["korean"], rel=1e-8)
    assert got["n_zero"] == 3
    low, high = fit.conf_int().loc["korean"]
    assert (got["ci_low"], got["ci_high"]) == pytest.approx((low, high), rel=1e-9)


def test_families_are_corrected_apart(estimates: pd.DataFrame) -> None:
    pairs = estimates[
        (estimates["model"] == "betabinomial") & (estimates["denominator"] == "CD4_T")
        & estimates["contrast"].str.fullmatch(r"population: \w+ - (?!rest)\w+")
    ]  # fmt: skip
    assert len(pairs) == 30
    for _, family in pairs.groupby("status"):
        others = family[family["cell_type"] != "Treg"]
        everything = false_discovery_rate(family["p_value"].to_numpy())
        np.testing.assert_allclose(others["q_value"], everything[(family["cell_type"] != "Treg").to_numpy()])
        focus = family[family["cell_type"] == "Treg"]
        np.testing.assert_allclose(focus["q_value"], holm(focus["p_value"].to_numpy()))


def test_holm_and_false_discovery_rate() -> None:
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(holm(p), [0.04, 0.09, np.nan, 0.09, 0.5])
    known = ~np.isnan(p)
    wanted = sm.stats.multipletests(p[known], method="fdr_bh")[1]
    np.testing.assert_allclose(false_discovery_rate(p)[known], wanted)


def test_wald_test_over_populations_is_an_anova(result: Path, cohort: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """For least squares the Wald F is the F of comparing two nested regressions."""
    tests = pd.read_csv(result / "tests.tsv", sep="\t")
    got = tests.query("model == 'log10-ols' and cell_type == 'CD8' and test == 'Wald F: population'").iloc[0]
    samples, counts = cohort
    table = samples.merge(counts.query("cell_type == 'CD8'")[["sample_id", "n_cells"]], on="sample_id")
    table = table[~table["is_control"]]
    y = np.log10(table["n_cells_y"] / table["n_cells_x"]).to_numpy()
    small = np.column_stack([np.ones(len(y)), table["age"], table["sex"] == "male"]).astype(float)
    large = np.column_stack([small, pd.get_dummies(table["population"], drop_first=True)]).astype(float)
    # n_cells of a made sample is the sum of its counts, so the shares are those of denominator `all`.
    f, p, df = sm.OLS(y, large).fit().compare_f_test(sm.OLS(y, small).fit())
    assert (got["statistic"], got["df"], got["p_value"]) == pytest.approx((f, df, p), rel=1e-8)


def test_shares_design_controls_and_record(result: Path, cohort: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, _ = cohort
    shares = pd.read_csv(result / "shares.tsv", sep="\t")
    assert len(shares) == len(samples) * (3 + 5)
    assert set(shares.loc[shares["included"], "is_control"]) == {False}
    one_sample = shares.query("denominator == 'all'").groupby("sample_id")["share"].sum()
    np.testing.assert_allclose(one_sample, 1)
    controls = pd.read_csv(result / "controls.tsv", sep="\t")
    assert len(controls) == samples["is_control"].sum() * 8
    row = controls.iloc[0]
    low, high = stats.binomtest(int(row["n"]), int(row["total"])).proportion_ci(method="wilson")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))
    design = pd.read_csv(result / "design.tsv", sep="\t")
    assert design["n_samples"].sum() == (~samples["is_control"]).sum()
    assert (
        design.set_index("population")
        .loc["Korean", "aliased_with"]
        .iloc[0]
        .startswith("Korean was measured only at site KR, in")
    )
    record = json.loads((result / "compare.json").read_text())
    assert record["denominators"]["CD4_T"] == ["Treg", "CD4_naive", "CD4_memory"]
    assert record["after"]["samples"] == (~samples["is_control"]).sum()
    assert record["excluded"] == {"control sample": int(samples["is_control"].sum())}
    # With batches as columns a population falls out; the formula itself has nothing to leave out.
    assert "betabinomial-batch" in record["models"]
    assert record["aliased_columns"] == []
    assert (result / "provenance.json").exists()


def test_every_exclusion_is_listed_with_its_reason(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    samples, counts = (table.copy() for table in cohort)
    donors = samples.index[~samples["is_control"] & (samples["population"] != "Japanese")]
    samples.loc[donors[0], "age"] = np.nan
    samples.loc[donors[1], "sex"] = "unknown"
    samples.loc[donors[2], "population"] = None
    small = samples.loc[donors[3], "sample_id"]
    here = counts["sample_id"] == small
    counts.loc[here, "n_cells"] //= 10
    samples.loc[donors[3], "n_cells"] = counts.loc[here, "n_cells"].sum()
    # The donor of row 5 is measured again, in a smaller sample.
    again = samples.loc[donors[5]].copy()
    again["sample_id"], again["n_cells"] = "again", 900
    rows = counts[counts["sample_id"] == samples.loc[donors[5], "sample_id"]].assign(sample_id="again")
    rows["n_cells"] = (rows["n_cells"] * 0.5).astype(int)
    samples = pd.concat([samples, again.to_frame().T], ignore_index=True)
    samples = samples.astype({"age": float, "n_cells": int, "is_control": bool})
    run(
        tmp_path, samples, pd.concat([counts, rows]), min_cells=800, exclude_populations=("Japanese",),
        models=("quasibinomial",),
    )  # fmt: skip
    excluded = pd.read_csv(tmp_path / "out" / "excluded.tsv", sep="\t")
    assert excluded["reason"].value_counts().to_dict() == {
        "control sample": int(samples["is_control"].sum()),
        "population left out by option": 60,
        "age is missing": 1,
        "sex is missing": 1,
        "population is missing": 1,
        "fewer than 800 cells": 1,
        "a larger sample of the same donor and population is used": 1,
    }
    shares = pd.read_csv(tmp_path / "out" / "shares.tsv", sep="\t")
    assert shares[shares["included"]]["sample_id"].nunique() == len(samples) - len(excluded)


def test_a_minimal_table_works(tmp_path: Path) -> None:
    """Two columns of samples, three of counts: no site, batch, age or sex."""
    samples, counts = make_cohort(controls=False)
    estimates = run(tmp_path, samples[["sample_id", "population"]], counts.drop(columns="annotator"))
    assert (estimates["annotator"] == "given").all()
    row = one(estimates, "population: SG_Chinese - SG_Malay", "betabinomial-mixed")
    assert row["status"] == "between-site"
    assert "site is not recorded" in row["aliased_with"]
    assert "no batch is recorded" in row["note"]
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert record["dropped_terms"] == {
        "age": "no sample has a value of 'age'",
        "sex": "no sample has a value of 'sex'",
    }
    assert record["formula"] == "~ population"


def test_one_sample_a_group_is_said_not_computed(tmp_path: Path) -> None:
    samples = pd.DataFrame({"sample_id": ["s1", "s2"], "population": ["A", "B"]})
    counts = pd.DataFrame({"sample_id": ["s1", "s1", "s2", "s2"], "cell_type": ["x", "y"] * 2, "n_cells": [5, 9, 7, 2]})
    estimates = run(tmp_path, samples, counts, denominators=())
    assert set(estimates["status"]) == {"too-few"}
    assert estimates["note"].str.contains("A has 1 sample after the filters and B has 1 sample").all()
    assert estimates["estimate"].isna().all()


def test_no_cells_in_a_population_is_separation(tmp_path: Path) -> None:
    samples, counts = make_cohort(controls=False)
    thai = samples.loc[samples["population"] == "Korean", "sample_id"]
    counts.loc[counts["sample_id"].isin(thai) & (counts["cell_type"] == "Treg"), "n_cells"] = 0
    estimates = run(tmp_path, samples, counts)
    for model in ("betabinomial-mixed", "betabinomial", "quasibinomial"):
        row = one(estimates, "population: Japanese - Korean", model)
        assert (row["status"], row["note"]) == (
            "not-converged",
            "separated: none of the 60 samples of Korean has a cell of this type",
        )
        assert one(estimates, "population: SG_Chinese - SG_Malay", model)["status"] == "within-site"
    assert one(estimates, "population: Japanese - Korean", "log10-ols")["status"] == "too-few"


def test_a_singular_formula_is_a_row_with_its_reason(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    estimates = run(tmp_path, *cohort, formula="~ population + age + sex + site", models=("betabinomial", "log10-ols"))
    row = one(estimates, "population: Japanese - Korean", "betabinomial")
    assert row["status"] == "not-estimable"
    assert "site KR" in row["note"]
    assert pd.isna(row["estimate"])
    inside = one(estimates, "population: SG_Chinese - SG_Malay", "betabinomial")
    assert inside["status"] == "within-site"
    assert np.isfinite(inside["estimate"])
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["aliased_columns"]


def test_paired_design_on_real_counts(shared: Path, tmp_path: Path) -> None:
    """Eight donors, control and stimulated: donor as a factor; least squares is then the paired t test."""
    wide = pd.read_csv(shared / "data" / "kang2018_counts.csv", index_col=0)
    counts = wide.rename_axis(index="sample_id", columns="cell_type").stack().rename("n_cells").reset_index()
    samples = pd.DataFrame({"sample_id": wide.index, "donor_id": wide.index.str.replace(r"^\w+SNG-", "d", regex=True)})
    samples["population"] = samples["sample_id"].str[:4]
    estimates = run(
        tmp_path, samples, counts, denominators=(), one_vs_rest=False, formula="~ population + donor_id",
        contrasts=("population: stim - ctrl",),
    )  # fmt: skip
    # Nothing says which library a sample went through: all of one side may have gone together.
    assert set(estimates["status"]) == {"between-batch", "too-few"}
    assert len(estimates) == 8 * len(COUNT_MODELS)
    # Without batches the model of batches has nothing to go by.
    assert set(estimates.loc[estimates["status"] == "too-few", "model"]) <= {
        "betabinomial-cluster",
        "betabinomial-batch",
    }
    share = np.log10(wide["CD8 T cells"] / wide.sum(axis=1)).to_numpy()
    t, p = stats.ttest_rel(share[8:], share[:8])
    row = one(estimates, "population: stim - ctrl", "log10-ols", "CD8 T cells", "all")
    assert (row["statistic"], row["p_value"], row["df"]) == pytest.approx((t, p, 7), rel=1e-8)
    unpaired = run(
        tmp_path / "unpaired", samples, counts, denominators=(), formula="~ population", models=("log10-ols",)
    )
    said = "8 donors on both sides of ctrl against stim: add donor_id to the formula to pair them"
    assert unpaired["note"].str.contains(said).all()


def test_one_against_the_rest_is_asked_only_if_it_is_asked_for(
    cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    def asked(name: str, **options: Any) -> set[str]:
        wanted: dict[str, Any] = {"models": ("quasibinomial",), "denominators": ("all",)} | options
        return set(run(tmp_path / name, *cohort, **wanted)["contrast"])

    pairs = asked("pairs", formula="~ population", one_vs_rest=False)
    assert not [contrast for contrast in pairs if contrast.endswith(" - rest")]
    populations = {contrast.removeprefix("population: ").split(" - ")[0] for contrast in pairs}
    both = asked("both", formula="~ population", one_vs_rest=True)
    assert populations < {c.removeprefix("population: ").split(" - ")[0] for c in both - pairs}
    assert asked("age", formula="~ age", contrasts=("age",), one_vs_rest=True) == {"age"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contrasts": ("population: Koraen - Japanese",)}, "Did you mean 'Korean'?"),
        ({"models": ("betabinom",)}, "Did you mean 'betabinomial'?"),
        ({"exclude_populations": ("Korea",)}, "Did you mean 'Korean'?"),
        ({"denominators": ("CD4_T=Treg,CD4_naiv",)}, "Did you mean 'CD4_naive'?"),
        ({"denominators": ("CD4_T",)}, "no such set"),
        ({"denominators": ("X=Treg",), "focus": "Treg"}, "one cell_type only"),
        ({"focus": "Tregs"}, "Did you mean 'Treg'?"),
        ({"batch": "bacth"}, "Did you mean 'batch'?"),
        ({"min_cells": 10**6}, "no sample is left after the filters"),
        ({"formula": "~ age"}, "no 'population' to compare"),
        ({"primary_denominator": "CD4"}, "Did you mean 'CD4_T'?"),
    ],
)
def test_bad_options_are_one_sentence_and_leave_nothing(
    cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, options: dict, words: str
) -> None:
    with pytest.raises(AidaError) as error:
        run(tmp_path, *cohort, **options)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_set_in_the_words_of_one_annotator_is_not_another_annotators(
    cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    samples, counts = cohort
    other = counts.assign(annotator="other", cell_type=counts["cell_type"].replace({"CD4_naive": "naive CD4"}))
    both = pd.concat([counts.assign(annotator="author"), other])
    estimates = run(tmp_path, samples, both, models=("betabinomial",), one_vs_rest=False)
    found = estimates.groupby("annotator")["denominator"].unique().map(set).to_dict()
    assert found == {"author": {"CD4_T", "all"}, "other": {"all"}}
    warnings = json.loads((tmp_path / "out" / "compare.json").read_text())["warnings"]
    assert "denominator 'CD4_T' is left out for annotator 'other', which has no cell_type 'CD4_naive'" in warnings


def test_a_set_that_is_one_type_to_one_annotator_is_left_out_for_that_one(
    cohort: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    samples, counts = cohort
    cd4 = ["CD4_naive", "Treg"]
    coarse = counts.assign(
        annotator="sorter", cell_type=counts["cell_type"].where(~counts["cell_type"].isin(cd4), "CD4")
    )
    coarse = coarse.groupby(["sample_id", "annotator", "cell_type"], as_index=False)["n_cells"].sum()
    both = pd.concat([counts.assign(annotator="model"), coarse])
    rows = [("CD4_T", "model", t) for t in cd4] + [("CD4_T", "sorter", "CD4")]
    sets = pd.DataFrame(rows, columns=["denominator", "annotator", "cell_type"])
    options = Options(models=("betabinomial",), one_vs_rest=False)
    tables, record = compare_tables(both, samples, options=options, denominators=sets)
    estimates = tables["estimates"]
    found = estimates.groupby("annotator")["denominator"].unique().map(set).to_dict()
    assert "CD4_T" in found["model"]
    assert "CD4_T" not in found.get("sorter", set())
    assert any(
        "left out for annotator 'sorter', which has only one cell type in it, 'CD4'" in w for w in record["warnings"]
    )


def test_tables_that_disagree(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    samples, counts = cohort
    with pytest.raises(AidaError, match="must list the same samples"):
        run(tmp_path, samples.iloc[1:], counts)
    wrong = counts.assign(n_cells=counts["n_cells"] + 0.5)
    with pytest.raises(AidaError, match=r"row 1: value .* must be a whole number"):
        run(tmp_path, samples, wrong)


def test_numbers_in_a_factor_are_names(tmp_path: Path) -> None:
    """A year in C() has levels, not a slope; least squares with dummies says the same."""
    samples, counts = make_cohort(controls=False)
    samples["year"] = np.tile([2019, 2020, 2021], len(samples))[: len(samples)]
    formula = "~ population + C(year)"
    estimates = run(tmp_path, samples, counts, formula=formula, models=("log10-ols",), one_vs_rest=False)
    levels = estimates.loc[estimates["contrast"].str.startswith("year"), "contrast"]
    assert list(dict.fromkeys(levels)) == ["year: 2020 - 2019", "year: 2021 - 2019", "year: 2021 - 2020"]
    named = run(
        tmp_path / "named", samples, counts, formula=formula, models=("log10-ols",), contrasts=("year: 2021 - 2019",)
    )
    got = one(named, "year: 2021 - 2019", "log10-ols", "NK", "all")
    table = samples.merge(counts.query("cell_type == 'NK'")[["sample_id", "n_cells"]], on="sample_id")
    x = pd.get_dummies(table[["population", "year"]].astype(str), drop_first=True).astype(float).assign(one=1.0)
    fit = sm.OLS(np.log10(table["n_cells_y"] / table["n_cells_x"]), x).fit()
    assert (got["estimate"], got["p_value"]) == pytest.approx((fit.params["year_2021"], fit.pvalues["year_2021"]))


def test_splines_interactions_and_missing_covariates(tmp_path: Path) -> None:
    """The slope of age under a spline and an interaction is its mean over the samples; complete cases only."""
    samples, counts = make_cohort(controls=False)
    samples["bmi"] = np.random.default_rng(0).normal(24, 3, len(samples))
    samples.loc[:9, "bmi"] = np.nan
    estimates = run(
        tmp_path, samples, counts, formula="~ population * sex + ns(age, df=3) + bmi", one_vs_rest=False,
        models=("betabinomial", "log10-ols"), denominators=("all",),
    )  # fmt: skip
    excluded = pd.read_csv(tmp_path / "out" / "excluded.tsv", sep="\t")
    assert excluded["reason"].tolist() == ["bmi is missing"] * 10
    kept = samples.iloc[10:].merge(counts.query("cell_type == 'CD8'")[["sample_id", "n_cells"]], on="sample_id")
    y = np.log10(kept["n_cells_y"] / kept["n_cells_x"])

    def mean_at(step: float) -> float:
        """Refit with statsmodels on the same basis, and predict with age moved by a step."""
        design = build_design(parse_formula("~ population * sex + ns(age, df=3) + bmi", kept.columns), kept)
        rows = np.asarray(design._spec.get_model_matrix(kept.assign(age=kept["age"] + step), context=TRANSFORMS))
        return float((rows @ sm.OLS(y, design.full).fit().params.to_numpy()).mean())

    got = one(estimates, "age", "log10-ols", "CD8", "all")
    assert got["estimate"] == pytest.approx(mean_at(0.5) - mean_at(-0.5), rel=1e-6)
    assert np.isfinite(one(estimates, "sex: male - female", "betabinomial", "CD8", "all")["estimate"])


def test_batches_numbered_anew_at_every_site_are_different_batches(tmp_path: Path) -> None:
    samples, counts = make_cohort(controls=False)
    plain = run(tmp_path / "a", samples, counts, models=("betabinomial-mixed",))
    renamed = samples.assign(batch=samples["batch"].str[-4:])
    nested = run(tmp_path / "b", renamed, counts, models=("betabinomial-mixed",))
    np.testing.assert_array_equal(plain["std_error"], nested["std_error"])
    record = json.loads((tmp_path / "b" / "out" / "compare.json").read_text())
    assert record["warnings"] == ["batch 'B001' occurs at 3 sites (4 such batches): SITE:BATCH is the batch."]


def test_a_donor_of_two_sexes_is_named(tmp_path: Path) -> None:
    samples, counts = make_cohort(controls=False)
    samples.loc[1, "donor_id"] = samples.loc[0, "donor_id"]
    samples.loc[[0, 1], "sex"] = ["female", "male"]
    with pytest.raises(AidaError, match="rows 1 and 2: donor_id 'SG_B001_H00' is both female and male"):
        run(tmp_path, samples, counts)


def test_the_command_line(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    paths = [str(p) for p in write(tmp_path, *cohort)]
    out = tmp_path / "out"
    common = ["compare", *paths, "--out", str(out), "--denominator", CD4, "--focus", "Treg"]
    done = CliRunner().invoke(
        main, [*common, "--model", "log10-ols", "--contrast", "population: Korean - Japanese", "--one-vs-rest"]
    )
    assert done.exit_code == 0, done.output
    got = read_estimates(out / "estimates.tsv")
    assert set(got["cell_type"]) == {"Treg", "CD4_naive", "CD4_memory"}
    assert len(got) == 3 * 6
    wrong = CliRunner().invoke(main, [*common, "--contrast", "population: Korean - Japan"])
    assert wrong.exit_code == 1
    assert "Did you mean 'Japanese'?" in wrong.output


def test_same_input_same_bytes(cohort: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tmp_path / name, *cohort, models=("betabinomial-mixed",), contrasts=("population: Korean - Japanese",))
    first, second = ((tmp_path / name / "out" / "estimates.tsv").read_bytes() for name in ("one", "two"))
    assert first == second


def test_a_label_set_is_counted_as_given(estimates: pd.DataFrame) -> None:
    assert set(estimates.query("denominator == 'all'")["cell_type"]) == set(TYPES)
    assert set(estimates.query("denominator == 'CD4_T'")["cell_type"]) == {"Treg", "CD4_naive", "CD4_memory"}
