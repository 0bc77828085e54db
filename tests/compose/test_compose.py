"""Counts agree with a cross-tabulation; zeros are rows; what disagrees is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.compose.counts import count_cells
from aida_tools.compose.run import compose, make_samples
from aida_tools.compose.tables import UNCOUNTED
from aida_tools.core.errors import AidaError
from aida_tools.core.schema import write_parquet, write_tsv
from aida_tools.core.tables import check_counts_match_samples, read_counts, read_samples


def make_cells(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    donor = rng.integers(0, 5, n)
    return pd.DataFrame(
        {
            "cell_id": [f"c{i}" for i in range(n)],
            "sample_id": [f"d{d}|b1" for d in donor],
            "donor_id": [f"d{d}" for d in donor],
            "population": "Korean",
            "site": "KR",
            "batch": "b1",
            "library": rng.choice(["l1", "l2"], n),
            "sex": np.where(donor % 2, "female", "male"),
            "age": np.where(donor == 4, np.nan, 30.0 + donor),
            "is_control": False,
            "author_label": rng.choice(["Treg", "B", "T"], n),
            "cell_type_id": None,
            "bmi": np.where(donor == 2, np.nan, 20.0 + donor),
            "introns": "no",
        }
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[pd.DataFrame, Path, Path]:
    cells = make_cells()
    write_parquet(cells, tmp_path / "cells.parquet")
    folder = tmp_path / "author"
    folder.mkdir()
    labels = cells[["cell_id"]].assign(cell_type=cells["author_label"].where(cells["author_label"] != "B"))
    write_parquet(labels, folder / "labels.parquet")
    sets = pd.DataFrame({"denominator": "CD4_T", "annotator": "author", "cell_type": ["Treg", "CD4+_T_em"]})
    write_tsv(sets, folder / "sets.tsv")
    return cells, tmp_path / "cells.parquet", folder


def test_kernel_agrees_with_a_cross_tabulation() -> None:
    rng = np.random.default_rng(0)
    samples, types = rng.integers(0, 7, 1000), rng.integers(-1, 4, 1000)
    expected = pd.crosstab(samples, types).reindex(index=range(8), columns=range(5), fill_value=0)
    np.testing.assert_array_equal(count_cells(samples, types, 8, 5), expected)


def test_counts_of_labelled_cells(folders: tuple[pd.DataFrame, Path, Path], tmp_path: Path) -> None:
    cells, cells_path, folder = folders
    out = tmp_path / "counts"
    compose(cells_path, [folder], out)
    counts, samples = read_counts(out / "counts.tsv"), read_samples(out / "samples.tsv")
    check_counts_match_samples(counts, samples, out, out)
    # Excluded labels ("B") are no type, and a type of a set that no cell has is a row of zeros.
    assert set(counts["cell_type"]) == {"Treg", "T", "CD4+_T_em"}
    assert counts.query("cell_type == 'CD4+_T_em'")["n_cells"].tolist() == [0] * 5
    wide = counts.pivot(index="sample_id", columns="cell_type", values="n_cells")
    expected = pd.crosstab(cells["sample_id"], cells["author_label"])
    pd.testing.assert_frame_equal(
        wide[["T", "Treg"]].astype(int), expected[["T", "Treg"]], check_names=False, check_dtype=False
    )
    assert samples.set_index("sample_id")["n_cells"].to_dict() == cells["sample_id"].value_counts().to_dict()
    row = samples.set_index("sample_id").loc["d2|b1"]
    assert (row["sex"], row["age"], bool(np.isnan(row["bmi"]))) == ("male", 32.0, True)


def test_a_text_covariate_that_differs_within_a_sample_is_joined() -> None:
    cells = make_cells()
    cells.loc[(cells["donor_id"] == "d1") & (cells["library"] == "l2"), "introns"] = "yes"
    samples = make_samples(cells, "cells.parquet").set_index("donor_id")
    assert samples["introns"].to_dict() == {"d0": "no", "d1": "no|yes", "d2": "no", "d3": "no", "d4": "no"}


@pytest.mark.parametrize(("column", "value"), [("sex", "unknown"), ("population", "Thai"), ("bmi", 99.0), ("age", 5.0)])
def test_a_value_that_differs_within_a_sample_is_named(column: str, value: object) -> None:
    cells = make_cells()
    last = np.flatnonzero(cells["donor_id"] == "d1")[-1]
    cells.loc[last, column] = value
    with pytest.raises(AidaError, match=rf"column '{column}' has several values in sample_id 'd1\|b1'"):
        make_samples(cells, "cells.parquet")


def test_labels_of_other_cells_are_refused(folders: tuple[pd.DataFrame, Path, Path], tmp_path: Path) -> None:
    cells, cells_path, folder = folders
    write_parquet(cells[["cell_id"]].iloc[::-1].assign(cell_type="T"), folder / "labels.parquet")
    with pytest.raises(AidaError, match="annotator 'author': its 400 labels are not those of the 400 cells"):
        compose(cells_path, [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def run_import(table: str, tmp_path: Path, *options: str) -> tuple[int, str]:
    path = tmp_path / "wide.csv"
    path.write_text(table)
    result = CliRunner().invoke(main, ["import-counts", str(path), *options, "--out", str(tmp_path / "out")])
    return result.exit_code, result.output


WIDE = '"","B cells","NK"\n"ctrl-1",3,0\n"stim-1",5,7\n'


def test_wide_table_becomes_counts_and_samples(tmp_path: Path) -> None:
    code, output = run_import(WIDE, tmp_path, "--id-pattern", r"(?P<population>ctrl|stim)-(?P<donor_id>\d)")
    assert code == 0, output
    samples = read_samples(tmp_path / "out" / "samples.tsv")
    assert samples[["population", "donor_id", "n_cells"]].to_numpy().tolist() == [["ctrl", "1", 3], ["stim", "1", 12]]
    counts = read_counts(tmp_path / "out" / "counts.tsv")
    assert counts[["sample_id", "cell_type", "n_cells"]].to_numpy().tolist() == [
        ["ctrl-1", "B cells", 3],
        ["ctrl-1", "NK", 0],
        ["stim-1", "B cells", 5],
        ["stim-1", "NK", 7],
    ]


@pytest.mark.parametrize(
    ("table", "options", "expected"),
    [
        (WIDE, (), "no column says which population"),
        (WIDE, ("--id-pattern", "(?P<population>x)"), "row 1: value 'ctrl-1' does not match"),
        (WIDE, ("--column", "population=NKT"), "Did you mean 'NK'?"),
        (WIDE.replace("5,7", "5,-7"), ("--id-pattern", "(?P<population>....)"), "column 'NK', row 2: value '-7'"),
        (
            WIDE.replace("5,7", "5.5,7"),
            ("--id-pattern", "(?P<population>....)"),
            "column 'B cells', row 2: value '5.5'",
        ),
        (WIDE.replace("stim", "ctrl"), ("--id-pattern", "(?P<population>....)"), "occurs twice"),
    ],
)
def test_wrong_wide_tables_are_named(tmp_path: Path, table: str, options: tuple[str, ...], expected: str) -> None:
    code, output = run_import(table, tmp_path, *options)
    assert code == 1
    assert expected in output
    assert not (tmp_path / "out").exists()


def test_cells_in_no_count_are_a_table_by_reason(
    folders: tuple[pd.DataFrame, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, cells_path, author = folders
    cells["label"], gate = cells["author_label"].where(cells["cell_id"] != "c7"), tmp_path / "gate"
    gate.mkdir()
    write_parquet(cells.assign(cell_type=cells["label"].where(cells["label"] == "Treg")), gate / "labels.parquet")
    (gate / "sets.tsv").write_text((author / "sets.tsv").read_text())
    compose(cells_path, [author, gate], tmp_path / "out")
    table = UNCOUNTED.read(tmp_path / "out").set_index(["annotator", "reason"])
    n = cells["label"].value_counts()
    no_b = int((cells["author_label"] == "B").sum())
    assert table["n_cells"].to_dict() == {
        ("author", "no label"): no_b, ("gate", "label T is not counted"): n["T"],
        ("gate", "label B is not counted"): n["B"], ("gate", "no label"): 1,
    }  # fmt: skip
    assert table.loc[("author", "no label"), "share"] == pytest.approx(no_b / 400)
    counts = read_counts(tmp_path / "out" / "counts.tsv").groupby("annotator")["n_cells"].sum()
    assert (counts + table.groupby("annotator")["n_cells"].sum() == 400).all()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"aida-tools: not counted, by annotator: author: {no_b} of 400 cells (no label: {no_b}); gate: "
    )


def test_an_imported_table_of_percentages_is_questioned(tmp_path: Path) -> None:
    wide = "id,group,Treg,other\nd1,Korean,3,97\nd2,Thai,5,96\n"
    code, output = run_import(wide, tmp_path, "--column", "population=group")
    assert code == 0
    assert "add up to about 100 in every sample" in output
    code, output = run_import(wide.replace("96", "950"), tmp_path, "--column", "population=group")
    assert (code, "about 100" in output) == (0, False)
