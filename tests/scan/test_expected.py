"""Expected counts: against dense arithmetic, and exact in any order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import softmax

from aida_tools.core.errors import AidaError
from aida_tools.scan import kernels
from aida_tools.scan.classifier import LinearClassifier
from aida_tools.scan.network import Network, save_network
from aida_tools.scan.run import scan

TABLE = "expected.s.parquet"


def test_they_are_the_sums_of_dense_probabilities(
    run: Callable[..., Path], counts: sp.csr_matrix, cells: Path, classifiers: dict[str, LinearClassifier]
) -> None:
    found = pd.read_parquet(run("out", block=64) / TABLE)
    classifier, sample = classifiers["s"], pd.read_parquet(cells)["sample_id"]
    dense = counts.toarray().astype(float)
    seen = dense.sum(axis=1) > 0
    assert seen.mean() < 1
    x = np.minimum(np.log1p(1e4 * dense[seen, :50] / dense[seen].sum(axis=1, keepdims=True)), 10)
    probability = softmax((x @ classifier.coef.T) / 9.0, axis=1)
    # Nothing is tested by cells that are all but certain.
    assert np.median(probability.max(axis=1)) < 0.9
    wanted = pd.DataFrame(probability, columns=classifier.classes).groupby(sample[seen].to_numpy()).sum()
    table = found.pivot(index="sample_id", columns="label", values="n_expected")
    pd.testing.assert_frame_equal(table, wanted, rtol=0, atol=1e-6, check_names=False)
    n_cells = sample[seen].value_counts()
    # Every cell with counts adds 1, exactly.
    assert (table.sum(axis=1) == n_cells.reindex(table.index)).all()
    assert list(found.columns) == ["sample_id", "label", "n_expected"]
    assert found["n_expected"].dtype == np.float64


def test_a_sample_without_counts_has_rows_of_zero(run: Callable[..., Path], counts: sp.csr_matrix, cells: Path) -> None:
    table = pd.read_parquet(cells)
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    table.loc[empty, "sample_id"] = "empty|b1"
    table.loc[300:310, "sample_id"] = None
    table.to_parquet(cells)
    found = pd.read_parquet(run("out") / TABLE).groupby("sample_id")["n_expected"]
    assert (found.size() == 7).all()
    assert found.sum()["empty|b1"] == 0
    assert found.sum().sum() == 500 - empty.sum() - 11


def test_the_same_bits_however_the_file_is_cut(run: Callable[..., Path]) -> None:
    reference = (run("reference", block=500, threads=1) / TABLE).read_bytes()
    for block, threads in ((1, 2), (37, 3), (100_000, 2)):
        assert (run(f"{block}", block=block, threads=threads) / TABLE).read_bytes() == reference


def test_the_same_bits_in_any_order() -> None:
    rng = np.random.default_rng(2)
    probability = rng.dirichlet(np.full(40, 0.1), 5000)
    label, group = probability.argmax(axis=1), rng.integers(-1, 6, 5000)
    label[::50] = -1

    def summed(order: np.ndarray) -> np.ndarray:
        sums = np.zeros((6, 40), dtype=np.int64)
        kernels.add_probabilities(group[order], label[order], probability[order], sums)
        return sums

    sums = summed(np.arange(5000))
    assert (sums.sum(axis=1) == np.bincount(group[(group >= 0) & (label >= 0)]) * kernels.ONE).all()
    np.testing.assert_array_equal(summed(rng.permutation(5000)), sums)
    plain = [probability[order].sum(axis=0) for order in (np.arange(5000), rng.permutation(5000))]
    assert (plain[0] != plain[1]).any(), "floating-point sums would have done"


def test_rounding_is_fair_and_what_it_leaves_goes_to_the_label() -> None:
    probability = np.random.default_rng(3).dirichlet(np.full(10, 1.0), 4000)
    first, sums = np.zeros(4000, dtype=np.int64), np.zeros((1, 10), dtype=np.int64)
    kernels.add_probabilities(first, first, probability, sums)
    error = sums[0] - probability.sum(axis=0) * kernels.ONE
    # The sum of 4,000 rounding errors between -1/2 and 1/2 has a standard deviation of 18; cut off, they would sum to
    # 2,000. Floating-point sums are off by less than 1 in this unit.
    assert (np.abs(error[1:]) < 100).all()
    assert abs(error.sum()) < 10


def test_only_calibrated_probabilities_of_known_samples_are_summed(
    run: Callable[..., Path], tmp_path: Path, gate_path: Path, cells: Path, network: Network
) -> None:
    run("made")
    (tmp_path / "classifiers" / "net").mkdir()
    save_network(network, tmp_path / "classifiers" / "net")
    options = {"gate_path": gate_path, "classifier_folder": tmp_path / "classifiers", "classifiers": ["m", "s", "net"]}
    for name, samples, message in (
        ("m", cells, r"--expected m: .*every class a probability by itself \(sigmoid\).*classifier train"),
        ("net", cells, "--expected net: .*network.*classifier train"),
        ("gate", cells, "--expected gate: this scan has no classifier"),
        ("ss", cells, "--expected ss: .*Did you mean 's'"),
        ("s", None, "--samples results"),
    ):
        with pytest.raises(AidaError, match=message):
            scan(
                tmp_path / "cohort.yaml", tmp_path / "fetch", tmp_path / "out", samples_path=samples, expected=[name],
                **options,
            )  # fmt: skip
        assert not (tmp_path / "out").exists()
