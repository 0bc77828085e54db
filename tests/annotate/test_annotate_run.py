"""The command: author labels, the gate, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.annotate.run import annotate
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_denominators

COHORT = """
name: small
title: SYNTHETIC labels
synthetic: true
source: { kind: h5ad, path: data.h5ad }
columns: { donor_id: donor, population: { value: unknown } }
labels:
  column: label
  merge: { Treg: [Treg, Treg_act] }
  sets: { CD4_T: [Treg, naive] }
  exclude: [Platelet]
"""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.yaml"
    path.write_text(COHORT)
    return path


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    labels = ["Treg", "Treg_act", "naive", "B", "Platelet", None]
    table = pd.DataFrame({"cell_id": [f"c{i}" for i in range(6)], "author_label": labels, "cell_type_id": None})
    (tmp_path / "cells").mkdir()
    table.to_parquet(tmp_path / "cells" / "cells.parquet")
    return tmp_path / "cells"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    labels = ["Treg", "CD4_T_other", "CD8_T", "B", "NK", "other"]
    table = pd.DataFrame({"cell_id": [f"c{i}" for i in range(6)], "gate:label": pd.Categorical(labels)})
    table = table.assign(**{"gate:probability": [0.9, 0.8, None, None, None, None], "gate:margin": 1.0})
    table["gate:margin_Treg"] = [2.2, -1.4, -3.0, -3.0, -3.0, -3.0]
    table = table.assign(**{"count:FOXP3": 0, "count:IL7R": 1})
    (tmp_path / "scan").mkdir()
    table.to_parquet(tmp_path / "scan" / "scan.parquet")
    return tmp_path / "scan"


def test_author_labels_are_counted_as_the_cohort_file_says(
    cohort: Path, cells: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotate(cohort, cells, None, "author", tmp_path / "author", label_map=None)
    labels = pd.read_parquet(tmp_path / "author" / "labels.parquet")
    assert list(labels.columns) == ["cell_id", "cell_type", "label", "probability", "margin", "margin_Treg"]
    counted = labels["cell_type"].astype(object).where(labels["cell_type"].notna(), None)
    assert counted.tolist() == ["Treg", "Treg", "naive", "B", None, None]
    assert labels["label"].tolist()[:5] == ["Treg", "Treg_act", "naive", "B", "Platelet"]
    sets = read_denominators(tmp_path / "author" / "sets.tsv")
    assert sets.to_numpy().tolist() == [["CD4_T", "author", "Treg"], ["CD4_T", "author", "naive"]]
    assert capsys.readouterr().err == (
        "aida-tools: not counted by annotator 'author': 2 of 6 cells (label Platelet is not counted: 1, no label: 1)\n"
    )


def test_gate_labels_keep_probability_and_margin(
    cohort: Path, cells: Path, scan: Path, tmp_path: Path, root: Path
) -> None:
    label_map = root / "config" / "annotators" / "gate.labels.tsv"
    annotate(cohort, cells / "cells.parquet", scan, "gate", tmp_path / "gate", label_map=label_map)
    labels = pd.read_parquet(tmp_path / "gate" / "labels.parquet")
    assert labels["cell_type"].tolist() == ["Treg", "CD4_T_other", "CD8_T", "B", "NK", "other"]
    assert labels["probability"].tolist()[:2] == [0.9, 0.8]
    sets = read_denominators(tmp_path / "gate" / "sets.tsv")
    assert set(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]) == {"Treg", "CD4_T_other"}
    assert labels["margin_Treg"].tolist()[:2] == [2.2, -1.4]


def test_the_folder_gives_the_annotator_its_name(
    cohort: Path, cells: Path, scan: Path, tmp_path: Path, root: Path
) -> None:
    label_map = root / "config" / "annotators" / "gate.labels.tsv"
    (scan / "thinning.tsv").write_text("level\n")
    annotate(cohort, cells, scan, "gate", tmp_path / "gate-thinned", label_map=label_map)
    assert set(read_denominators(tmp_path / "gate-thinned" / "sets.tsv")["annotator"]) == {"gate-thinned"}
    card = json.loads((tmp_path / "gate-thinned" / "annotator.json").read_text())
    assert (card["annotator"], card["kind"], card["thinned"], card["classifiers"]) == ("gate-thinned", "gate", True, [])
    # The sentence names the genes of the scan, and the thinning.
    assert "FOXP3, IL7R" in card["description"]
    assert "thinned" in card["description"]
    annotate(cohort, cells, None, "author", tmp_path / "author", label_map=None)
    card = json.loads((tmp_path / "author" / "annotator.json").read_text())
    assert "of the column 'label'" in card["description"]
    assert not card["thinned"]


def test_a_cohort_without_labels_has_no_author(cohort: Path, cells: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(cells / "cells.parquet").assign(author_label=None)
    table.to_parquet(cells / "cells.parquet")
    with pytest.raises(AidaError, match=r"no labels.*choose another annotator, such as gate"):
        annotate(cohort, cells, None, "author", tmp_path / "out", label_map=None)
    assert not (tmp_path / "out").exists()


def test_the_scan_must_be_of_the_same_cells(cohort: Path, cells: Path, scan: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(scan / "scan.parquet")
    table.iloc[::-1].to_parquet(scan / "scan.parquet")
    with pytest.raises(AidaError, match="not the 6 cells of"):
        annotate(cohort, cells, scan, "gate", tmp_path / "out", label_map=None)


def test_an_unknown_annotator_and_a_missing_scan_are_named(
    cohort: Path, cells: Path, scan: Path, tmp_path: Path
) -> None:
    with pytest.raises(AidaError, match=r"this scan has no annotator 'gat'\. Did you mean 'gate'"):
        annotate(cohort, cells, scan, "gat", tmp_path / "out", label_map=None)
    with pytest.raises(AidaError, match="needs the folder of `aida-tools scan`"):
        annotate(cohort, cells, None, "gate", tmp_path / "out", label_map=None)
    with pytest.raises(AidaError, match="Run `aida-tools scan` first"):
        annotate(cohort, cells, tmp_path, "gate", tmp_path / "out", label_map=None)
