"""The sketch: leverages against linear algebra, genes against scanpy, weights against the truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from aida_tools.atlas import kernels, sketch


def csr(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m = sp.csr_matrix(matrix)
    return m.indptr, m.indices, m.data


def counts(n_cells: int, n_genes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.4, 1.5, n_genes) * rng.gamma(5, 0.2, (n_cells, 1))).astype(np.float32)


def hashes(n: int, seed: int = 1) -> np.ndarray:
    return sketch.hash_cells(np.array([f"c{i}" for i in range(n)], dtype=object), seed)


def test_moments_are_those_of_the_normalised_matrix() -> None:
    x = counts(60, 30)
    total = x.sum(axis=1).astype(np.int64)
    cp10k = x / total[:, None] * 1e4
    expected = [(x > 0).sum(axis=0), cp10k.sum(axis=0), (cp10k**2).sum(axis=0)]
    np.testing.assert_allclose(kernels.moments(*csr(x), total, 30), expected, rtol=1e-12)


def test_expression_of_some_genes_is_that_of_numpy() -> None:
    x = counts(40, 30)
    x[7] = 0
    total = x.sum(axis=1).astype(np.int64)
    genes = np.array([2, 3, 11, 29])
    slot = np.full(30, -1, dtype=np.int32)
    slot[genes] = np.arange(4)
    indptr, indices, data = kernels.log_expression(*csr(x), total, slot)
    got = sp.csr_matrix((data, indices, indptr), shape=(40, 4)).toarray()
    np.testing.assert_allclose(got, np.log1p(x / np.maximum(total, 1)[:, None] * 1e4)[:, genes], rtol=1e-12)


def test_genes_are_those_scanpy_chooses() -> None:
    import anndata as ad
    import scanpy as sc

    x = counts(400, 300)
    x[:, -20:] = 0
    x[:5, -20:] = 50  # seen in too few cells, whatever their dispersion
    total = x.sum(axis=1).astype(np.int64)
    ours = sketch.choose_genes(kernels.moments(*csr(x), total, 300), 400, 60)
    often = np.flatnonzero((x > 0).sum(axis=0) >= 10)
    data = ad.AnnData(np.log1p(x / total[:, None] * 1e4)[:, often])
    sc.pp.highly_variable_genes(data, n_top_genes=60, flavor="seurat")
    np.testing.assert_array_equal(ours, often[data.var["highly_variable"].to_numpy()])


def test_all_genes_are_chosen_where_there_are_few() -> None:
    x = counts(50, 20)
    x[:, 0] = 1
    x[:, 1] = 0
    chosen = sketch.choose_genes(kernels.moments(*csr(x), x.sum(axis=1).astype(np.int64), 20), 50, 2000)
    np.testing.assert_array_equal(chosen, np.flatnonzero((x > 0).sum(axis=0) >= 10))


@pytest.mark.parametrize("copied", [False, True])
def test_leverages_are_those_of_a_qr_decomposition(copied: bool) -> None:
    a = np.log1p(counts(3000, 12, seed=2).astype(float))
    a[0] = 0
    a[0, 3] = 9.0  # unlike all others
    if copied:
        a = np.column_stack([a, a[:, 0]])  # a rank below the number of columns, as R cannot be inverted
    q, r = np.linalg.qr(a)
    exact = np.square(q[:, np.abs(np.diag(r)) > 1e-8]).sum(axis=1)
    folded = np.zeros((sketch.sketch_rows(a.shape[1]), a.shape[1]))
    kernels.fold(*csr(a), *sketch.sketch_places(hashes(3000), len(folded)), folded)
    estimate = np.square(a @ sketch.projection(folded, np.random.default_rng(0))).sum(axis=1)
    # 64 directions: a relative standard error of 18 %, and no bias.
    seen = exact > 0
    ratio = estimate[seen] / exact[seen]
    assert ratio.mean() == pytest.approx(1, abs=0.08)
    assert ratio.std() == pytest.approx(np.sqrt(2 / 64), rel=0.3)
    assert np.argmax(estimate) == 0


def test_a_count_sketch_adds_signed_cells_and_keeps_lengths() -> None:
    a = np.log1p(counts(5000, 8, seed=3).astype(float))
    place, sign = sketch.sketch_places(hashes(5000), 1000)
    folded = np.zeros((1000, 8))
    kernels.fold(*csr(a), place, sign, folded)
    s = sp.csr_matrix((sign, (place, np.arange(5000))), shape=(1000, 5000))
    np.testing.assert_allclose(folded, s @ a, atol=1e-9)
    assert set(sign) == {-1.0, 1.0}
    directions = np.random.default_rng(0).normal(size=(8, 20))
    kept = np.linalg.norm(folded @ directions, axis=0) / np.linalg.norm(a @ directions, axis=0)
    np.testing.assert_allclose(kept, 1, atol=0.15)


def test_hashes_are_uniform_independent_and_of_the_cell_alone() -> None:
    many = hashes(20_000)
    streams = np.array([sketch.uniforms(many, k) for k in range(3)])
    assert streams.min() > 0
    assert streams.max() < 1
    np.testing.assert_allclose(np.histogram(streams[0], 10, (0, 1))[0], 2000, atol=200)
    np.testing.assert_allclose(np.corrcoef(streams), np.eye(3), atol=0.03)
    ids = np.array([f"c{i}" for i in range(100)], dtype=object)
    np.testing.assert_array_equal(sketch.hash_cells(ids[::-1], 1), many[:100][::-1])
    assert not (sketch.hash_cells(ids, 2) == many[:100]).any()


def test_a_draw_has_the_wanted_size_and_the_rare_cells() -> None:
    rng = np.random.default_rng(5)
    kind = np.r_[np.zeros(19_980, dtype=int), np.ones(20, dtype=int)]
    drawn = sketch.draw(rng.gamma(1, 1, 20_000), rng.random(20_000), kind, 2000, quota=100)
    assert len(drawn.cells) == 2000
    assert (np.diff(drawn.cells) > 0).all()
    assert set(range(19_980, 20_000)) <= set(drawn.cells)
    assert (drawn.probability[-20:] == 1).all()
    assert ((drawn.probability > 0) & (drawn.probability <= 1)).all()


def test_cells_without_a_chance_are_never_drawn_and_few_cells_are_all_drawn() -> None:
    chance = np.array([0.0, 1.0, 2.0, 0.0])
    drawn = sketch.draw(chance, np.full(4, 0.5), np.array([0, 0, -1, 1]), 10, quota=5)
    np.testing.assert_array_equal(drawn.cells, [1, 2])
    np.testing.assert_array_equal(drawn.probability, [1, 1])


def test_weighted_sums_over_a_draw_are_without_bias() -> None:
    rng = np.random.default_rng(6)
    kind = np.repeat([0, 1, 2, -1], [700, 60, 12, 228])
    chance = sketch.chances(rng.gamma(0.5, 2, 1000) * np.where(kind == 1, 5, 1), np.ones(1000, dtype=int))
    sums = np.zeros((600, 4))
    for i in range(len(sums)):
        drawn = sketch.draw(chance, rng.random(1000), kind, 120, quota=20)
        assert np.bincount(kind[drawn.cells] + 1, minlength=4)[1:].tolist()[2] == 12
        np.add.at(sums[i], kind[drawn.cells], 1 / drawn.probability)
    error = sums.std(axis=0) / np.sqrt(len(sums))
    z = (sums.mean(axis=0) - [700, 60, 12, 228]) / np.maximum(error, 1e-9)
    assert (np.abs(z) < 4).all()
    # The plain number of drawn cells says nothing of the shares: that is what the weights are for.
    assert sums.mean(axis=0)[1] == pytest.approx(60, rel=0.05)


def test_a_cell_is_drawn_as_often_as_its_probability_says() -> None:
    # One type and no quota: keys of n - 1 others fix the threshold, so the mean over draws of
    # 1 / probability, where drawn, is 1 for every single cell.
    rng = np.random.default_rng(7)
    chance = np.array([0.2, 0.5, 1.0, 2.0, 4.0])
    sums = np.zeros(5)
    for _ in range(20_000):
        drawn = sketch.draw(chance, rng.random(5), np.full(5, -1), 3, quota=0)
        sums[drawn.cells] += 1 / drawn.probability
    np.testing.assert_allclose(sums / 20_000, 1, atol=0.08)


def test_chances_are_bounded_below_but_for_cells_without_counts() -> None:
    got = sketch.chances(np.array([0.0, 0.01, 0.03]), np.array([5, 5, 0]))
    np.testing.assert_allclose(got, [0.1, 0.9 * 0.75 + 0.1, 0])


@pytest.mark.parametrize(("n", "n_types", "expected"), [(50_000, 34, 500), (4000, 34, 58), (100, 0, 50), (10, 30, 0)])
def test_quotas_leave_half_to_the_leverage(n: int, n_types: int, expected: int) -> None:
    assert sketch.quota_of(n, n_types) == expected
