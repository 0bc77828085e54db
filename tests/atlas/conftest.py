"""A small cohort with a planted rare population, on the disk."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

N_GENES, N_RARE = 130, 20
TYPES = ("B", "CD4", "CD8", "Mono", "rare")
COHORT = """
name: planted
title: small counts
synthetic: true
source: {{ kind: h5ad, path: {path} }}
columns: {{ donor_id: donor, population: {{ value: unknown }} }}
"""


@pytest.fixture(autouse=True)
def _quiet_anndata() -> Iterator[None]:
    """Let anndata 0.13 ask pandas 3 for an option that pandas 4 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string'")
        yield


def plant(n_cells: int, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray]:
    """Draw counts of four common types and of 20 cells that alone express ten genes; return them and the types."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, n_cells)
    kind[rng.choice(n_cells, N_RARE, replace=False)] = 4
    rates = np.full((5, N_GENES), 0.5) * rng.gamma(1, 1, N_GENES)
    for k in range(5):
        rates[:, 20 + 10 * k : 30 + 10 * k] = 0.02
        rates[k, 20 + 10 * k : 30 + 10 * k] = 4.0
    # Only the rare cells express these at all.
    rates[:4, 60:70] = 0.002
    counts = rng.poisson(rates[kind] * rng.gamma(5, 0.2, (n_cells, 1)))
    return sp.csr_matrix(counts.astype(np.float32)), kind


def symbols() -> list[str]:
    return ["FOXP3", "CD3E", "LYZ", *[f"GENE{i}" for i in range(3, N_GENES)]]


@dataclass(frozen=True)
class Cohort:
    """Paths of what earlier steps leave, and the truth."""

    cohort: Path
    fetched: Path
    cells: Path
    labels: list[Path]
    counts: sp.csr_matrix
    kind: np.ndarray
    ids: np.ndarray


def write_cohort(folder: Path, counts: sp.csr_matrix, kind: np.ndarray) -> Cohort:
    n = counts.shape[0]
    rng = np.random.default_rng(9)
    ids = np.array([f"cell{i:05d}" for i in range(n)], dtype=object)
    obs = pd.DataFrame(
        {
            "donor": pd.Categorical(rng.choice(["d1", "d2"], n)),
            "assay_ontology_term_id": pd.Categorical(["EFO:0009900"] * n),
            "assay": pd.Categorical(["10x 5' v2"] * n),
            "tissue_type": pd.Categorical(["tissue"] * n),
            "suspension_type": pd.Categorical(["cell"] * n),
        },
        index=pd.Index(ids, dtype=object),
    )
    genes = pd.DataFrame(
        {"feature_name": symbols()}, index=pd.Index([f"ENSG{i:011d}" for i in range(N_GENES)], dtype=object)
    )
    data = ad.AnnData(counts, obs=obs, var=genes, uns={"organism_ontology_term_id": "NCBITaxon:9606"})
    path = folder / "data.h5ad"
    data.write_h5ad(path)
    (folder / "cohort.yaml").write_text(COHORT.format(path=path.name))
    (folder / "fetch").mkdir()
    (folder / "fetch" / "source.json").write_text(json.dumps({"path": str(path), "format": "h5ad"}))
    batch = pd.Categorical(rng.choice(["KR_B1", "JP_B1"], n))
    cells = pd.DataFrame({"cell_id": ids, "sample_id": batch, "donor_id": obs["donor"].to_numpy()})
    cells = cells.assign(
        population=pd.Categorical(["unknown"] * n), site=pd.Series(batch).str[:2].astype("category"), batch=batch,
        library=batch, sex=pd.Categorical(rng.choice(["female", "male"], n)), age=40.0, is_control=False,
        author_label=pd.Categorical([None] * n), disease=pd.Categorical(["no"] * n),
        cell_type_id=pd.Categorical(np.where(kind == 0, "CL:0000236", None)),
    )  # fmt: skip
    cells.to_parquet(folder / "cells.parquet", index=False)
    labels = []
    for name, missing in (("author", 3), ("gate", 0)):
        types = pd.Categorical.from_codes(np.where(np.arange(n) < missing, -1, kind), TYPES)
        (folder / name).mkdir()
        pd.DataFrame({"cell_id": ids, "cell_type": types}).to_parquet(folder / name / "labels.parquet", index=False)
        labels.append(folder / name)
    return Cohort(folder / "cohort.yaml", folder / "fetch", folder / "cells.parquet", labels, counts, kind, ids)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """3,000 cells, of which 20 are rare and two have no count at all."""
    counts, kind = plant(3000)
    counts = counts.tolil()
    counts[[10, 2000]] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return write_cohort(tmp_path_factory.mktemp("planted"), counts.tocsr(), kind)
