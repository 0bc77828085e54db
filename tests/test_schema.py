"""A declared table holds its columns in their order and types, and names what is wrong with a file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools import reference, rooms
from aida_tools.core.errors import AidaError
from aida_tools.core.schema import TABLES, Table, declare, flag, number, read_tsv, share, text, whole, write_tables

EVERY = Table(
    "every",
    step="toy",
    what="a thing",
    columns=(
        text("name", "what it is called", empty=False, unique=True),
        text("kind", levels=("big", "small")),
        number("size", "across", unit="mm", low=0),
        share("part"),
        whole("n", "pieces", unit="pieces"),
        whole("rank", low=1, empty=False),
        flag("old"),
        flag("sold", empty=True),
    ),
)
OPEN = Table("open", step="toy", what="a thing", open="whatever", columns=(text("name", empty=False),))
ROWS = [
    {"sold": True, "name": "a", "kind": "big", "size": 2.5, "part": 0.5, "n": 3, "rank": 1, "old": True},
    {"name": "b", "kind": None, "size": 1, "part": np.nan, "n": None, "rank": 2, "old": False, "unasked": "x"},
]
TEXT = (
    "name\tkind\tsize\tpart\tn\trank\told\tsold\n"
    "a\tbig\t2.5\t0.5\t3\t1\tTrue\tTrue\n"
    "b\t\t1.0\t\t\t2\tFalse\t\n"
)  # fmt: skip
TYPES = ["str", "str", "float64", "float64", "Int64", "int64", "bool", "boolean"]


def test_rows_become_the_table_and_its_file(tmp_path: Path) -> None:
    table = EVERY.frame(ROWS)
    assert [str(t) for t in table.dtypes] == TYPES
    EVERY.write(table, tmp_path)
    assert (tmp_path / "every.tsv").read_text() == TEXT
    pd.testing.assert_frame_equal(EVERY.read(tmp_path), table)


def test_without_rows_it_keeps_columns_and_types(tmp_path: Path) -> None:
    EVERY.write(EVERY.frame(), tmp_path)
    assert (tmp_path / "every.tsv").read_text() == TEXT.split("\n")[0] + "\n"
    assert [str(t) for t in EVERY.read(tmp_path).dtypes] == [str(t) for t in EVERY.frame().dtypes] == TYPES


def test_numbers_that_happen_to_be_whole_are_written_as_such(tmp_path: Path) -> None:
    one = Table("one", step="toy", what="a thing", columns=(number("size"),))
    one.write(one.frame(pd.DataFrame({"size": [2, 3]})), tmp_path)
    assert (tmp_path / "one.tsv").read_text() == "size\n2\n3\n"
    assert one.read(tmp_path)["size"].tolist() == [2.0, 3.0]


def test_parts_made_apart_are_joined_with_their_types() -> None:
    nothing_known = EVERY.frame(ROWS).assign(kind=None, n=None, size=np.nan).iloc[1:]
    joined = EVERY.join([EVERY.frame(ROWS[:1]), nothing_known, EVERY.frame()])
    assert joined["name"].tolist() == ["a", "b"]
    assert [str(t) for t in joined.dtypes] == TYPES
    assert [str(t) for t in EVERY.join([]).dtypes] == TYPES


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rank", "rnak", "column 'rank' is missing. Did you mean 'rnak'?"),
        ("big", "bgi", "column 'kind', row 1: value 'bgi' must be one of big, small."),
        ("2.5", "-2.5", "column 'size', row 1: value '-2.5' must be a number of 0 or more (mm)."),
        ("2.5", "wide", "column 'size', row 1: value 'wide' must be a number of 0 or more (mm)."),
        ("0.5", "1.5", "column 'part', row 1: value '1.5' must be a number from 0 to 1."),
        ("\t3\t", "\t3.5\t", "column 'n', row 1: value '3.5' must be a whole number of 0 or more (pieces)."),
        ("\t2\tF", "\t\tF", "column 'rank', row 2: value 'nan' must be a value (it is empty)."),
        ("\t2\tF", "\t0\tF", "column 'rank', row 2: value '0.0' must be a whole number of 1 or more."),
        ("False", "perhaps", "column 'old', row 2: value 'perhaps' must be true or false."),
        ("False", "", "column 'old', row 2: value 'nan' must be a value (it is empty)."),
        ("b\t", "a\t", "must be unique; it occurs more than once. (2 such values in all.)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in TEXT
    (tmp_path / "every.tsv").write_text(TEXT.replace(old, new))
    with pytest.raises(AidaError, match=re.escape(expected)) as caught:
        EVERY.read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'every.tsv'}: column '")


def test_truth_may_be_written_in_several_ways(tmp_path: Path) -> None:
    (tmp_path / "every.tsv").write_text(TEXT.replace("False", "no").replace("True\tTrue", "1\tYES"))
    table = EVERY.read(tmp_path)
    assert table["old"].tolist() == [True, False]
    assert table["sold"].tolist() == [True, pd.NA]


def test_other_columns_are_dropped_unless_the_table_is_open() -> None:
    table = pd.DataFrame({"bmi": ["21.5", None], "name": ["a", "b"], "smoking": ["no", "1"]})
    read = OPEN.check(table, "open.tsv")
    assert read.columns.tolist() == ["name", "bmi", "smoking"]
    assert read["bmi"].dtype == float
    assert read["smoking"].tolist() == ["no", "1"]
    closed = Table("closed", step="toy", what="a thing", columns=(text("name"),))
    assert closed.check(table, "closed.tsv").columns.tolist() == ["name"]


def test_parquet_is_written_and_read_by_its_columns(tmp_path: Path) -> None:
    cells = Table("cells", "toy", "a cell", (text("cell_id"), number("depth")), form="parquet")
    cells.write(pd.DataFrame({"depth": [1.5], "more": [0], "cell_id": pd.Categorical(["x"])}), tmp_path)
    assert cells.read(tmp_path).columns.tolist() == ["cell_id", "depth"]
    assert isinstance(cells.read(tmp_path)["cell_id"].dtype, pd.CategoricalDtype)
    other = Table("cells", "toy", "a cell", (text("cellid"),), form="parquet")
    with pytest.raises(AidaError, match=r"cells\.parquet: column 'cellid' is missing\. Did you mean 'cell_id'"):
        other.read(tmp_path)


def test_a_new_table_is_written_by_its_name_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, EVERY.file, EVERY)
    assert declare(EVERY) is EVERY
    write_tables({"every": EVERY.frame(ROWS)}, tmp_path)
    assert len(read_tsv(tmp_path / "every.tsv")) == 2
    page = reference.tables()
    assert "## `toy`\n\n### `every.tsv`\n\nA row is a thing.\n" in page
    assert "| `size` | a number of 0 or more (mm) | yes | across |" in page
    assert "| `rank` | a whole number of 1 or more |  |  |" in page
    with pytest.raises(KeyError):
        write_tables({"undeclared": EVERY.frame(ROWS)}, tmp_path)


def test_the_page_of_tables_is_what_the_rooms_declare(root: Path) -> None:
    """docs/reference/tables.md is written by `python -m aida_tools.reference`."""
    assert (root / "docs" / "reference" / "tables.md").read_text(encoding="utf-8") == reference.tables()


def test_every_declared_table_is_described() -> None:
    rooms.load("tables")
    assert {"cells.parquet", "counts.tsv", "estimates.tsv", "site_bound.tsv", "labels.tsv"} <= set(TABLES)
    for table in TABLES.values():
        assert table.what, table.file
        assert not table.what.endswith("."), table.file
        assert len(set(table.names)) == len(table.names), table.file
        assert set(table.shown) <= set(table.names), table.file
        assert bool(table.title) == bool(table.section), table.file
