"""The gate on real cells: sorted lineages, and the Treg share of PBMC."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pandas as pd
import pytest
from anndata.io import read_elem

from aida_tools.annotate.run import annotate, consensus
from aida_tools.scan import gate as gates
from aida_tools.scan.run import make_plan, scan, scan_blocks
from aida_tools.scan.stores import open_counts

pytestmark = pytest.mark.shared
COHORT = """
name: blood
title: real cells
source: {{ kind: h5ad, path: {path} }}
columns: {{ donor_id: {{ value: d }}, population: {{ value: unknown }} }}
"""


def gate_labels(path: Path, root: Path, column: str) -> tuple[pd.Series, pd.Series]:
    with h5py.File(path) as handle:
        groups = pd.Series(read_elem(handle["obs"])[column].to_numpy())
    gate_path = root / "config" / "annotators" / "gate.tsv"
    with open_counts(path) as counts:
        plan = make_plan(counts, gates.read_gate(gate_path), gate_path)
        tables = scan_blocks(counts, plan, 0, counts.shape[0], size=1000, threads=2)
        label = pd.concat([t.column("gate:label").to_pandas() for t in tables], ignore_index=True)
    return label.astype(str), groups


def test_lineages_of_sorted_cells(shared: Path, root: Path) -> None:
    label, sorted_as = gate_labels(shared / "data" / "sorted_b_cd4_cd8_800.h5ad", root, "FACS_type")
    table = pd.crosstab(sorted_as, label, normalize="index")
    assert table.loc["B cells", "B"] >= 0.97
    assert table.loc["CD4 T cells", ["CD4_T_other", "Treg"]].sum() >= 0.90
    # A shallow CD8 T cell often has no CD8 UMI: the gate's known weakness.
    assert table.loc["CD8 T cells", "CD8_T"] >= 0.65
    assert table.loc["B cells"].get("Treg", 0) == table.loc["CD8 T cells"].get("Treg", 0) == 0


def test_treg_share_of_cd4_in_pbmc(shared: Path, root: Path) -> None:
    label, sample = gate_labels(shared / "data" / "pbmc_10x_4samples.h5ad", root, "sample")
    table = pd.crosstab(sample, label)
    share = table["Treg"] / (table["Treg"] + table["CD4_T_other"])
    assert len(share) == 4
    assert share.between(0.01, 0.08).all(), share


@pytest.fixture
def classifiers(root: Path) -> Path:
    """The folder of the published classifiers; the test is skipped where they were not brought."""
    folder = root / "classifiers"
    if not all((folder / name / "classifier.json").is_file() for name in ("actinn", "stcat")):
        pytest.skip(
            "the published classifiers are not here: `aida-tools classifier add actinn --out classifiers`, then stcat"
        )
    return folder


def annotate_blood(path: Path, root: Path, classifiers: Path, out: Path, *voters: str) -> dict[str, pd.Series]:
    """Label real cells by the annotators named, and by their consensus."""
    (out / "fetch").mkdir(parents=True)
    (out / "fetch" / "source.json").write_text(json.dumps({"path": str(path), "format": "h5ad"}))
    (out / "cohort.yaml").write_text(COHORT.format(path=path))
    with h5py.File(path) as handle:
        cells = pd.DataFrame({"cell_id": read_elem(handle["obs"]).index.astype(str)})
    cells.to_parquet(out / "cells.parquet")
    table = root / "config" / "annotators" / "gate.tsv"
    inputs = out / "cohort.yaml", out / "fetch", out / "scan"
    scan(*inputs, gate_path=table, classifiers=["actinn", "stcat"], classifier_folder=classifiers)
    for name in voters:
        label_map = root / "config" / "annotators" / "gate.labels.tsv" if name == "gate" else None
        annotate(
            out / "cohort.yaml", out / "cells.parquet", out / "scan", name, out / name, label_map=label_map,
            classifier_folder=classifiers,
        )  # fmt: skip
    consensus([out / name for name in voters], out / "consensus")
    paths = {name: out / name / "labels.parquet" for name in (*voters, "consensus")}
    return {name: pd.read_parquet(path)["cell_type"].astype(str) for name, path in paths.items()}


def test_lineages_of_sorted_cells_by_blood(shared: Path, root: Path, classifiers: Path, tmp_path: Path) -> None:
    path = shared / "data" / "sorted_b_cd4_cd8_800.h5ad"
    label = annotate_blood(path, root, classifiers, tmp_path, "gate", "actinn", "blood")["blood"]
    with h5py.File(path) as handle:
        sorted_as = pd.Series(read_elem(handle["obs"])["FACS_type"].to_numpy())
    table = pd.crosstab(sorted_as, label, normalize="index")
    assert table.loc["B cells", "B"] >= 0.97
    assert table.loc["CD4 T cells", ["CD4_T_other", "Treg"]].sum() >= 0.90
    assert table.loc["CD8 T cells", "CD8_T"] >= 0.75
    t = sorted_as.str.contains("T cells") & label.isin(["CD4_T_other", "Treg", "CD8_T"])
    assert ((label == "CD8_T") == (sorted_as == "CD8 T cells"))[t].mean() >= 0.90
    assert table.loc["B cells"].get("Treg", 0) == table.loc["CD8 T cells"].get("Treg", 0) == 0


def test_treg_share_of_cd4_in_pbmc_by_every_annotator(
    shared: Path, root: Path, classifiers: Path, tmp_path: Path
) -> None:
    path = shared / "data" / "pbmc_10x_4samples.h5ad"
    with h5py.File(path) as handle:
        sample = pd.Series(read_elem(handle["obs"])["sample"].to_numpy())
    for name, label in annotate_blood(path, root, classifiers, tmp_path, "gate", "actinn", "blood").items():
        share = (label == "Treg").groupby(sample).sum() / label.str.match("Treg|CD4_T").groupby(sample).sum()
        assert share.between(0.01, 0.08).all(), (name, share)
