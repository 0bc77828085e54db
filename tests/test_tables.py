"""Readers accept the contracts and reject everything else by file, column, row and value."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aida_tools.compare.tables import ESTIMATES, read_estimates
from aida_tools.core import schema, tables
from aida_tools.core.errors import AidaError

SAMPLES = "sample_id\tdonor_id\tpopulation\tsite\tbatch\tsex\tage\tis_control\tn_cells\tbmi\n" + "".join(
    f"s{i}\td{i}\tKorean\tKR\tb1\t{sex}\t{age}\tFalse\t100\t{bmi}\n"
    for i, (sex, age, bmi) in enumerate([("female", 30, 21.5), ("M", 41.5, ""), ("", "", 30)])
)
COUNTS = "sample_id\tannotator\tcell_type\tn_cells\n" + "".join(
    f"s{i}\tauthor\t{t}\t{n}\n" for i in range(3) for t, n in (("Treg", 0), ("B", 100))
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_samples_are_read_with_their_types(tmp_path: Path) -> None:
    table = tables.read_samples(write(tmp_path / "samples.tsv", SAMPLES))
    assert table["sex"].tolist() == ["female", "male", "unknown"]
    assert table["age"].tolist()[:2] == [30.0, 41.5]
    assert pd.isna(table["age"].iloc[2])
    assert table["is_control"].dtype == bool
    assert table["bmi"].dtype == float
    assert list(table.columns) == [*tables.SAMPLES.names, "bmi"]


def test_a_minimal_sample_table_is_enough(tmp_path: Path) -> None:
    table = tables.read_samples(write(tmp_path / "samples.tsv", "sample_id\tpopulation\ns1\ta\ns2\tb\n"))
    assert table["donor_id"].tolist() == ["s1", "s2"]
    assert table["sex"].tolist() == ["unknown", "unknown"]
    assert not table["is_control"].any()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("population", "poplation", "column 'population' is missing. Did you mean 'poplation'?"),
        ("41.5", "old", "column 'age', row 2: value 'old' must be a number"),
        ("41.5", "415", "column 'age', row 2: value '415.0' must be a number from 0 to 120 (years)"),
        ("female", "woman", "column 'sex', row 1: value 'woman' must be one of female, male, unknown"),
        ("s1\t", "s0\t", "column 'sample_id', row 1: value 's0' must be unique"),
        ("d1\tKorean\tKR\tb1\tM\t41.5\tFalse", "d1\tKorean\tKR\tb1\tM\t41.5\tmaybe", "row 2: value 'maybe'"),
        ("\t", ",", "separated by commas"),
    ],
)
def test_wrong_samples_are_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path / "samples.tsv", SAMPLES.replace(old, new))
    with pytest.raises(AidaError) as caught:
        tables.read_samples(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_counts_without_annotator_are_given(tmp_path: Path) -> None:
    text = "sample_id\tcell_type\tn_cells\ns1\tTreg\t0\n"
    table = tables.read_counts(write(tmp_path / "counts.tsv", text))
    assert table["annotator"].tolist() == ["given"]
    assert table["n_cells"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "s1\tauthor\tB\t100",
            "s1\tauthor\tB\t-1",
            "column 'n_cells', row 4: value '-1.0' must be a number of 0 or more (cells)",
        ),
        ("s1\tauthor\tB\t100", "s1\tauthor\tB\t9.5", "row 4: value '9.5' must be a whole number"),
        ("s1\tauthor\tB\t100", "s1\tauthor\tB\t", "row 4: value 'nan' must be a value (it is empty)"),
        ("s1\tauthor\tB", "s1\tauthor\tTreg", "row 4 repeats sample_id 's1', annotator 'author', cell_type 'Treg'"),
        ("n_cells", "cells", "column 'n_cells' is missing. Did you mean 'cells'?"),
    ],
)
def test_wrong_counts_are_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = write(tmp_path / "counts.tsv", COUNTS.replace(old, new))
    with pytest.raises(AidaError) as caught:
        tables.read_counts(path)
    assert expected in str(caught.value)


def test_soft_counts_may_be_fractional(tmp_path: Path) -> None:
    text = COUNTS.replace("author", "model:soft").replace("100", "99.25")
    assert tables.read_counts(write(tmp_path / "counts.tsv", text))["n_cells"].sum() == 3 * 99.25


@pytest.mark.parametrize(
    ("counts", "samples", "expected"),
    [
        (COUNTS.replace("s2", "s9"), SAMPLES, "sample_id 's9' is not in"),
        (COUNTS.replace("s2\tauthor\tTreg\t0\ns2\tauthor\tB\t100\n", ""), SAMPLES, "sample_id 's2' is not in"),
        (COUNTS.replace("s2\tauthor\tTreg\t0", "s2\tauthor\tTreg\t7"), SAMPLES, "sum to 107"),
    ],
)
def test_disagreeing_tables_are_named(tmp_path: Path, counts: str, samples: str, expected: str) -> None:
    counts_path, samples_path = write(tmp_path / "c.tsv", counts), write(tmp_path / "s.tsv", samples)
    with pytest.raises(AidaError) as caught:
        tables.check_counts_match_samples(
            tables.read_counts(counts_path), tables.read_samples(samples_path), counts_path, samples_path
        )
    assert expected in str(caught.value)


def test_an_empty_estimate_needs_a_reason(tmp_path: Path) -> None:
    row = dict.fromkeys(ESTIMATES.names, "")
    row |= dict.fromkeys(("cohort", "annotator", "cell_type", "denominator", "model", "contrast", "formula"), "x")
    row["superseded"] = False
    for status, note, fine in (
        ("too-few", "one sample", True),
        ("too-few", "", False),
        ("within-site", "why", False),
    ):
        path = tmp_path / "estimates.tsv"
        schema.write_tsv(pd.DataFrame([row | {"status": status, "note": note}]), path)
        if fine:
            assert len(read_estimates(path)) == 1
        else:
            with pytest.raises(AidaError, match="column 'estimate', row 1: empty"):
                read_estimates(path)


def test_absent_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=r"absent\.tsv: there is no such file"):
        schema.read_tsv(tmp_path / "absent.tsv")
    with pytest.raises(AidaError, match="not a readable tab-separated table"):
        schema.read_tsv(write(tmp_path / "empty.tsv", ""))
    with pytest.raises(AidaError, match="not a Parquet file"):
        tables.read_cells(write(tmp_path / "cells.parquet", "text"))
    with pytest.raises(AidaError, match="there is no such file"):
        tables.read_cells(tmp_path / "absent.parquet")
