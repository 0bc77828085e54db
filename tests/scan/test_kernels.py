"""The arithmetic on blocks, against scipy on dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from aida_tools.scan import kernels


@pytest.mark.parametrize("values", [np.float32, np.float64, np.int32, np.int64, np.uint16])
@pytest.mark.parametrize("offsets", [np.int32, np.int64])
def test_quality_agrees_with_dense_sums(counts: sp.csr_matrix, values: type, offsets: type) -> None:
    dense = counts.toarray()
    is_mito = np.arange(300) % 7 == 0
    total, n_genes, mito = kernels.quality(
        counts.indptr.astype(offsets), counts.indices.astype(offsets), counts.data.astype(values), is_mito
    )
    np.testing.assert_array_equal(total, dense.sum(axis=1))
    np.testing.assert_array_equal(n_genes, (dense > 0).sum(axis=1))
    np.testing.assert_array_equal(mito, dense[:, is_mito].sum(axis=1))


def test_stored_zeros_are_not_seen_genes() -> None:
    matrix = sp.csr_matrix((np.array([0.0, 2.0]), np.array([0, 2]), np.array([0, 2])), shape=(1, 3))
    total, n_genes, _ = kernels.quality(matrix.indptr, matrix.indices, matrix.data, np.zeros(3, dtype=bool))
    assert (total[0], n_genes[0]) == (2, 1)


def test_totals_above_the_precision_of_float32_are_exact() -> None:
    data = np.array([2**24, 1, 1, 1], dtype=np.float32)
    total, _, _ = kernels.quality(np.array([0, 4]), np.arange(4), data, np.zeros(4, dtype=bool))
    assert total[0] == 2**24 + 3


def test_gather_adds_genes_that_share_a_slot(counts: sp.csr_matrix) -> None:
    slot = np.full(300, -1, dtype=np.int32)
    slot[[5, 9, 9, 20]] = 1
    slot[7] = 0
    picked = kernels.gather(counts.indptr, counts.indices, counts.data, slot, 2)
    dense = counts.toarray()
    np.testing.assert_array_equal(picked, np.column_stack([dense[:, 7], dense[:, [5, 9, 20]].sum(axis=1)]))


@pytest.mark.parametrize(
    ("indices", "data", "verdict", "where"),
    [
        ([0, 2, 1], [1, 2, 3], kernels.FINE, -1),
        ([2, 0, 1], [1, 2, 3], kernels.NOT_CANONICAL, 1),
        ([1, 1, 1], [1, 2, 3], kernels.NOT_CANONICAL, 1),
        ([0, 2, 1], [1, 2.5, 3], kernels.NOT_A_COUNT, 1),
        ([0, 2, 1], [1, 2, -1], kernels.NOT_A_COUNT, 2),
        ([0, 2, 1], [1, np.nan, 1], kernels.NOT_A_COUNT, 1),
        ([0, 2, 1], [np.inf, 1, 1], kernels.NOT_A_COUNT, 0),
        ([0, 2, 1], [1, 1, 2.0**31], kernels.NOT_A_COUNT, 2),
        ([0, 3, 1], [1, 1, 1], kernels.BAD_INDEX, 1),
        ([0, 2, -1], [1, 1, 1], kernels.BAD_INDEX, 2),
        # An error behind an unsorted entry is still found.
        ([2, 0, 1], [1, 2, 0.5], kernels.NOT_A_COUNT, 2),
    ],
)
def test_check_block_names_what_is_wrong_and_where(
    indices: list[int], data: list[float], verdict: int, where: int
) -> None:
    # Two cells: entries 0-1 and entry 2.
    found = kernels.check_block(np.array([0, 2, 3]), np.array(indices), np.array(data, dtype=float), 3)
    assert found == (verdict, where)
