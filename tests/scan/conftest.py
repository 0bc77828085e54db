"""Small count matrices on the disk."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from aida_tools.scan.classifier import LinearClassifier, save_linear
from aida_tools.scan.network import Network
from aida_tools.scan.run import scan

N_GENES, COARSE, FINE = 60, ["B", "Immune", "NK"], ["CD4", "CD8", "Mono", "Treg"]

COHORT = """
name: small
title: SYNTHETIC small counts
synthetic: true
source: {{ kind: h5ad, path: {path} }}
counts_layer: {layer}
columns: {{ donor_id: donor, population: {{ value: unknown }} }}
"""


@pytest.fixture(autouse=True)
def _quiet_anndata() -> Iterator[None]:
    """Let anndata 0.13 ask pandas 3 for an option that pandas 4 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string'")
        yield


def make_anndata(X: Any, symbols: list[str], layers: dict[str, Any] | None = None) -> ad.AnnData:
    obs = pd.DataFrame({"donor": "d1"}, index=[f"cell{i}" for i in range(X.shape[0])])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=symbols), layers=layers)


@pytest.fixture(scope="session")
def gate_path(root: Path) -> Path:
    return root / "config" / "annotators" / "gate.tsv"


@pytest.fixture(scope="session")
def counts(gate_path: Path) -> sp.csr_matrix:
    """500 cells x 300 genes, the gate's genes among them; some cells and one run of cells without any count."""
    rng = np.random.default_rng(4)
    rates = rng.gamma(0.3, 1.0, 300) * rng.gamma(5, 0.2, (500, 1))
    matrix = rng.poisson(rates)
    matrix[rng.random(500) < 0.02] = 0
    matrix[200:230] = 0
    return sp.csr_matrix(matrix.astype(np.float32))


@pytest.fixture(scope="session")
def symbols(gate_path: Path) -> list[str]:
    genes = pd.read_csv(gate_path, sep="\t")["gene"].tolist()
    return [*genes, "MT-ND1", "MT-CO1", *[f"GENE{i}" for i in range(300 - len(genes) - 2)]]


@pytest.fixture
def write_h5ad(tmp_path: Path, symbols: list[str]) -> Callable[..., Path]:
    """Write matrices as an h5ad file."""

    def write(X: Any, *, raw: Any = None, layers: dict[str, Any] | None = None, **options: Any) -> Path:
        data = make_anndata(X, symbols, layers)
        if raw is not None:
            data.raw = make_anndata(raw, symbols)
        path = tmp_path / "data.h5ad"
        data.write_h5ad(path, **options)
        return path

    return write


@pytest.fixture
def fetched(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Make the cohort file of an h5ad file and what `fetch` leaves of it."""

    def make(path: Path, layer: str = "auto") -> tuple[Path, Path]:
        cohort = tmp_path / "cohort.yaml"
        cohort.write_text(COHORT.format(path=path.name, layer=layer))
        folder = tmp_path / "fetch"
        folder.mkdir(exist_ok=True)
        (folder / "source.json").write_text(json.dumps({"path": str(path), "format": "h5ad"}))
        return cohort, folder

    return make


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Write the table of the 500 cells."""
    rng = np.random.default_rng(0)
    sample = rng.choice(["d1|b1", "d2|b1", "d2|b2"], 500)
    table = pd.DataFrame(
        {
            "cell_id": [f"cell{i}" for i in range(500)],
            "sample_id": sample,
            "author_label": rng.choice(np.array(["Treg", "B", None]), 500),
            "cell_type_id": None,
        }
    )
    path = tmp_path / "cells.parquet"
    table.to_parquet(path)
    return path


@pytest.fixture
def classifiers(tmp_path: Path, symbols: list[str]) -> dict[str, LinearClassifier]:
    """Write two classifiers: `m`, each class by itself, and `s`, of calibrated classes that exclude one another."""
    rng = np.random.default_rng(1)
    made = {}
    for name, link, temperature, n in (("m", "sigmoid", 1.0, 3), ("s", "softmax", 9.0, 7)):
        made[name] = LinearClassifier(
            name, np.array(symbols[:50]), np.array([f"{name}{i}" for i in range(n)]), rng.normal(size=(n, 50)),
            np.zeros(n), np.zeros(50), np.ones(50), link=link, temperature=temperature,
        )  # fmt: skip
        folder = tmp_path / "classifiers" / name
        folder.mkdir(parents=True)
        save_linear(made[name], folder)
    return made


@pytest.fixture
def run(
    tmp_path: Path, write_h5ad: Callable[..., Path], fetched: Callable[..., tuple[Path, Path]], gate_path: Path,
    counts: sp.csr_matrix, cells: Path, classifiers: dict[str, LinearClassifier],
) -> Callable[..., Path]:  # fmt: skip
    """Scan with both classifiers, summing all that can be summed."""
    cohort, fetch = fetched(write_h5ad(counts))

    def go(name: str, **options: object) -> Path:
        scan(
            cohort, fetch, tmp_path / name, gate_path=gate_path, classifiers=list(classifiers),
            classifier_folder=tmp_path / "classifiers",
            samples_path=cells, pseudobulk=["author", "gate", "m"], expected=["s"], **options,
        )  # fmt: skip
        return tmp_path / name

    return go


@pytest.fixture
def network(symbols: list[str]) -> Network:
    """Two stages of random weights."""
    rng = np.random.default_rng(5)

    def layers(n_out: int) -> list[tuple[np.ndarray, np.ndarray]]:
        sizes = [N_GENES, 10, 8, 6, n_out]
        return [(rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]

    return Network(
        name="net",
        genes=np.array([f"ENSG{i:011d}" for i in range(N_GENES)]),
        symbols=np.array(symbols[20 : 20 + N_GENES]),
        coarse=layers(3),
        fine=layers(4),
        coarse_classes=np.array(COARSE),
        fine_classes=np.array(FINE),
        parent="Immune",
        about={"licence": "none: SYNTHETIC"},
    )
