"""Canonical cells: what each column becomes, the traps of AIDA, and the words for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.cohort.cells import canonical_cells
from aida_tools.core.errors import AidaError
from aida_tools.core.populations import load_populations
from aida_tools.core.tables import CELLS, read_cells
from tests.cohort.tiny import cohort_config, make_anndata, write_h5ad


def canonical(obs: pd.DataFrame, root: Path, **changes: Any) -> tuple[pd.DataFrame, list[str]]:
    table = obs.rename_axis("_index").reset_index()
    table["_index"] = table["_index"].astype(str)
    populations = load_populations(root / "config" / "populations.tsv")
    return canonical_cells(table, cohort_config(**changes), populations, "tiny.h5ad", "tiny.yaml")


def test_the_command_line_goes_from_an_h5ad_to_cells_in_file_order(
    tmp_path: Path, root: Path, h5ad: Path, obs: pd.DataFrame, write_cohort: Callable[..., Path]
) -> None:
    cohort = write_cohort()
    run = CliRunner().invoke
    assert run(main, ["fetch", str(cohort), "--out", str(tmp_path / "fetch")], catch_exceptions=False).exit_code == 0
    arguments = [str(cohort), str(tmp_path / "fetch"), "--populations", str(root / "config/populations.tsv")]
    result = run(main, ["cells", *arguments, "--out", str(tmp_path / "cells")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    assert list(cells.columns) == [*CELLS.names, "bmi", "smoking"]
    assert cells["cell_id"].tolist() == obs.index.tolist()
    first = cells.iloc[0][CELLS.names].to_dict()
    assert first == {
        "cell_id": "ACGT0000-SG_HEL_B001_L001", "sample_id": "SG_HEL_H001|SG_HEL_B001", "donor_id": "SG_HEL_H001",
        "population": "SG_Chinese", "site": "SG", "batch": "SG_HEL_B001", "library": "SG_HEL_B001_L001",
        "sex": "female", "age": 37.0, "is_control": False, "author_label": "Treg", "cell_type_id": "CL:0000815",
    }  # fmt: skip
    assert cells.groupby("donor_id", observed=True)["bmi"].first().isna().to_dict()["KR_SGI_H001"]


def test_a_control_is_found_by_its_donor_id_and_has_a_sample_in_every_batch(obs: pd.DataFrame, root: Path) -> None:
    cells, warnings = canonical(obs, root)
    controls = cells[cells["is_control"]]
    assert set(controls["donor_id"]) == {"LONZA3038016"}
    assert set(controls["sample_id"]) == {"LONZA3038016|SG_HEL_B001", "LONZA3038016|KR_SGI_B007"}
    assert set(controls["site"]) == {"SG", "KR"}
    assert set(controls["population"]) == {"unknown"}
    assert warnings == []


def test_donor_ids_with_letters_at_the_end_and_two_libraries_of_a_batch(obs: pd.DataFrame, root: Path) -> None:
    cells, _ = canonical(obs, root)
    donor = cells[cells["donor_id"] == "SG_HEL_H07a"]
    assert set(donor["sample_id"]) == {"SG_HEL_H07a|SG_HEL_B001"}
    assert set(donor["library"]) == {"SG_HEL_B001_L002"}


@pytest.mark.parametrize(
    ("value", "code"),
    [("HANCESTRO:0005", "European"), ("European", "European"), ("Caucasian", "unknown"), ("unknown", "unknown")],
)
def test_controls_keep_the_population_that_maps_and_are_unknown_otherwise(
    obs: pd.DataFrame, root: Path, value: str, code: str
) -> None:
    column = "self_reported_ethnicity_ontology_term_id"
    obs[column] = obs[column].astype(str).replace("unknown", value)
    cells, _ = canonical(obs, root)
    assert set(cells.loc[cells["is_control"], "population"]) == {code}


@pytest.mark.parametrize("written", ["HANCESTRO:0022", "Korean", "korean "])
def test_populations_are_read_by_id_code_or_label(obs: pd.DataFrame, root: Path, written: str) -> None:
    column = "self_reported_ethnicity_ontology_term_id"
    obs[column] = obs[column].astype(str).replace("HANCESTRO:0022", written)
    cells, _ = canonical(obs, root)
    assert set(cells.loc[cells["donor_id"] == "KR_SGI_H001", "population"]) == {"Korean"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Koreen", ["'Koreen'", "Did you mean 'Korean'?", "levels: {'Koreen': CODE}", "12 such cells"]),
        ("HANCESTRO:0496", ["'HANCESTRO:0496'", "(Malaysian)", "Add a row"]),
        ("HANCESTRO:0019 || HANCESTRO:0022", ["'HANCESTRO:0019 || HANCESTRO:0022'"]),
    ],
)
def test_a_population_that_is_not_in_the_table_is_named(
    obs: pd.DataFrame, root: Path, value: str, words: list[str]
) -> None:
    column = "self_reported_ethnicity_ontology_term_id"
    obs[column] = obs[column].astype(str).replace("HANCESTRO:0022", value)
    with pytest.raises(AidaError) as error:
        canonical(obs, root)
    for word in ["tiny.h5ad", column, "cell 'ACGT0200-KR_SGI_B007_L001' (row 25", "columns.population", *words]:
        assert word in str(error.value)
    if " " not in value:
        changes = {"columns.population": {"column": column, "levels": {value: "Korean"}}}
        cells, _ = canonical(obs, root, **changes)
        assert "Korean" in set(cells["population"])


@pytest.mark.parametrize(
    ("value", "age"),
    [
        ("37-year-old stage", 37), ("36-year-old human stage", 36), ("HsapDv:0000124", 30), (37, 37), (37.5, 37.5),
        ("80 year-old and over stage", 80), ("15-month-old stage", 1.25), ("adult stage", None), ("unknown", None),
        ("26th week post-fertilization stage", None), (None, None),
    ],
)  # fmt: skip
def test_ages_in_years(obs: pd.DataFrame, root: Path, value: Any, age: float | None) -> None:
    obs["development_stage"] = pd.Series([value] * len(obs), index=obs.index)
    cells, warnings = canonical(obs, root)
    if age is None:
        assert cells["age"].isna().all()
        assert "no age in years" in warnings[0]
    else:
        assert set(cells["age"]) == {age}


@pytest.mark.parametrize("column", ["sex", "sex_ontology_term_id"])
def test_sex_by_label_or_ontology_id(obs: pd.DataFrame, root: Path, column: str) -> None:
    cells, _ = canonical(obs, root, **{"columns.sex": column})
    assert cells.groupby("donor_id", observed=True)["sex"].first().to_dict() == {
        "SG_HEL_H001": "female", "SG_HEL_H07a": "male", "KR_SGI_H001": "female", "LONZA3038016": "male",
    }  # fmt: skip


def test_other_codes_of_sex_need_a_translation(obs: pd.DataFrame, root: Path) -> None:
    obs["sex"] = obs["sex"].map({"female": 2, "male": 1}).astype(int)
    with pytest.raises(AidaError, match=r"obs column 'sex'.*value '2' is not a known sex.*levels"):
        canonical(obs, root)
    cells, _ = canonical(obs, root, **{"columns.sex": {"column": "sex", "levels": {"1": "male", "2": "female"}}})
    assert cells["sex"].value_counts().to_dict() == {"male": 36, "female": 24}


def test_a_missing_donor_is_an_error_until_it_is_named(obs: pd.DataFrame, root: Path) -> None:
    obs["donor_id"] = obs["donor_id"].astype(object).where(obs["donor_id"] != "KR_SGI_H001", None)
    with pytest.raises(AidaError, match=r"obs column 'donor_id', cell 'ACGT0200-KR_SGI_B007_L001' .*\(missing\)"):
        canonical(obs, root)
    cells, _ = canonical(obs, root, **{"columns.donor_id": {"column": "donor_id", "levels": {"": "nobody"}}})
    assert "nobody|KR_SGI_B007" in set(cells["sample_id"])


def test_a_pattern_that_does_not_match_names_the_first_cell(obs: pd.DataFrame, root: Path) -> None:
    obs.index = [*obs.index[:30], "ACGT-odd-suffix", *obs.index[31:]]
    with pytest.raises(AidaError, match=r"cell 'ACGT-odd-suffix' \(row 31; 1 such cells\).*pattern.*columns.batch"):
        canonical(obs, root)


def test_a_missing_value_needs_no_match(obs: pd.DataFrame, root: Path) -> None:
    obs["age"] = obs["development_stage"].astype(object).where(obs["donor_id"] != "KR_SGI_H001", None)
    cells, _ = canonical(obs, root, **{"columns.age": {"column": "age", "pattern": r"^(\d+)-year"}})
    assert cells["age"].isna().sum() == 12


def test_cell_ids_must_be_unique(obs: pd.DataFrame, root: Path) -> None:
    obs.index = [*obs.index[:40], obs.index[3], *obs.index[41:]]
    with pytest.raises(AidaError, match=r"tiny.h5ad: cell id 'ACGT0003-SG_HEL_B001_L001' .* row 41 \(1 repeats\)"):
        canonical(obs, root)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sex", "male", "2 values of 'sex': female, male"),
        ("development_stage", "38-year-old stage", "2 values of 'age': 37, 38"),
        (
            "self_reported_ethnicity_ontology_term_id",
            "HANCESTRO:0019",
            "2 values of 'population': SG_Chinese, Japanese",
        ),
    ],
)
def test_a_donor_has_one_sex_age_and_population(
    obs: pd.DataFrame, root: Path, column: str, value: str, words: str
) -> None:
    obs[column] = obs[column].astype(str)
    obs.loc[obs.index[5], column] = value
    with pytest.raises(AidaError, match=f"donor_id 'SG_HEL_H001' has {words}"):
        canonical(obs, root)


def test_an_empty_cohort_is_an_error(obs: pd.DataFrame, root: Path) -> None:
    with pytest.raises(AidaError, match="no cell in this cohort"):
        canonical(obs.iloc[:0], root)


def test_suffixes_that_do_not_go_one_to_one_with_the_library_ids_are_reported(obs: pd.DataFrame, root: Path) -> None:
    checks = {"checks": {"one_to_one": {"library": "library_id", "site": "Country"}}}
    assert canonical(obs, root, **checks)[1] == []
    obs["library_id"] = obs["library_id"].astype(str).replace("uuid-SG_HEL_B001_L002", "uuid-SG_HEL_B001_L001")
    warnings = canonical(obs, root, **checks)[1]
    assert len(warnings) == 1
    assert "'uuid-SG_HEL_B001_L001' goes with 'SG_HEL_B001_L001', 'SG_HEL_B001_L002'" in warnings[0]


def test_only_canonical_columns_can_be_checked() -> None:
    with pytest.raises(AidaError, match=r"checks.one_to_one.libary.*'library'"):
        cohort_config(checks={"one_to_one": {"libary": "library_id"}})


def test_a_set_is_compared_with_the_authors_own_grouping(obs: pd.DataFrame, root: Path) -> None:
    checks = {"checks": {"sets": {"CD4_T": {"column": "Annotation_Level2", "values": ["CD4+_T"]}}}}
    assert canonical(obs, root, **checks)[1] == []
    warnings = canonical(obs, root, **checks, **{"labels.sets": {"CD4_T": ["Treg", "CD4+_T_naive"]}})[1]
    assert "set 'CD4_T' and obs column 'Annotation_Level2' disagree about 10 cells" in warnings[0]
    with pytest.raises(AidaError, match=r"checks.sets.CD4.*Did you mean 'CD4_T'"):
        canonical(obs, root, checks={"sets": {"CD4": {"column": "Annotation_Level2", "values": ["CD4+_T"]}}})


def test_cell_type_ids_are_checked_against_the_ontology(obs: pd.DataFrame, root: Path) -> None:
    column = "cell_type_ontology_term_id"
    terms = obs[column].astype(str)
    obs[column] = terms.replace("CL:0000815", "CL:0000003")  # deprecated in favour of CL:0000000
    cells, warnings = canonical(obs, root)
    assert "CL:0000000" in set(cells["cell_type_id"])
    assert "'CL:0000003' (obsolete native cell) is deprecated; read as 'CL:0000000' (cell)" in warnings[0]
    obs[column] = terms.replace("CL:0000815", "CL:0000004")  # deprecated, and nothing replaces it
    cells, warnings = canonical(obs, root)
    assert "CL:0000004" in set(cells["cell_type_id"])
    assert "no replacement" in warnings[0]
    obs[column] = terms.replace("CL:0000815", "unknown")
    assert canonical(obs, root)[0]["cell_type_id"].isna().sum() == 10
    obs[column] = terms.replace("CL:0000815", "CL:9999999")
    with pytest.raises(AidaError, match=r"tiny.h5ad: obs column 'cell_type_ontology_term_id'.*'CL:9999999' is not a"):
        canonical(obs, root)


def test_a_renamed_obs_column_is_named_with_the_nearest_one_and_nothing_is_written(
    tmp_path: Path, root: Path, obs: pd.DataFrame, write_cohort: Callable[..., Path]
) -> None:
    write_h5ad(make_anndata(obs.rename(columns={"donor_id": "donor_ID"})), tmp_path / "tiny.h5ad")
    cohort = write_cohort()
    run = CliRunner().invoke
    assert run(main, ["fetch", str(cohort), "--out", str(tmp_path / "fetch")], catch_exceptions=False).exit_code == 0
    arguments = [str(cohort), str(tmp_path / "fetch"), "--populations", str(root / "config/populations.tsv")]
    result = run(main, ["cells", *arguments, "--out", str(tmp_path / "cells")], catch_exceptions=False)
    assert result.exit_code == 1
    for word in ("tiny.h5ad", "no obs column 'donor_id'", "'columns.donor_id'", "Did you mean 'donor_ID'?"):
        assert word in result.output
    assert not (tmp_path / "cells").exists()


def test_a_covariate_may_not_take_the_name_of_a_canonical_column(obs: pd.DataFrame, root: Path) -> None:
    with pytest.raises(AidaError, match=r"covariates.age.*Choose another"):
        canonical(obs, root, covariates={"age": "donor_BMI_at_collection"})


def test_defaults_for_a_plain_table(root: Path) -> None:
    obs = pd.DataFrame({"who": ["a", "a", "b"]}, index=["c1", "c2", "c3"])
    columns = {"donor_id": "who", "population": {"value": "unknown"}}
    cells, _ = canonical(obs, root, columns=columns, labels=None, covariates=None, controls=None)
    assert cells["sample_id"].tolist() == ["a|batch1", "a|batch1", "b|batch1"]
    assert set(cells["site"]) == {"site1"}
    assert set(cells["sex"]) == {"unknown"}
    assert cells["age"].isna().all()
    assert not cells["is_control"].any()
    assert cells["author_label"].isna().all()
    assert np.array_equal(cells["library"], cells["batch"])
