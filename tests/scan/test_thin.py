"""Thinning to one depth: binomial, and the same for a cell whatever else is in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.io import write_elem
from click.testing import CliRunner
from scipy.stats import binom, chisquare

from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.scan import kernels
from aida_tools.scan.tables import SCAN, THINNING
from aida_tools.scan.thin import match_depth

#: Depth of a site against that of A; too few cells of D are there to set the target.
SITES = {"A": 2.0, "B": 6.0, "C": 3.0, "D": 1.0}


@pytest.fixture
def site() -> np.ndarray:
    return np.random.default_rng(8).permutation(np.repeat(list(SITES), [150, 160, 170, 20]))


@pytest.fixture
def counts(site: np.ndarray) -> sp.csr_matrix:
    """500 cells x 300 genes, deeper at some sites; some cells without any count."""
    rng = np.random.default_rng(9)
    rates = rng.gamma(0.3, 2.0, 300) * rng.gamma(20, 0.05, (500, 1)) * pd.Series(site).map(SITES).to_numpy()[:, None]
    matrix = rng.poisson(rates)
    matrix[rng.random(500) < 0.04] = 0
    return sp.csr_matrix(matrix.astype(np.float32))


@pytest.fixture
def cells(cells: Path, site: np.ndarray) -> Path:
    table = pd.read_parquet(cells)
    table.assign(site=pd.Categorical(site), batch=site, age=30.0).to_parquet(cells)
    return cells


def thinned(data: np.ndarray, keep: float, seed: int = 1, names: np.ndarray | None = None) -> np.ndarray:
    """Thin a dense matrix of cells x genes."""
    matrix = sp.csr_matrix(data)
    n_cells = len(data)
    names = np.arange(n_cells, dtype=np.uint64) if names is None else names
    limit = np.full(n_cells, int(keep * 2.0**64), dtype=np.uint64)
    kept = kernels.thin(matrix.indptr, matrix.indices, matrix.data, names, limit, np.uint64(seed))
    return sp.csr_matrix((kept, matrix.indices, matrix.indptr), shape=data.shape).toarray()


def test_random_numbers_are_those_of_splitmix64() -> None:
    # The first outputs of the reference program for this seed.
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert [int(kernels.draw(np.uint64(1234567), i)) for i in range(5)] == published


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint16])
@pytest.mark.parametrize(("n", "keep"), [(1, 0.7), (3, 0.25), (12, 0.5), (12, 0.9), (1000, 0.6)])
def test_counts_are_binomial(n: int, keep: float, dtype: type) -> None:
    kept = thinned(np.full((200, 100), n, dtype=dtype), keep, seed=3)
    assert kept.dtype == dtype
    law = binom(n, keep)
    # About twenty bins of nearly equal probability.
    edges = np.unique(law.ppf(np.linspace(0, 1, 21)[1:-1]))
    observed = np.bincount(np.searchsorted(edges, kept.ravel()), minlength=len(edges) + 1)
    expected = np.diff([0.0, *law.cdf(edges), 1.0]) * kept.size
    assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3
    assert observed[expected == 0].sum() == 0


def test_umis_genes_cells_and_seeds_are_independent() -> None:
    one = np.ones((300, 300))
    kept, other = thinned(one, 0.4), thinned(one, 0.4, seed=2)
    # Four-field tables of neighbours, of which 0.4 * 0.4 should both be kept.
    for a, b in ((kept[:-1], kept[1:]), (kept[:, :-1], kept[:, 1:]), (kept, other), (kept[:, :-64], kept[:, 64:])):
        observed = np.bincount((2 * a + b).astype(int).ravel(), minlength=4)
        share = np.array([0.36, 0.24, 0.24, 0.16])
        assert chisquare(observed, share * observed.sum()).pvalue > 1e-3
    # Two UMIs of one gene: both are kept as often as independent ones.
    pairs = np.bincount(thinned(2 * one, 0.4).astype(int).ravel(), minlength=3)
    assert chisquare(pairs, np.array([0.36, 0.48, 0.16]) * pairs.sum()).pvalue > 1e-3


def test_what_is_kept_at_less_is_part_of_what_is_kept_at_more() -> None:
    data = np.random.default_rng(0).poisson(3, (100, 100))
    less, more = thinned(data, 0.3), thinned(data, 0.6)
    assert (less <= more).all()
    assert (more <= data).all()
    assert 0 < less.sum() < more.sum() < data.sum()


def test_shares_match_the_shallowest_level_that_is_large_enough() -> None:
    total = np.concatenate([np.full(60, 100), np.full(60, 400), np.full(30, 50), np.full(10, 800), np.zeros(40)])
    codes = np.repeat([0, 1, 2, 3, 0, 4], [60, 60, 30, 10, 20, 20])
    table = match_depth(total.astype(int), codes, ["a", "b", "c", "d", "empty"])
    assert table["n_cells"].tolist() == [60, 60, 30, 10, 0]
    assert table["keep"].tolist() == [1.0, 0.25, 1.0, 0.125, 1.0]
    assert table["median_depth"].fillna(-1).tolist() == [100, 400, 50, 800, -1]
    assert [note[:9] for note in table["note"]] == ["", "", "shallower", "fewer tha", "fewer tha"]


@pytest.fixture
def matched(run: Callable[..., Path]) -> tuple[Path, Path]:
    """Scan the counts as they are, then thinned."""
    whole = run("whole")
    return whole, run("thinned", thin=whole)


def test_sites_are_of_one_depth_and_the_shallowest_keeps_all(matched: tuple[Path, Path], site: np.ndarray) -> None:
    whole, thin = (pd.read_parquet(folder / SCAN.file) for folder in matched)
    median = pd.DataFrame({"site": site, "total": thin["total"]})[thin["total"] > 0].groupby("site")["total"].median()
    target = whole["total"][(site == "A") & (whole["total"] > 0)].median()
    # Three standard errors of the median of 150 cells of such depths are about 6 %.
    np.testing.assert_allclose(median[["A", "B", "C"]], target, rtol=0.06)
    table = THINNING.read(matched[1]).set_index("level")
    assert table["keep"][["A", "D"]].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(table["keep"][["B", "C"]], [2 / 6, 2 / 3], rtol=0.06)
    assert table["note"].notna().tolist() == [False, False, False, True]
    same = np.isin(site, ["A", "D"])
    pd.testing.assert_frame_equal(thin[same], whole[same], check_exact=True)
    assert (thin["total"] <= whole["total"]).all()
    expected = whole["total"][site == "B"].sum() * table["keep"]["B"]
    spread = np.sqrt(expected * (1 - table["keep"]["B"]))
    assert abs(thin["total"][site == "B"].sum() - expected) < 4 * spread


def test_everything_sees_the_thinned_counts(matched: tuple[Path, Path]) -> None:
    whole, thin = (pd.read_parquet(folder / SCAN.file) for folder in matched)
    sums = ad.read_h5ad(matched[1] / "pseudobulk.gate.h5ad")
    assert sums.X.sum() == thin["total"].sum() < whole["total"].sum()
    assert (thin["n_genes"] <= whole["n_genes"]).all()
    assert (thin["count:IL7R"] < whole["count:IL7R"]).any()
    expected = pd.read_parquet(matched[1] / "expected.s.parquet")
    assert expected["n_expected"].sum() == (thin["total"] > 0).sum()
    assert (thin["s:probability"] != whole["s:probability"]).any()


def test_the_file_is_the_same_byte_for_byte_however_it_is_cut(
    run: Callable[..., Path], matched: tuple[Path, Path], tmp_path: Path, gate_path: Path, cells: Path
) -> None:
    whole, thin = matched
    for block, threads in ((1, 2), (37, 3), (100_000, 1)):
        again = run(f"{block}", thin=whole / SCAN.file, block=block, threads=threads)
        for name in (SCAN.file, THINNING.file, "pseudobulk.author.h5ad", "expected.s.parquet"):
            assert (again / name).read_bytes() == (thin / name).read_bytes()
    command = ["scan", tmp_path / "cohort.yaml", tmp_path / "fetch", "--gate", gate_path, "--samples", cells]
    command += ["--classifiers", tmp_path / "classifiers", "--classifier", "m", "--classifier", "s", "--expected", "s"]
    parts = [tmp_path / f"part{k}" for k in (1, 2)]
    calls = [[*command, "--thin", whole, "--part", f"{part.name[-1]}/2", "--out", part] for part in parts]
    for call in (*calls, ["scan-gather", *parts, "--out", tmp_path / "gathered"]):
        result = CliRunner().invoke(main, list(map(str, call)))
        assert result.exit_code == 0, result.output
    for name in (SCAN.file, THINNING.file, "expected.s.parquet"):
        assert (tmp_path / "gathered" / name).read_bytes() == (thin / name).read_bytes()


def test_a_cell_is_thinned_the_same_way_in_any_file(
    run: Callable[..., Path], matched: tuple[Path, Path], counts: sp.csr_matrix, tmp_path: Path, cells: Path
) -> None:
    reference = pd.read_parquet(matched[1] / SCAN.file)
    order = np.random.default_rng(0).permutation(500)
    # In another order, with the genes of each cell the other way round and each count in two entries.
    cell = np.repeat(np.arange(500), np.diff(counts[order].indptr))
    back = np.lexsort((-counts[order].indices, cell))
    values, indices = (part[back] for part in (counts[order].data, counts[order].indices))
    with h5py.File(tmp_path / "data.h5ad", "a") as handle:
        x = handle["X"]
        for name, pair in (("data", (np.floor(values / 2), np.ceil(values / 2))), ("indices", (indices, indices))):
            del x[name]
            x[name] = np.stack(pair, axis=1).ravel()
        x["indptr"][:] = 2 * counts[order].indptr
        write_elem(handle, "obs", pd.DataFrame(index=[f"cell{i}" for i in order]))
    pd.read_parquet(cells).iloc[order].to_parquet(cells)
    found = pd.read_parquet(run("shuffled", thin=run("again")) / SCAN.file)
    pd.testing.assert_frame_equal(found, reference.iloc[order].reset_index(drop=True), check_exact=True)


def test_another_seed_keeps_other_umis(run: Callable[..., Path], matched: tuple[Path, Path], site: np.ndarray) -> None:
    one, other = (pd.read_parquet(p / SCAN.file) for p in (matched[1], run("other", thin=matched[0], seed=2)))
    assert (one["total"] != other["total"])[site == "B"].mean() > 0.5
    assert (one["total"] == other["total"])[site == "A"].all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"site": None}, {}, r"column 'site', row 1: empty, as in 500 of 500 rows.*--thin-by batch"),
        ({"site": [None, *["A"] * 499]}, {}, r"column 'site', row 1: empty, as in 1 of 500"),
        ({}, {"thin_by": "sites"}, "column 'sites' is missing. Did you mean 'site'"),
        ({}, {"thin_by": "age"}, "--thin-by age: this column of .* holds numbers"),
        ({}, {"thin_by": "cell_id"}, "--thin-by cell_id: no level of it has 50 cells"),
        ({"cell_id": [f"c{i}" for i in range(500)]}, {}, "its 500 cells are not the 500 cells of"),
    ],
)
def test_what_cannot_be_matched_is_refused(
    run: Callable[..., Path], cells: Path, tmp_path: Path, change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    whole = run("whole")
    pd.read_parquet(cells).assign(**change).to_parquet(cells)
    with pytest.raises(AidaError, match=message):
        run("out", thin=whole, **options)
    assert not (tmp_path / "out").exists()


def test_the_earlier_scan_must_be_whole_and_of_all_counts(
    run: Callable[..., Path], matched: tuple[Path, Path], tmp_path: Path, gate_path: Path
) -> None:
    with pytest.raises(AidaError, match="a scan of thinned counts"):
        run("twice", thin=matched[1])
    with pytest.raises(AidaError, match=r"its 250 cells are not the 500 cells of .*scan-gather"):
        run("half", thin=run("part", part="1/2"))
    with pytest.raises(AidaError, match="no such file"):
        run("none", thin=tmp_path / "nowhere")
    command = ["scan", tmp_path / "cohort.yaml", tmp_path / "fetch", "--gate", gate_path, "--thin", matched[0]]
    result = CliRunner().invoke(main, list(map(str, [*command, "--out", tmp_path / "out"])))
    assert result.exit_code == 1
    assert "name the table of cells, --samples" in result.output
