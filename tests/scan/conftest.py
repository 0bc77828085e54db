"""Small count matrices on the disk."""

from __future__ import annotations

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
