"""The same answers as CellTypist itself, on real cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from aida_tools.annotate.pickles import read_celltypist
from aida_tools.scan import kernels
from aida_tools.scan.classifier import LinearClassifier, prepare
from aida_tools.scan.stores import open_counts

# The warnings are CellTypist's and scanpy's own.
pytestmark = [pytest.mark.shared, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """CellTypist, which makes a folder when it is imported, and scanpy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLTYPIST_FOLDER", str(tmp_path_factory.mktemp("celltypist")))
        import celltypist
        import scanpy

        yield SimpleNamespace(celltypist=celltypist, scanpy=scanpy)


@pytest.fixture(scope="module")
def classifier_path(tools: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CellTypist classifier, trained by CellTypist on the 700 real cells scanpy ships."""
    cells = tools.scanpy.datasets.pbmc68k_reduced().raw.to_adata()
    np.random.seed(0)  # noqa: NPY002  # CellTypist takes its random numbers from there
    classifier = tools.celltypist.train(
        cells, labels="bulk_labels", use_SGD=True, max_iter=50, check_expression=False, n_jobs=1
    )
    path = tmp_path_factory.mktemp("classifier") / "pbmc68k.pkl"
    classifier.write(str(path))
    return path


def normalised(cells: Any, precision: type) -> Any:
    """What CellTypist asks for: log1p of counts per 10,000."""
    counts = cells.X.astype(precision).toarray()
    logged = np.log1p(counts * (precision(1e4) / counts.sum(axis=1, keepdims=True)))
    return ad.AnnData(sp.csr_matrix(logged), obs=cells.obs, var=cells.var)


def our_scores(path: Path, classifier: LinearClassifier, size: int) -> np.ndarray:
    with open_counts(path) as counts:
        ready = prepare(classifier, counts.genes)
        scores = []
        for start in range(0, counts.shape[0], size):
            block = counts.read(start, min(start + size, counts.shape[0]))
            csr = block.indptr, block.indices, block.data
            total = kernels.quality(*csr, counts.genes.is_mito)[0]
            weights = ready.slot, ready.weight, ready.cap, ready.constant
            scores.append(kernels.linear_scores(*csr, total, *weights, classifier.target))
    return np.vstack(scores)


@pytest.mark.parametrize("name", ["sorted_b_cd4_cd8_800", "pbmc_10x_4samples"])
def test_labels_and_scores_are_celltypists(
    shared: Path, tools: SimpleNamespace, classifier_path: Path, name: str
) -> None:
    path = shared / "data" / f"{name}.h5ad"
    classifier = read_celltypist(classifier_path, "m")
    # CellTypist makes everything dense: a part of the cells is enough.
    some = slice(None, None, 1 if name.startswith("sorted") else 5)
    scores = our_scores(path, classifier, 1000)[some]
    label, _, _ = kernels.best_two(scores)
    cells: Any = ad.read_h5ad(path)[some]
    for precision, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
        theirs = tools.celltypist.annotate(
            normalised(cells, precision), model=str(classifier_path), majority_voting=False
        )
        expected = theirs.decision_matrix.to_numpy()
        # CellTypist's input is float32 by default; in float64 only the order of the sums differs.
        assert np.abs(scores - expected).max() <= tolerance * np.abs(expected).max()
        np.testing.assert_array_equal(
            classifier.classes[label], theirs.predicted_labels["predicted_labels"].astype(str)
        )
    unclipped = our_scores(path, dataclasses.replace(classifier, clip=1e6), 1000)[some]
    assert np.abs(unclipped - expected).max() > 1


def test_scores_within_1e_4_of_celltypist_for_a_regularised_classifier(
    shared: Path, tools: SimpleNamespace, tmp_path: Path
) -> None:
    """Scores of ordinary size: the absolute agreement promised, with CellTypist's default float32 input."""
    cells = tools.scanpy.datasets.pbmc68k_reduced().raw.to_adata()
    classifier = tools.celltypist.train(
        cells, labels="bulk_labels", use_SGD=True, alpha=0.1, check_expression=False, n_jobs=1
    )
    classifier.write(str(tmp_path / "m.pkl"))
    path = shared / "data" / "sorted_b_cd4_cd8_800.h5ad"
    data = normalised(ad.read_h5ad(path), np.float32)
    theirs = tools.celltypist.annotate(data, model=str(tmp_path / "m.pkl"), majority_voting=False)
    scores = our_scores(path, read_celltypist(tmp_path / "m.pkl", "m"), 100)
    np.testing.assert_allclose(scores, theirs.decision_matrix.to_numpy(), rtol=0, atol=1e-4)
