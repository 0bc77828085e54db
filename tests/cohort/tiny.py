"""A small obs table in the shape of AIDA v2, its cohort file, and files that hold it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from aida_tools.core.cohort_file import CohortConfig
from aida_tools.core.config import parse

#: Donor, library, population, sex, stage; a control runs in two sites under one id.
PEOPLE = (
    ("SG_HEL_H001", "SG_HEL_B001_L001", "HANCESTRO:0025", "female", "37-year-old stage"),
    ("SG_HEL_H07a", "SG_HEL_B001_L002", "HANCESTRO:0597", "male", "41-year-old stage"),
    ("KR_SGI_H001", "KR_SGI_B007_L001", "HANCESTRO:0022", "female", "28-year-old stage"),
    ("LONZA3038016", "SG_HEL_B001_L001", "unknown", "male", "21-year-old stage"),
    ("LONZA3038016", "KR_SGI_B007_L001", "unknown", "male", "21-year-old stage"),
)
#: Label, level 2, Cell Ontology id: unresolved types, and a `dnT` whose name holds "regulatory".
LABELS = (
    ("Treg", "CD4+_T", "CL:0000815"),
    ("CD4+_T_naive", "CD4+_T", "CL:0000895"),
    ("CD4+_T", "CD4+_T", "CL:0000624"),
    ("dnT", "dnT", "CL:0011024"),
    ("T", "T", "CL:0000084"),
    ("CD14+_Monocyte", "Myeloid", "CL:0001054"),
)
COHORT: dict[str, Any] = {
    "name": "tiny",
    "title": "SYNTHETIC cells in the shape of AIDA v2",
    "source": {"kind": "h5ad", "path": "tiny.h5ad"},
    "columns": {
        "donor_id": "donor_id",
        "population": "self_reported_ethnicity_ontology_term_id",
        "site": {"column": "_index", "pattern": r"-([A-Z]{2})_[A-Z]{3}_B\d+_L\d+$"},
        "batch": {"column": "_index", "pattern": r"-([A-Z]{2}_[A-Z]{3}_B\d+)_L\d+$"},
        "library": {"column": "_index", "pattern": r"-([A-Z]{2}_[A-Z]{3}_B\d+_L\d+)$"},
        "sex": "sex",
        "age": "development_stage",
    },
    "covariates": {"bmi": "donor_BMI_at_collection", "smoking": "Smoking Status"},
    "controls": {"column": "donor_id", "pattern": "^LONZA"},
    "labels": {
        "column": "Annotation_Level3",
        "ids": "cell_type_ontology_term_id",
        "merge": {"Treg": ["Treg"]},
        "sets": {"CD4_T": ["Treg", "CD4+_T_naive", "CD4+_T"]},
    },
}


def make_obs() -> pd.DataFrame:
    """Every person has every label twice; shape (60, 14), cell ids as index."""
    rows = []
    for n, (donor, library, population, sex, stage) in enumerate(PEOPLE):
        for k, (label, level2, term) in enumerate(LABELS * 2):
            rows.append(
                {
                    "cell": f"ACGT{n:02d}{k:02d}-{library}",
                    "donor_id": donor,
                    "self_reported_ethnicity_ontology_term_id": population,
                    "Country": library[:2],
                    "library_id": f"uuid-{library}",
                    "sex": sex,
                    "sex_ontology_term_id": {"female": "PATO:0000383", "male": "PATO:0000384"}[sex],
                    "development_stage": stage,
                    "Annotation_Level2": level2,
                    "Annotation_Level3": label,
                    "cell_type_ontology_term_id": term,
                    "donor_BMI_at_collection": np.nan if donor.startswith("KR") else 22.5,
                    "Smoking Status": "0",
                    "is_primary_data": True,
                }
            )
    table = pd.DataFrame(rows).set_index("cell")
    table.index.name = None
    texts = table.columns.difference(["donor_BMI_at_collection", "is_primary_data"])
    return table.astype(dict.fromkeys(texts, "category"))


def make_anndata(obs: pd.DataFrame, n_genes: int = 5) -> ad.AnnData:
    """Put an obs table into an AnnData with random counts."""
    counts = sparse.csr_matrix(np.random.default_rng(1).poisson(1.0, (len(obs), n_genes)).astype(np.float32))
    names = [f"ENSG{i:011d}" for i in range(n_genes)]
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame({"feature_name": "GENE"}, index=names))


def write_h5ad(data: ad.AnnData, path: Path) -> Path:
    """Write a file; what anndata does with an option of pandas 3 is its own business."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infer_string.*")
        data.write_h5ad(path)
    return path


def change(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings with some keys replaced: `{'labels.sets': {...}}`; None removes a key."""
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place = result
        for key in path:
            place[key] = dict(place.get(key, {}))
            place = place[key]
        place[last] = value
        if value is None:
            del place[last]
    return result


def cohort_config(**changes: Any) -> CohortConfig:
    """Return the cohort of these tests with some keys replaced."""
    return parse(change(COHORT, changes), CohortConfig, "cohort.yaml")
