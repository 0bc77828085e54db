"""Linear classifiers: scores against dense arithmetic, the safe format and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from aida_tools.core.errors import AidaError
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Genes
from aida_tools.scan.classifier import (
    ARRAYS,
    RECORD,
    LinearClassifier,
    find_classifier,
    load_linear,
    prepare,
    probabilities,
    save_linear,
)
from aida_tools.scan.scorers import load_classifiers


@pytest.fixture
def classifier(symbols: list[str]) -> LinearClassifier:
    rng = np.random.default_rng(3)
    genes = np.array([*symbols[40:140], *[f"ABSENT{i}" for i in range(20)]])
    return LinearClassifier(
        name="m",
        genes=genes,
        classes=np.array(["a", "b", "c"]),
        coef=rng.normal(size=(3, 120)),
        intercept=rng.normal(size=3),
        mean=rng.uniform(0, 2, 120),
        # Small enough that many values are cut off.
        scale=rng.uniform(0.05, 1, 120),
        clip=3.0,
        about={"licence": "none: SYNTHETIC"},
    )


def sparse_scores(classifier: LinearClassifier, counts: sp.csr_matrix, genes: Genes) -> np.ndarray:
    ready = prepare(classifier, genes)
    total = np.asarray(counts.sum(axis=1)).ravel().astype(np.int64)
    return kernels.linear_scores(
        counts.indptr, counts.indices, counts.data, total, ready.slot, ready.weight, ready.cap, ready.constant, 1e4
    )


def test_scores_are_those_of_dense_standardised_expression(
    classifier: LinearClassifier, counts: sp.csr_matrix, symbols: list[str]
) -> None:
    dense = counts.toarray().astype(float)
    x = np.log1p(1e4 * dense / np.maximum(dense.sum(axis=1, keepdims=True), 1))[:, 40:140]
    z = (x - classifier.mean[:100]) / classifier.scale[:100]
    assert (z > 3).mean() > 0.05
    expected = np.minimum(z, 3) @ classifier.coef[:, :100].T + classifier.intercept
    genes = Genes(np.array(symbols, dtype=object), np.array(symbols, dtype=object))
    np.testing.assert_allclose(sparse_scores(classifier, counts, genes), expected, atol=1e-9)


def test_genes_match_by_id_or_symbol_and_the_first_of_a_name_counts(
    classifier: LinearClassifier, symbols: list[str]
) -> None:
    ids = np.array([f"ENSG{i:011d}" for i in range(300)], dtype=object)
    names = np.array(symbols, dtype=object)
    by_id = dataclasses.replace(classifier, genes=np.array([*ids[40:140], *[f"X{i}" for i in range(20)]]).astype(str))
    reference = prepare(classifier, Genes(ids, names))
    np.testing.assert_array_equal(prepare(by_id, Genes(ids, names)).slot, reference.slot)
    assert reference.n_shared == 100
    names[200] = symbols[50]
    repeated = prepare(classifier, Genes(ids, names))
    np.testing.assert_array_equal(repeated.slot, reference.slot)


def test_a_file_without_its_genes_is_refused(classifier: LinearClassifier) -> None:
    names = np.array(["A", "B"], dtype=object)
    with pytest.raises(AidaError, match=r"classifier 'm': none of its genes \(such as .*\(such as A, B\)"):
        prepare(classifier, Genes(names, names))


def test_best_two_is_numpy_s_argmax() -> None:
    scores = np.random.default_rng(0).integers(-3, 3, (500, 4)).astype(float)
    label, first, second = kernels.best_two(scores)
    np.testing.assert_array_equal(label, scores.argmax(axis=1))
    ordered = np.sort(scores, axis=1)
    np.testing.assert_array_equal(first, ordered[:, -1])
    np.testing.assert_array_equal(second, ordered[:, -2])


def test_probabilities_follow_the_link(classifier: LinearClassifier) -> None:
    scores = np.array([[1.0, 2.0, -1.0], [800.0, -800.0, 0.0]])
    np.testing.assert_allclose(probabilities(classifier, scores)[0], 1 / (1 + np.exp(-scores[0])))
    soft = dataclasses.replace(classifier, link="softmax", temperature=2.0)
    np.testing.assert_allclose(probabilities(soft, scores).sum(axis=1), 1)
    np.testing.assert_allclose(probabilities(soft, scores)[0], np.exp(scores[0] / 2) / np.exp(scores[0] / 2).sum())


def test_a_classifier_survives_the_disk(classifier: LinearClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    save_linear(classifier, folder)
    assert find_classifier("m", tmp_path) == find_classifier(str(folder), Path("elsewhere")) == folder
    loaded = load_linear(folder)
    for field in dataclasses.fields(classifier):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(classifier, field.name))
    with pytest.raises(AidaError, match="two annotators are called 'm'"):
        load_classifiers(["m", str(folder)], tmp_path)
    with pytest.raises(AidaError, match="Did you mean 'm'"):
        find_classifier("M", tmp_path)


def test_arrays_that_hold_objects_are_not_unpickled(classifier: LinearClassifier, tmp_path: Path) -> None:
    save_linear(classifier, tmp_path)
    arrays = {name: getattr(classifier, name) for name in ("coef", "intercept", "mean", "scale", "symbols", "classes")}
    np.savez(tmp_path / ARRAYS, genes=np.array([Bomb()], dtype=object), **arrays)
    record = json.loads((tmp_path / RECORD).read_text())
    from aida_tools.core.files import sha256

    (tmp_path / RECORD).write_text(json.dumps(record | {"arrays_sha256": sha256(tmp_path / ARRAYS)}))
    with pytest.raises(AidaError, match="not a readable classifier"):
        load_linear(tmp_path)


class Bomb:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("the pickle was run",)


def test_files_that_do_not_belong_together_are_refused(classifier: LinearClassifier, tmp_path: Path) -> None:
    save_linear(classifier, tmp_path)
    content = (tmp_path / ARRAYS).read_bytes()
    (tmp_path / ARRAYS).write_bytes(content[:-10])
    with pytest.raises(AidaError, match="SHA-256 is not the one in"):
        load_linear(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a classifier of aida-tools"),
        ("[]", "not a classifier of aida-tools"),
        ("{", "not a readable classifier"),
        ('{"format": "aida-tools linear classifier", "version": 99}', "format version 99"),
        ('{"format": "aida-tools linear classifier", "version": 1}', "not a readable classifier"),
    ],
)
def test_records_that_are_not_classifiers(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / RECORD).write_text(content)
    (tmp_path / ARRAYS).write_bytes(pickle.dumps({}))
    with pytest.raises(AidaError, match=message):
        load_linear(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coef": np.zeros((2, 120))}, r"'coef' must be finite numbers of shape \(3, 120\)"),
        ({"intercept": np.array([1, np.nan, 2])}, "'intercept' must be finite"),
        ({"scale": np.zeros(120)}, "must be above 0"),
        ({"link": "probit"}, "unknown link 'probit'"),
        ({"classes": np.array(["a", "b", "a"])}, "'classes' has 'a' twice"),
    ],
)
def test_impossible_classifiers_are_refused(classifier: LinearClassifier, change: dict, message: str) -> None:
    with pytest.raises(AidaError, match=message):
        dataclasses.replace(classifier, **change)
