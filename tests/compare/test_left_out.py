"""Nothing vanishes silently: joined tables, sets of others, percentages, samples that no model used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools import compare_populations
from aida_tools.compare.describe import left_out_line
from aida_tools.compare.run import compare, compare_tables
from aida_tools.compare.step import Options
from aida_tools.core.errors import AidaError
from aida_tools.results.results import Results

from .made import make_cohort, write

CD4 = ("Treg", "CD4_naive", "CD4_memory")
SETS = pd.DataFrame([("CD4_T", "author", t) for t in CD4], columns=["denominator", "annotator", "cell_type"])


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    samples, counts = make_cohort(controls=False)
    return samples, counts.drop(columns="annotator")


def ask(counts: pd.DataFrame, samples: pd.DataFrame, **options: object) -> Results:
    return compare_populations(counts, samples, models=["log10-ols"], **options)


def warnings(results: Results) -> list[str]:
    found: list[str] = results.options["warnings"]
    return found


# -- denominators of another annotator -------------------------------------------------------------------------------


def test_sets_of_another_annotator_are_refused(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    wanted = r"sets are of annotator 'author', the counts of annotator 'given'.*annotator='author'"
    with pytest.raises(AidaError, match=wanted):
        ask(counts, samples, denominators=SETS)
    mine = ask(counts.assign(annotator="author"), samples, denominators=SETS)
    assert set(mine.estimates["denominator"]) == {"CD4_T", "all"}
    assert mine.primary["denominator"] == "CD4_T"


def test_sets_that_are_not_asked_for_may_be_anybodys(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    for text in ("all", f"mine={','.join(CD4)}"):
        options = Options(models=("log10-ols",), denominators=(text,))
        _, record = compare_tables(counts, samples, options=options, denominators=SETS)
        assert record["denominator"] == text.partition("=")[0]


def test_an_annotator_without_sets_beside_one_with_them_is_a_warning(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    both = pd.concat([counts.assign(annotator=name) for name in ("author", "gate")])
    found = ask(both, samples, denominators=SETS)
    assert warnings(found) == [
        "denominator 'CD4_T' is left out for annotator 'gate', for whom the table of denominators has no such set"
    ]
    assert found.estimates.groupby("annotator")["denominator"].unique().map(set).to_dict() == {
        "author": {"CD4_T", "all"}, "gate": {"all"},
    }  # fmt: skip


# -- percentages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "annotator"), [(0, "given"), (1, "x:soft"), (9, "x:soft")])
def test_percentages_in_the_place_of_counts_are_questioned(
    tables: tuple[pd.DataFrame, pd.DataFrame], digits: int, annotator: str
) -> None:
    samples, counts = tables
    total = counts.groupby("sample_id")["n_cells"].transform("sum")
    percent = counts.assign(n_cells=(100 * counts["n_cells"] / total).round(digits), annotator=annotator)
    if digits == 0:
        # Rounded, they do not all add up to 100 itself.
        assert set(percent.groupby("sample_id")["n_cells"].sum()) > {99.0, 100.0}
    found = warnings(ask(percent, samples.drop(columns="n_cells")))
    assert any("add up to about 100 in every sample" in text and "'percent'" in text for text in found)


def test_counts_near_100_are_counts_if_one_sample_has_another_total(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    total = counts.groupby("sample_id")["n_cells"].transform("sum")
    percent = counts.assign(n_cells=(100 * counts["n_cells"] / total).round())
    more = np.where(percent["sample_id"] == samples["sample_id"].iloc[0], 2, 1)
    assert not warnings(ask(percent.assign(n_cells=percent["n_cells"] * more), samples.drop(columns="n_cells")))
    assert not warnings(ask(counts, samples))


def test_decimals_that_are_no_counts_are_told_where_percentages_go(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    with pytest.raises(AidaError, match="Percentages need the column name 'percent', and shares 'share'"):
        ask(counts.assign(n_cells=counts["n_cells"] / 7), samples.drop(columns="n_cells"))


# -- joined cohorts --------------------------------------------------------------------------------------------------


def test_several_cohorts_must_stand_in_the_formula(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    joined = samples.assign(cohort=np.where(samples["batch"].str[-1].isin(["1", "2"]), "AIDA", "ours"))
    wanted = r"samples: column 'cohort' has 2 values \(AIDA, ours\).*'~ population \+ age \+ sex'.*Add ' \+ cohort'"
    with pytest.raises(AidaError, match=wanted):
        ask(counts, joined)
    adjusted = ask(counts, joined, formula="~ population + age + sex + cohort")
    assert "cohort: ours - AIDA" in set(adjusted.estimates["contrast"])
    assert not warnings(ask(counts, samples.assign(cohort="AIDA")))


def test_a_sample_of_no_cohort_beside_others_is_named(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    joined = samples.assign(cohort="AIDA")
    joined.loc[[4, 9], "cohort"] = None
    for formula in ("~ population", "~ population + cohort"):
        with pytest.raises(AidaError, match=r"column 'cohort', row 5: empty, beside 'AIDA' \(2 such rows\)"):
            ask(counts, joined, formula=formula)


def test_numbers_of_cohorts_are_names(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    joined = samples.assign(cohort=samples["batch"].str[-1].astype(int) % 3)
    for formula in ("~ population", "~ population + cohort"):
        with pytest.raises(AidaError, match=r"3 values \(1, 2, 0\).*Add ' \+ C\(cohort\)'"):
            ask(counts, joined, formula=formula)
    assert ask(counts, joined, formula="~ population + C(cohort)").estimated


def test_the_cohort_may_stand_in_the_counts(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    told = counts.assign(cohort=np.where(counts["sample_id"].str.contains("B001"), "AIDA", "ours"))
    with pytest.raises(AidaError, match="column 'cohort' has 2 values"):
        ask(told, samples)
    assert ask(told, samples, formula="~ population + cohort").estimated
    with pytest.raises(AidaError, match=r"column 'cohort', row \d+: value 'ours', but counts says 'AIDA' of sample_id"):
        ask(told, samples.assign(cohort="ours"))
    twice = told.assign(cohort=np.where(told["cell_type"] == "Treg", "AIDA", "ours"))
    with pytest.raises(AidaError, match=r"has the values 'AIDA' and 'ours'\. Give the samples"):
        ask(twice, samples)


# -- donors ----------------------------------------------------------------------------------------------------------


def reused(samples: pd.DataFrame) -> pd.DataFrame:
    """Number the donors of every population anew: 30 ids for 150 people of one age and sex."""
    return samples.assign(donor_id=[f"d{k % 30}" for k in range(len(samples))], sex="female", age=40.0)


def test_ids_that_are_used_in_several_populations_are_counted(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = reused(tables[0]), tables[1]
    [text] = [w for w in warnings(ask(counts, samples, formula="~ population")) if "donor id" in w]
    assert text.startswith("30 donor ids in several populations ('d0' in ")
    assert "taken for one person" in text
    assert "add donor_id to the formula" in text
    paired = warnings(ask(counts, samples, formula="~ population + donor_id"))
    assert not [w for w in paired if "donor id" in w]


def test_one_id_of_people_of_different_age_is_refused(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = reused(tables[0]), tables[1]
    rows = np.flatnonzero(samples["donor_id"] == "d7")
    assert samples["population"].iloc[rows].nunique() > 1
    samples.loc[rows[1], "age"] = 55.0
    assert ask(counts, samples, formula="~ population").estimated
    samples.loc[rows[1], "age"] = 55.5
    wanted = rf"column 'age', rows {rows[0] + 1} and {rows[1] + 1}: donor_id 'd7' is in several populations, and 40 and"
    with pytest.raises(AidaError, match=wanted):
        ask(counts, samples, formula="~ population")


def test_one_person_may_be_measured_again_later(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    samples, counts = tables
    samples = samples.assign(age=30.0)
    samples.loc[3, ["donor_id", "sex", "population"]] = samples.loc[0, ["donor_id", "sex", "population"]]
    samples.loc[3, "age"] = 70.0
    assert not [w for w in warnings(ask(counts, samples)) if "donor id" in w]


# -- the line of compare ---------------------------------------------------------------------------------------------


def test_the_line_counts_samples_donors_and_cells_once() -> None:
    samples = pd.DataFrame({"sample_id": list("abcde"), "donor_id": list("ppqrs"), "n_cells": [10, 20, 30, 40, 900]})
    reasons = {"a": "control sample", "c": "age is missing", "d": "age is missing"}
    excluded = pd.DataFrame({"sample_id": list(reasons), "reason": list(reasons.values())})
    assert left_out_line(excluded, samples) == (
        "left out of the models: 3 of 5 samples (age is missing: 2, control sample: 1); 2 of 4 donors; 80 of 1,000 "
        "cells. excluded.tsv lists them."
    )
    assert left_out_line(excluded.iloc[:0], samples) == ""


def test_a_sample_without_a_cell_of_one_denominator_is_a_reason_and_not_a_loss(
    tables: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, counts = tables
    samples = samples.astype({"age": object})
    samples.loc[1, "age"] = None
    first = samples["sample_id"].iloc[0]
    empty = counts["n_cells"].where(~((counts["sample_id"] == first) & counts["cell_type"].isin(CD4)), 0)
    paths = write(tmp_path, samples, counts.assign(n_cells=empty))
    options = Options(models=("log10-ols",), denominators=(f"CD4_T={','.join(CD4)}", "all"))
    compare(*paths, tmp_path / "out", options=options)
    said = capsys.readouterr().err
    assert "left out of the models: 1 of 210 samples (" in said
    assert "age is missing: 1" in said
    assert "no cell of denominator CD4_T (annotator given): 1" in said
    assert said.count("left out of the models") == 1
