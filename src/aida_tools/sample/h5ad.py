"""The file: AIDA v2's obs table, vocabularies and layers, as CELLxGENE (schema 7) publishes them."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

from aida_tools.sample.expression import log_normalise

#: HANCESTRO ids and labels; controls are `unknown`, as newer versions have them.
ETHNICITIES = {
    "SG_Chinese": ("HANCESTRO:0025", "Singaporean Chinese"),
    "SG_Malay": ("HANCESTRO:0597", "Singaporean Malay"),
    "SG_Indian": ("HANCESTRO:0598", "Singaporean Indian"),
    "Japanese": ("HANCESTRO:0019", "Japanese"),
    "Korean": ("HANCESTRO:0022", "Korean"),
    "Thai": ("HANCESTRO:0500", "Thai"),
    "Indian": ("HANCESTRO:0487", "Indian"),
    "unknown": ("unknown", "unknown"),
}
#: More than 2^31 values are reached at ten million cells: they are numbered with 64 bits.
_STORAGE = {"compression": "gzip", "compression_opts": 4, "chunks": (65536,), "indptr_dtype": np.int64}
_UUIDS = uuid.uuid5(uuid.NAMESPACE_URL, "aida-tools/sample")


def _uuid(seed: int, kind: str, name: str) -> str:
    return str(uuid.uuid5(_UUIDS, f"{seed}/{kind}/{name}"))


def barcodes(libraries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw 16-base barcodes, unique within each library.

    Parameters
    ----------
    libraries
        Library of each cell, shape (n_cells,).
    rng
        Source of random numbers.

    Returns
    -------
    Text, shape (n_cells,).
    """
    codes = np.empty(len(libraries), np.int64)
    for name in np.unique(libraries):
        mine = libraries == name
        codes[mine] = rng.choice(4**16, int(mine.sum()), replace=False)
    bases = np.frombuffer(b"ACGT", np.uint8)[(codes[:, None] >> (2 * np.arange(16))) & 3]
    return np.ascontiguousarray(bases).view("S16").ravel().astype(str)


def sample_obs(samples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Make the obs columns that are constant within a sample.

    Parameters
    ----------
    samples
        From `design.make_samples`.
    seed
        Seed of the cohort; the uuids depend on it.

    Returns
    -------
    One row per sample, columns as in AIDA v2. A control has one `sample_id` wherever it was run.
    """
    control = samples["is_control"]
    aligner = samples["aligner"]
    version = np.where(
        aligner.ne("DRAGEN RNA"), "Cell Ranger", np.where(samples["introns"], "DRAGEN v4", "DRAGEN RNA v3.8.4")
    )
    age = samples["age"].astype(int)
    return pd.DataFrame(
        {
            "donor_id": samples["donor_id"],
            "Country": samples["site"],
            "self_reported_ethnicity_ontology_term_id": [ETHNICITIES[p][0] for p in samples["population"]],
            "self_reported_ethnicity": [ETHNICITIES[p][1] for p in samples["population"]],
            "development_stage_ontology_term_id": [f"HsapDv:{a + 94:07d}" for a in age],
            "development_stage": [f"{a}-year-old stage" for a in age],
            "sex_ontology_term_id": np.where(samples["sex"].eq("female"), "PATO:0000383", "PATO:0000384"),
            "sex": samples["sex"],
            "donor_BMI_at_collection": samples["bmi"].astype(float),
            "Smoking Status": samples["smoking"],
            "sample_id": [_uuid(seed, "sample", d) for d in samples["donor_id"]],
            "institute": samples["institute"],
            "alignment_software": version,
            "intronic_reads_counted": np.where(samples["introns"], "yes", "no"),
            "suspension_derivation_process": np.where(control, "leukapheresis", "density gradient centrifugation"),
            "cell_viability_percentage": samples["viability"].astype(float),
        }
    )


def make_obs(
    per_sample: pd.DataFrame, types: pd.DataFrame, sample: np.ndarray, kind: np.ndarray, library: np.ndarray,
    *, seed: int, rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Make the obs table, without what is counted from the matrix.

    Parameters
    ----------
    per_sample
        From `sample_obs`.
    types
        Table of cell types: `label, level1, level2, level4, author_cell_type, cl_id, cl_name`.
    sample, kind, library
        Row of `per_sample`, row of `types` and library name of each cell, shape (n_cells,).
    seed, rng
        Seed of the cohort, and the source of random numbers for the barcodes.

    Returns
    -------
    One row per cell; text columns are categorical; the index is `BARCODE-LIBRARY`.
    """
    columns: dict[str, object] = {}

    def by_code(values: pd.Series, codes: np.ndarray) -> pd.Categorical:
        """Spread a short column over the cells without making the long text column."""
        short = pd.Categorical(values.astype(object), categories=sorted(set(values.dropna())))
        return pd.Categorical.from_codes(short.codes[codes], categories=short.categories)

    for name, values in per_sample.items():
        numeric = pd.api.types.is_numeric_dtype(values)
        columns[str(name)] = values.to_numpy()[sample] if numeric else by_code(values, sample)
    for name, source in {
        "Annotation_Level1": "level1", "Annotation_Level2": "level2", "Annotation_Level3": "label",
        "Annotation_Level4": "level4", "author_cell_type": "author_cell_type",
        "cell_type_ontology_term_id": "cl_id", "cell_type": "cl_name",
    }.items():  # fmt: skip
        columns[name] = by_code(types[source], kind)
    names, code = np.unique(library, return_inverse=True)
    for name, what in {"library_id": "library", "suspension_uuid": "suspension"}.items():
        columns[name] = by_code(pd.Series([_uuid(seed, what, n) for n in names]), code)
    for name, value in {
        "assay_ontology_term_id": "EFO:0009900", "assay": "10x 5' v2",
        "disease_ontology_term_id": "PATO:0000461", "disease": "normal",
        "tissue_ontology_term_id": "UBERON:0000178", "tissue": "blood", "tissue_type": "tissue",
        "suspension_type": "cell", "reference_genome": "GRCh38", "gene_annotation_version": "v32",
    }.items():  # fmt: skip
        columns[name] = by_code(pd.Series([value]), np.zeros_like(sample))
    columns["is_primary_data"] = np.ones(len(sample), bool)
    index = np.char.add(np.char.add(barcodes(library, rng), "-"), library).astype(object)
    obs = pd.DataFrame(columns, index=pd.Index(index, dtype=object))
    joinids = [base64.b85encode(hashlib.blake2b(name.encode(), digest_size=8).digest()).decode() for name in index]
    obs["observation_joinid"] = np.array(joinids, dtype=object)
    return obs.astype({"observation_joinid": object})


def write_h5ad(
    path: Path, obs: pd.DataFrame, genes: pd.DataFrame, blocks: Iterable[sparse.csr_matrix], title: str
) -> None:
    """Write the cohort block by block, so that its size is not bound by memory.

    Parameters
    ----------
    path
        The file to make.
    obs
        From `make_obs`, shape (n_cells, ...); the columns counted from the matrix are added here.
    genes
        `ensembl_id, symbol`, shape (n_genes, 2).
    blocks
        UMI counts of consecutive cells, each of shape (n_block, n_genes).
    title
        For `uns["title"]`.
    """
    var = pd.DataFrame(
        {
            "feature_is_filtered": False,
            "feature_name": pd.Categorical(genes["symbol"].astype(object)),
            "feature_reference": pd.Categorical(["NCBITaxon:9606"] * len(genes)),
            "feature_biotype": pd.Categorical(["gene"] * len(genes)),
        },
    )
    var.index = pd.Index(genes["ensembl_id"].to_numpy(object), dtype=object)
    mitochondrial = genes["symbol"].str.startswith("MT-").to_numpy()
    uns = {
        "title": title,
        "schema_version": "7.0.0",
        "organism": "Homo sapiens",
        "organism_ontology_term_id": "NCBITaxon:9606",
        "citation": "SYNTHETIC data made by aida-tools; not measured, not AIDA's.",
    }
    totals, detected, mito = [], [], []
    # Space that growing matrices free is left alone: the cell table would be scattered over it, and whoever reads only
    # that table over HTTP would fetch half of the file.
    with h5py.File(path, "w", fs_strategy="none") as file:
        raw = file.create_group("raw")
        raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
        for counts in blocks:
            totals.append(counts.sum(axis=1).A1)
            detected.append(np.diff(counts.indptr))
            mito.append(counts[:, mitochondrial].sum(axis=1).A1)
            # Bytes that are shuffled compress whole numbers better, and the few distinct logarithms worse.
            for group, matrix, shuffle in ((file, log_normalise(counts), False), (raw, counts, True)):
                if "X" in group:
                    stored: Any = sparse_dataset(group["X"])
                    stored.append(matrix)
                else:
                    write_elem(group, "X", matrix, dataset_kwargs={**_STORAGE, "shuffle": shuffle})
        total, n_genes = np.concatenate(totals).astype(np.float32), np.concatenate(detected).astype(np.int32)
        obs = obs.assign(
            nCount_RNA=total,
            nFeature_RNA=n_genes,
            nUMI=total,
            NODG=n_genes,
            pMito=(np.concatenate(mito) / np.maximum(total, 1)).astype(np.float32),
        )
        shell = ad.AnnData(obs=obs, var=var, uns=uns)
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        for name in ("obs", "var", "uns", "obsm", "varm", "obsp", "varp", "layers"):
            write_elem(
                file, name, dict(value) if not isinstance(value := getattr(shell, name), pd.DataFrame) else value
            )
        write_elem(raw, "var", var.drop(columns="feature_is_filtered"))
        write_elem(raw, "varm", {})
