"""From labels to counted types: the table in config, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aida_tools.annotate.labels import map_labels, read_label_map
from aida_tools.core.errors import AidaError
from aida_tools.scan.gate import LABELS

MAP = (
    "label\tcell_type\tcell_type_id\tsets\n"
    "CD4 Treg\tTreg\tCL:0000815\tT,CD4_T\n"
    "CD4 Treg naive\tTreg\t\tT,CD4_T\n"
    "B\tB\t\t\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "classifier.labels.tsv"
    path.write_text(MAP)
    return path


def test_labels_are_united_under_their_counted_type(path: Path) -> None:
    labels = pd.Series(["B", "CD4 Treg naive", None, "CD4 Treg"], dtype="category")
    cell_type, sets = map_labels(labels, read_label_map(path), path)
    assert cell_type.astype(object).where(cell_type.notna(), None).tolist() == ["B", "Treg", None, "Treg"]
    assert sets.to_numpy().tolist() == [["CD4_T", "Treg"], ["T", "Treg"]]


def test_a_label_without_a_row_is_listed(path: Path) -> None:
    labels = pd.Series(["NK", "B", "pDC", "NK"])
    with pytest.raises(AidaError, match="no row for NK, pDC"):
        map_labels(labels, read_label_map(path), path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label\t", "labels\t", "column 'label' is missing. Did you mean 'labels'"),
        ("CD4 Treg naive\t", "CD4 Treg\t", "row 2: 'CD4 Treg' occurs twice"),
        ("CL:0000815", "CL:9999999", "column 'cell_type_id', row 1: value 'CL:9999999'"),
        ("naive\tTreg\t\tT,CD4_T", "naive\tTreg\t\tT", "counted as 'Treg' list different sets"),
        ("B\tB\t\t", "B\t\t\t", "column 'cell_type', row 3: empty"),
    ],
)
def test_mistakes_in_the_map_are_named(path: Path, old: str, new: str, message: str) -> None:
    assert old in MAP
    path.write_text(MAP.replace(old, new))
    with pytest.raises(AidaError, match=message):
        read_label_map(path)


def test_the_gate_has_a_row_for_each_of_its_labels(root: Path) -> None:
    table = read_label_map(root / "config" / "annotators" / "gate.labels.tsv")
    assert set(table["label"]) == set(LABELS)
    sets = table.set_index("label")["sets"]
    assert [label for label in LABELS if "CD4_T" in sets[label].split(",")] == ["Treg", "CD4_T_other"]
