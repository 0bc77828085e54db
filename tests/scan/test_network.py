"""The two-stage network, against scikit-learn's multilayer perceptron, and its safe format."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelBinarizer

from aida_tools.core.errors import AidaError
from aida_tools.scan.blocks import Block, Genes
from aida_tools.scan.classifier import ARRAYS, RECORD, LinearClassifier, save_linear
from aida_tools.scan.network import Network, load_network, save_network
from aida_tools.scan.run import scan
from aida_tools.scan.scorers import Contrast, load_classifier, load_classifiers, make_scorer, read_contrast
from aida_tools.scan.tables import LABEL_MAP, SCAN
from tests.scan.conftest import COARSE, FINE, N_GENES


@pytest.fixture
def genes(symbols: list[str]) -> Genes:
    names = np.array(symbols, dtype=object)
    return Genes(names, names)


def by_scikit_learn(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    net = MLPClassifier(hidden_layer_sizes=(10, 8, 6))
    net.coefs_, net.intercepts_ = [w for w, _ in layers], [b for _, b in layers]
    net.n_layers_, net.n_outputs_, net.out_activation_ = 5, layers[-1][0].shape[1], "softmax"
    net.classes_ = np.arange(net.n_outputs_)
    net._label_binarizer = LabelBinarizer().fit(net.classes_)
    return net.predict_proba(x)


def as_block(counts: sp.csr_matrix) -> Block:
    return Block(0, counts.indptr, counts.indices, counts.data)


def test_probabilities_are_those_of_scikit_learn(network: Network, genes: Genes, counts: sp.csr_matrix) -> None:
    dense = counts.toarray()[:, 20 : 20 + N_GENES].astype(float)
    # The library size is over the network's own genes.
    x = np.log2(1 + 1e4 * dense / np.maximum(dense.sum(axis=1, keepdims=True), 1))
    coarse, fine = by_scikit_learn(network.coarse, x), by_scikit_learn(network.fine, x)
    joint = np.hstack([coarse[:, [0, 2]], fine * coarse[:, [1]]])
    names = np.array(["B", "NK", *FINE])
    assert network.classes.tolist() == names.tolist()
    first = np.array(COARSE)[coarse.argmax(axis=1)]
    label = np.where(first == "Immune", np.array(FINE)[fine.argmax(axis=1)], first)
    contrast = Contrast(np.array([5]), np.array([2, 3]))
    scored = make_scorer(network, contrast, genes).score(as_block(counts), np.zeros(500, dtype=np.int64))
    np.testing.assert_array_equal(names[scored.label], label)
    mine = joint[np.arange(500), scored.label]
    np.testing.assert_allclose(scored.probability, mine)
    np.testing.assert_allclose(scored.treg_margin, np.log(joint[:, 5] / (joint[:, 2] + joint[:, 3])), atol=1e-9)
    others = joint.copy()
    others[np.arange(500), scored.label] = 0
    np.testing.assert_allclose(scored.margin, np.log(mine / others.max(axis=1)), atol=1e-9)
    assert len(set(label)) >= 3


def test_linear_margins_between_treg_and_the_rest(symbols: list[str], genes: Genes, counts: sp.csr_matrix) -> None:
    rng = np.random.default_rng(0)
    classifier = LinearClassifier(
        "m", np.array(symbols[:50]), np.array(["a", "b", "c", "d"]), rng.normal(size=(4, 50)), np.zeros(4),
        np.zeros(50), np.ones(50),
    )  # fmt: skip
    contrast = Contrast(np.array([0, 2]), np.array([1]))
    total = np.asarray(counts.sum(axis=1)).ravel().astype(np.int64)
    dense = counts.toarray()[:, :50]
    x = np.minimum(np.log1p(1e4 * dense / np.maximum(total, 1)[:, None]), 10)
    scores = x @ classifier.coef.T
    scored = make_scorer(classifier, contrast, genes).score(as_block(counts), total)
    np.testing.assert_allclose(scored.treg_margin, np.maximum(scores[:, 0], scores[:, 2]) - scores[:, 1], atol=1e-9)
    soft = dataclasses.replace(classifier, link="softmax", temperature=3.0)
    scored = make_scorer(soft, contrast, genes).score(as_block(counts), total)
    p = np.exp(scores / 3)
    np.testing.assert_allclose(scored.treg_margin, np.log((p[:, 0] + p[:, 2]) / p[:, 1]), atol=1e-9)
    np.testing.assert_allclose(scored.probability, p.max(axis=1) / p.sum(axis=1))


def test_a_network_survives_the_disk(network: Network, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    save_network(network, folder)
    loaded = load_classifier(folder)
    assert isinstance(loaded, Network)
    for field in dataclasses.fields(network):
        for one, other in zip(getattr(loaded, field.name), getattr(network, field.name), strict=True):
            if isinstance(one, tuple):
                np.testing.assert_array_equal(one[0], other[0])
                np.testing.assert_array_equal(one[1], other[1])
            else:
                assert one == other
    (folder / ARRAYS).write_bytes(b"PK")
    with pytest.raises(AidaError, match="SHA-256"):
        load_network(folder)
    (folder / RECORD).write_text(json.dumps({"format": "aida-tools network", "version": 1}))
    with pytest.raises(AidaError, match="not a readable network"):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parent": "T"}, "no coarse class 'T'"),
        ({"fine_classes": np.array(["CD4", "CD8", "Mono"])}, "do not fit"),
        ({"fine_classes": np.array(["CD4", "CD8", "Mono", "B"])}, "a class occurs twice"),
        ({"coarse": []}, "do not fit"),
    ],
)
def test_impossible_networks_are_refused(network: Network, change: dict, message: str) -> None:
    with pytest.raises(AidaError, match=message):
        dataclasses.replace(network, **change)


def test_the_label_map_says_which_classes_are_tregs(tmp_path: Path) -> None:
    path = tmp_path / LABEL_MAP.file
    path.write_text("label\tcell_type\tcell_type_id\tsets\ttreg\na\tTreg\t\t\tin\nb\tB\t\t\t\nc\tCD4\t\t\tout\n")
    contrast = read_contrast(tmp_path, ["c", "b", "a"])
    assert contrast is not None
    assert (contrast.inside.tolist(), contrast.outside.tolist()) == ([2], [0])
    assert read_contrast(tmp_path, ["b", "a"]) is None
    path.write_text(path.read_text().replace("\tout", "\tno"))
    with pytest.raises(AidaError, match="column 'treg': value 'no'"):
        read_contrast(tmp_path, ["a"])


def test_a_scan_with_networks_is_the_same_however_it_is_cut(
    network: Network,
    symbols: list[str],
    counts: sp.csr_matrix,
    write_h5ad: Callable[..., Path],
    fetched: Callable[..., tuple[Path, Path]],
    gate_path: Path,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    linear = LinearClassifier(
        "m", np.array(symbols[:50]), np.array(["a", "b", "c"]), rng.normal(size=(3, 50)), np.zeros(3), np.zeros(50),
        np.ones(50), link="softmax",
    )  # fmt: skip
    for classifier, save in ((network, save_network), (linear, save_linear)):
        folder = tmp_path / "classifiers" / classifier.name
        folder.mkdir(parents=True)
        save(classifier, folder)
        labels = "".join(f"{c}\tT\t\t\t{r}\n" for c, r in zip(classifier.classes, ["in", "out", "out"], strict=False))
        (folder / LABEL_MAP.file).write_text("label\tcell_type\tcell_type_id\tsets\ttreg\n" + labels)
    assert len(load_classifiers(["m", "net"], tmp_path / "classifiers")) == 2
    cohort, fetch = fetched(write_h5ad(counts))
    written = []
    for block, threads in ((500, 1), (1, 2), (37, 3)):
        out = tmp_path / f"out{block}"
        scan(
            cohort, fetch, out, gate_path=gate_path, classifiers=["m", "net"],
            classifier_folder=tmp_path / "classifiers",
            block=block, threads=threads,
        )  # fmt: skip
        written.append((out / SCAN.file).read_bytes())
    assert written[0] == written[1] == written[2]
