"""The passes over a file: the same whatever the blocks, threads and the order of the cells."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from aida_tools.atlas import passes, sketch
from aida_tools.atlas.run import choose_cells
from aida_tools.core.errors import AidaError
from aida_tools.scan.stores import open_counts
from tests.atlas.conftest import N_GENES, N_RARE, plant, symbols


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sp.csr_matrix, np.ndarray]:
    """20,000 cells, of which 20 are rare."""
    counts, kind = plant(20_000, seed=1)
    return write(tmp_path_factory.mktemp("many") / "data.h5ad", counts, names(20_000)), counts, kind


def names(n: int) -> np.ndarray:
    return np.array([f"c{i}" for i in range(n)], dtype=object)


def write(path: Path, counts: sp.csr_matrix, ids: np.ndarray) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        obs, var = (pd.DataFrame(index=pd.Index(i, dtype=object)) for i in (ids, symbols()))
        ad.AnnData(counts, obs=obs, var=var).write_h5ad(path, compression="gzip")
    return path


def test_leverages_do_not_depend_on_blocks_and_threads(many: tuple[Path, sp.csr_matrix, np.ndarray]) -> None:
    path, counts, _ = many
    found = []
    with open_counts(path) as opened:
        for size, threads in ((2048, 2), (2048, 1), (777, 2), (20_000, 1)):
            moments, totals = passes.sum_moments(opened, threads=threads, size=size)
            genes = sketch.choose_genes(moments, 20_000, 100)
            hashes = sketch.hash_cells(names(20_000), 3)
            leverage = passes.estimate_leverage(opened, totals, genes, hashes, seed=3, threads=threads, size=size)
            chance = sketch.chances(leverage, totals)
            cells = sketch.draw(chance, sketch.uniforms(hashes, 0), np.full(20_000, -1), 1000, 0).cells
            found.append((genes, totals, leverage, cells))
    for genes, totals, leverage, cells in found:
        np.testing.assert_array_equal(genes, found[0][0])
        np.testing.assert_array_equal(totals, counts.sum(axis=1).A1)
        np.testing.assert_allclose(leverage, found[0][2], rtol=1e-9)
        np.testing.assert_array_equal(cells, found[0][3])


def test_leverages_of_a_file_are_those_of_numpy(many: tuple[Path, sp.csr_matrix, np.ndarray]) -> None:
    path, counts, _ = many
    genes = np.arange(20, 80)
    with open_counts(path) as opened:
        totals = passes.sum_moments(opened, threads=2)[1]
        hashes = sketch.hash_cells(names(20_000), 3)
        estimate = passes.estimate_leverage(opened, totals, genes, hashes, seed=3, threads=2)
    a = np.log1p(counts.toarray() / np.maximum(totals, 1)[:, None] * 1e4)[:, genes]
    exact = np.square(np.linalg.qr(a)[0]).sum(axis=1)
    ratio = estimate[exact > 0] / exact[exact > 0]
    assert ratio.mean() == pytest.approx(1, abs=0.1)
    assert ratio.std() == pytest.approx(np.sqrt(2 / 64), rel=0.4)


def test_rare_cells_are_found_by_leverage_alone(many: tuple[Path, sp.csr_matrix, np.ndarray]) -> None:
    path, _, kind = many
    with open_counts(path) as opened:
        drawn, about = choose_cells(
            opened, names(20_000), np.full(20_000, -1), 1000, n_genes=2000, seed=1, threads=2
        )  # without labels there is no quota
    assert len(drawn.cells) == 1000
    assert about["rule"] == "leverage scores"
    # One in twenty cells is drawn, so one rare cell would be expected of an even draw.
    assert (kind[drawn.cells] == 4).sum() >= 8


def test_all_labelled_rare_cells_are_kept(many: tuple[Path, sp.csr_matrix, np.ndarray]) -> None:
    path, _, kind = many
    with open_counts(path) as opened:
        drawn, about = choose_cells(opened, names(20_000), kind, 300, n_genes=2000, seed=1, threads=2)
    assert about["quota_of_a_type"] == 30
    assert (kind[drawn.cells] == 4).sum() == N_RARE
    assert (drawn.probability[kind[drawn.cells] == 4] == 1).all()


def test_the_order_of_the_file_does_not_matter(many: tuple[Path, sp.csr_matrix, np.ndarray], tmp_path: Path) -> None:
    _, counts, kind = many
    order = np.random.default_rng(0).permutation(4000)
    chosen = []
    for rows in (np.arange(4000), order):
        path = write(tmp_path / f"{rows[0]}.h5ad", counts[rows], names(4000)[rows])
        with open_counts(path) as opened:
            drawn, _ = choose_cells(opened, names(4000)[rows], kind[rows], 500, n_genes=100, seed=2, threads=2)
        chosen.append(set(rows[drawn.cells]))
    assert chosen[0] == chosen[1]


def test_gathered_counts_are_those_of_the_file(many: tuple[Path, sp.csr_matrix, np.ndarray]) -> None:
    path, counts, _ = many
    cells = np.array([0, 1, 2047, 2048, 9000, 19_999])
    with open_counts(path) as opened:
        got = passes.gather_counts(opened, cells, names(20_000)[cells], threads=2)
        wrong = names(20_000)[cells]
        wrong[4] = "other"
        with pytest.raises(AidaError, match=r"row 9001 is cell 'c9000'.*'other'"):
            passes.gather_counts(opened, cells, wrong, threads=2)
    assert got.shape == (6, N_GENES)
    assert (got != counts[cells]).nnz == 0
    assert got.dtype == np.float32
