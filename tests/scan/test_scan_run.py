"""The pass over a file: the same answer however it is cut up, and against AnnData's own sums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.scan.run import parse_rows, scan
from aida_tools.scan.tables import SCAN
from tests.scan.conftest import make_anndata

Write = Callable[..., Path]
Fetched = Callable[..., tuple[Path, Path]]


@pytest.fixture
def run(tmp_path: Path, write_h5ad: Write, fetched: Fetched, gate_path: Path) -> Callable[..., Path]:
    def go(matrix: sp.csr_matrix, name: str, **options: object) -> Path:
        cohort, folder = fetched(write_h5ad(matrix))
        scan(cohort, folder, tmp_path / name, gate_path=gate_path, **options)
        return tmp_path / name / SCAN.file

    return go


def test_sums_agree_with_the_matrix(
    run: Callable[..., Path], counts: sp.csr_matrix, symbols: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_parquet(run(counts, "out"))
    dense = pd.DataFrame(counts.toarray(), columns=symbols)
    assert table["cell_id"].tolist() == [f"cell{i}" for i in range(500)]
    np.testing.assert_array_equal(table["total"], dense.sum(axis=1))
    np.testing.assert_array_equal(table["n_genes"], (dense > 0).sum(axis=1))
    np.testing.assert_array_equal(table["count:FOXP3"], dense["FOXP3"])
    mito = 100 * dense[["MT-ND1", "MT-CO1"]].sum(axis=1) / dense.sum(axis=1)
    np.testing.assert_allclose(table["pct_mito"], mito)
    assert (n := table["pct_mito"].isna().sum()) == (dense.sum(axis=1) == 0).sum() > 30
    assert f"without a label by classifiers: {n} of 500 cells (no UMI: {n})" in capsys.readouterr().err


def test_the_file_is_the_same_byte_for_byte_however_it_is_cut(run: Callable[..., Path], counts: sp.csr_matrix) -> None:
    reference = run(counts, "reference", block=500, threads=1).read_bytes()
    for block, threads in ((1, 2), (37, 3), (100_000, 2)):
        assert run(counts, f"{block}", block=block, threads=threads).read_bytes() == reference


def test_what_a_cell_gets_does_not_depend_on_its_neighbours(run: Callable[..., Path], counts: sp.csr_matrix) -> None:
    whole = pd.read_parquet(run(counts, "whole")).drop(columns="cell_id")
    order = np.random.default_rng(0).permutation(500)[:123]
    part = pd.read_parquet(run(counts[order], "part")).drop(columns="cell_id")
    pd.testing.assert_frame_equal(part, whole.iloc[order].reset_index(drop=True), check_exact=True)


def test_a_range_of_cells(run: Callable[..., Path], counts: sp.csr_matrix) -> None:
    whole = pd.read_parquet(run(counts, "whole"))
    part = pd.read_parquet(run(counts, "part", cells="100:350", block=64))
    pd.testing.assert_frame_equal(part, whole.iloc[100:350].reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, (0, 9)), (":", (0, 9)), ("3:", (3, 9)), (":4", (0, 4)), ("3:4", (3, 4))]
)
def test_ranges(text: str | None, expected: tuple[int, int]) -> None:
    assert parse_rows(text, None, 9) == expected


@pytest.mark.parametrize(("n", "cells"), [(1, 9), (4, 9), (9, 9), (7, 1_265_624)])
def test_parts_cover_the_file_once_and_are_of_nearly_equal_size(n: int, cells: int) -> None:
    parts = [parse_rows(None, f"{k}/{n}", cells) for k in range(1, n + 1)]
    assert [start for start, _ in parts] == [0, *[stop for _, stop in parts[:-1]]]
    assert parts[-1][1] == cells
    sizes = {stop - start for start, stop in parts}
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "1:4", "-1/4", "1/10"])
def test_wrong_parts_are_refused(text: str) -> None:
    with pytest.raises(AidaError, match=f"--part {text}"):
        parse_rows(None, text, 9)


def test_rows_are_named_in_one_way() -> None:
    with pytest.raises(AidaError, match="--cells 0:4 and --part 1/2 both"):
        parse_rows("0:4", "1/2", 9)


@pytest.mark.parametrize("text", ["4:3", "3:3", "0:10", "-1:3", "a:b", "3"])
def test_wrong_ranges_are_refused(text: str) -> None:
    with pytest.raises(AidaError, match=f"--cells {text}"):
        parse_rows(text, None, 9)


def test_one_cell_and_no_cell(run: Callable[..., Path], counts: sp.csr_matrix) -> None:
    assert len(pd.read_parquet(run(counts[:1], "one"))) == 1
    with pytest.raises(AidaError, match="no cell"):
        run(counts[:0], "none")


def test_logged_values_leave_nothing_behind(
    tmp_path: Path, write_h5ad: Write, fetched: Fetched, gate_path: Path, counts: sp.csr_matrix
) -> None:
    cohort, folder = fetched(write_h5ad(counts.log1p(), layers={"umi": counts}), layer="X")
    args = ["scan", str(cohort), str(folder), "--out", str(tmp_path / "out"), "--gate", str(gate_path)]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    assert "counts_layer: layers/umi" in result.output
    assert not (tmp_path / "out").exists()


def test_a_file_without_the_genes_of_the_gate_is_refused(
    tmp_path: Path, fetched: Fetched, gate_path: Path, counts: sp.csr_matrix
) -> None:
    make_anndata(counts, [f"gene{i}" for i in range(300)]).write_h5ad(tmp_path / "data.h5ad")
    cohort, folder = fetched(tmp_path / "data.h5ad")
    with pytest.raises(AidaError, match="CD3D, CD3E, CD3G, CD8A, CD8B, FOXP3"):
        scan(cohort, folder, tmp_path / "out", gate_path=gate_path)
