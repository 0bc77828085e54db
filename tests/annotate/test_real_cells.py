"""The gate on real cells: sorted lineages, and the Treg share of PBMC."""

from __future__ import annotations

from pathlib import Path

import h5py
import pandas as pd
import pytest
from anndata.io import read_elem

from aida_tools.scan import gate as gates
from aida_tools.scan.run import make_plan, scan_blocks
from aida_tools.scan.stores import open_counts

pytestmark = pytest.mark.shared


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
