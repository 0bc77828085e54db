"""Sums by sample and label, and ranges put together again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.scan import pseudobulk as room
from aida_tools.scan.blocks import Block, Genes
from aida_tools.scan.gather import gather
from aida_tools.scan.run import scan
from aida_tools.scan.tables import SCAN

Write = Callable[..., Path]
Fetched = Callable[..., tuple[Path, Path]]


@pytest.fixture(params=[2**40, 4 * 300 * 8, 1])
def resident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room in memory for the sums of all groups, of four of 300 genes, of one."""
    monkeypatch.setattr(room, "_RESIDENT", request.param)
    monkeypatch.setattr(room, "_ROWS", 4)


@pytest.mark.usefixtures("resident")
def test_sums_are_those_of_pandas(run: Callable[..., Path], counts: sp.csr_matrix, cells: Path) -> None:
    out = run("out", block=64)
    labels = pd.read_parquet(out / SCAN.file)
    table = pd.read_parquet(cells)
    for name, label in (
        ("author", table["author_label"]),
        ("gate", labels["gate:label"]),
        ("m", labels["m:label"]),
    ):
        sums = ad.read_h5ad(out / f"pseudobulk.{name}.h5ad")
        label = label.astype(object).where(label.notna(), None)
        expected = pd.DataFrame(counts.toarray()).groupby([table["sample_id"], label]).sum()
        sizes = table.groupby(["sample_id", label]).size()
        assert set(sums.obs["annotator"]) == {name}
        for i, row in enumerate(sums.obs.itertuples()):
            key = (row.sample_id, row.label)
            assert row.n_cells == sizes.get(key, 0)
            np.testing.assert_array_equal(sums.X[i].toarray()[0], expected.loc[key] if key in expected.index else 0)
        assert sums.X.dtype == np.int64
    # A cell without counts has no label by a classifier.
    assert labels["m:label"].isna().sum() == (labels["total"] == 0).sum() > 0


def test_groups_come_and_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(room, "_RESIDENT", 4 * 5 * 8)
    rng = np.random.default_rng(6)
    samples, labels, wanted = ["a", "b", "c"], ["t", "u", "v", "w"], np.zeros((12, 5), dtype=np.int64)
    genes = Genes(*[np.array([f"g{i}" for i in range(5)], dtype=object)] * 2)
    with tempfile.TemporaryFile() as file:
        sums = room.Pseudobulk("x", samples, labels, 5, file)
        for _ in range(60):
            counts = sp.csr_matrix(rng.poisson(1, (8, 5)))
            group = rng.choice(rng.choice(12, rng.integers(1, 8), replace=False), 8)
            sums.add(Block(0, counts.indptr, counts.indices, counts.data), group // 4, group % 4)
            np.add.at(wanted, group, counts.toarray())
        sums.write(tmp_path / "sums.h5ad", genes)
    np.testing.assert_array_equal(ad.read_h5ad(tmp_path / "sums.h5ad").X.toarray(), wanted)


def test_ranges_put_together_are_the_whole_bit_for_bit(run: Callable[..., Path], tmp_path: Path) -> None:
    whole = run("whole", threads=1)
    parts = [run("c", cells="311:500"), run("a", cells="0:13", block=5), run("b", cells="13:311", threads=3)]
    gather(parts, tmp_path / "gathered")
    assert (tmp_path / "gathered" / SCAN.file).read_bytes() == (whole / SCAN.file).read_bytes()
    for name in ("author", "gate", "m"):
        one, other = (ad.read_h5ad(p / f"pseudobulk.{name}.h5ad") for p in (whole, tmp_path / "gathered"))
        pd.testing.assert_frame_equal(one.obs, other.obs)
        pd.testing.assert_frame_equal(one.var, other.var)
        assert (one.X != other.X).nnz == 0
        assert one.X.dtype == other.X.dtype


def test_parts_scanned_and_gathered_on_the_command_line(
    run: Callable[..., Path], tmp_path: Path, gate_path: Path, cells: Path
) -> None:
    whole = run("whole")
    command = ["scan", tmp_path / "cohort.yaml", tmp_path / "fetch", "--gate", gate_path, "--samples", cells]
    command += ["--classifiers", tmp_path / "classifiers", "--classifier", "m", "--classifier", "s", "--expected", "s"]
    command += [word for name in ("author", "gate", "m") for word in ("--pseudobulk", name)]
    parts = [tmp_path / f"part{k}" for k in (3, 1, 2)]
    gathered = tmp_path / "gathered"
    calls = [[*command, "--part", f"{part.name[-1]}/3", "--out", part] for part in parts]
    for call in (*calls, ["scan-gather", *parts, "--out", gathered]):
        result = CliRunner().invoke(main, list(map(str, call)))
        assert result.exit_code == 0, result.output
    results = {path.name for path in whole.iterdir()}
    assert (
        results == {path.name for path in gathered.iterdir()} > {SCAN.file, "pseudobulk.m.h5ad", "expected.s.parquet"}
    )
    for name in results - {"provenance.json"}:
        assert (gathered / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (["0:100", "200:500"], "the cells 100:200 are missing"),
        (["0:100", "90:500"], "the cells 90:100 are there twice"),
        (["0:100", "100:499"], "the scans end at cell 499 of 500"),
        (["1:500"], "the cells 0:1 are missing"),
    ],
)
def test_gaps_are_named(run: Callable[..., Path], tmp_path: Path, ranges: list[str], message: str) -> None:
    parts = [run(f"part{i}", cells=text) for i, text in enumerate(ranges)]
    with pytest.raises(AidaError, match=message):
        gather(parts, tmp_path / "gathered")
    assert not (tmp_path / "gathered").exists()


def test_parts_of_different_scans_are_not_mixed(run: Callable[..., Path], tmp_path: Path, cells: Path) -> None:
    first = run("first", cells="0:100")
    pd.read_parquet(cells).assign(author_label="B").to_parquet(cells)
    second = run("second", cells="100:500")
    with pytest.raises(AidaError, match="scanned from other inputs"):
        gather([first, second], tmp_path / "gathered")
    with pytest.raises(AidaError, match="not a folder that `aida-tools scan` finished"):
        gather([first, tmp_path], tmp_path / "gathered")


def test_the_table_of_cells_must_be_that_of_the_counts(run: Callable[..., Path], cells: Path) -> None:
    table = pd.read_parquet(cells)
    swapped = table.assign(cell_id=table["cell_id"].replace({"cell7": "cell8", "cell8": "cell7"}))
    swapped.to_parquet(cells)
    with pytest.raises(AidaError, match="row 8 is cell 'cell8', but the counts have 'cell7' there"):
        run("out")
    table.iloc[:400].to_parquet(cells)
    with pytest.raises(AidaError, match="400 cells, fewer than the file"):
        run("out")


def test_sums_need_a_known_annotator_and_samples(
    tmp_path: Path, write_h5ad: Write, fetched: Fetched, gate_path: Path, counts: sp.csr_matrix, cells: Path
) -> None:
    cohort, fetch = fetched(write_h5ad(counts))
    with pytest.raises(AidaError, match="name the table of cells"):
        scan(cohort, fetch, tmp_path / "out", gate_path=gate_path, pseudobulk=["gate"])
    with pytest.raises(AidaError, match=r"--pseudobulk gat: .*Did you mean 'gate'"):
        scan(cohort, fetch, tmp_path / "out", gate_path=gate_path, pseudobulk=["gat"], samples_path=cells)
