"""The sketch as an h5ad file: for scanpy, and in the structure CZ CELLxGENE asks for as far as the cohort allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.cohort.read import INDEX, obs_of_h5ad, open_h5, read_obs
from aida_tools.cohort.source import Fetched
from aida_tools.scan.blocks import Genes

#: Columns the schema asks for that only the source can have; `cell_type_ontology_term_id` is in cells.parquet.
CARRIED = (
    "assay_ontology_term_id",
    "development_stage_ontology_term_id",
    "disease_ontology_term_id",
    "self_reported_ethnicity_ontology_term_id",
    "sex_ontology_term_id",
    "tissue_ontology_term_id",
    "tissue_type",
    "suspension_type",
)
#: Names the schema keeps for itself: it fills such columns in from the ids.
_RESERVED = {
    "assay", "cell_type", "development_stage", "disease", "ethnicity", "ethnicity_ontology_term_id",
    "experimental_condition", "observation_joinid", "organism", "organism_ontology_term_id", "perturbation_types",
    "self_reported_ethnicity", "sex", "tissue",
}  # fmt: skip
_SEX_IDS = {"female": "PATO:0000383", "male": "PATO:0000384", "unknown": "unknown"}
_ORGANISM = "organism_ontology_term_id"
SCHEMA = "https://github.com/chanzuckerberg/single-cell-curation/blob/main/schema/7.1.0/schema.md"
WARNING = (
    "Rare and unusual cells are over-sampled: do not compute shares of cell types from this file (use counts.tsv). "
    "obs['sketch_weight'] is 1 / the probability with which a cell was drawn: sums weighted by it estimate sums over "
    "the cohort. Distances in a UMAP are not evidence."
)


def carried_columns(source: Fetched, cells: NDArray[np.intp]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read what the schema asks for and the source has.

    Parameters
    ----------
    source
        The data as `fetch` left them.
    cells
        Rows of the sketch, shape (n_cells,).

    Returns
    -------
    obs
        Those columns of `CARRIED` that are there, shape (n_cells, any).
    uns
        `organism_ontology_term_id`, if the source names it.
    """
    if source.format != "h5ad":
        if source.obs is None:
            return pd.DataFrame(index=range(len(cells))), {}
        table = read_obs(source.path, source.format, None, source.obs)
        return table[[c for c in CARRIED if c in table]].iloc[cells].reset_index(drop=True), {}
    if source.path.is_dir():
        return pd.DataFrame(index=range(len(cells))), {}
    with open_h5(source.path) as handle:
        organism = handle.get(f"uns/{_ORGANISM}")
        uns = {_ORGANISM: organism.asstr()[()]} if isinstance(organism, h5py.Dataset) else {}
        listed = handle["obs"].attrs.get("column-order", ())
        columns = {c: "CELLxGENE schema" for c in CARRIED if c in listed}
        table = obs_of_h5ad(handle, columns, source.path) if columns else pd.DataFrame(index=range(int(cells[-1]) + 1))
    return table.iloc[cells].drop(columns=INDEX, errors="ignore").reset_index(drop=True), uns


def organism_of(genes: Genes) -> dict[str, str]:
    """Tell human genes by their Ensembl ids; empty where they are not, or where there are no such ids."""
    human = np.mean([str(i).startswith("ENSG0") for i in genes.ids]) > 0.5
    return {_ORGANISM: "NCBITaxon:9606"} if human else {}


def make_obs(
    cells: pd.DataFrame, labels: Mapping[str, pd.Series], carried: pd.DataFrame, weight: NDArray[np.float64]
) -> pd.DataFrame:
    """Put together the table of the sketch's cells.

    Parameters
    ----------
    cells
        Their rows of `cells.parquet`, shape (n_cells, any).
    labels
        Annotator -> type of each cell.
    carried
        From `carried_columns`.
    weight
        1 / probability of each cell to be drawn.

    Returns
    -------
    Table indexed by cell id: `sketch_weight`, the canonical columns and covariates (`reported_sex` and so on where the
    schema reserves a name), `cell_type:ANNOTATOR`, and the columns of the schema. Texts are categorical.
    """
    obs = cells.drop(columns=["cell_id", "cell_type_id"]).reset_index(drop=True)
    ids = cells["cell_type_id"].astype(object).to_numpy()
    obs = obs.rename(columns={c: f"reported_{c}" for c in obs.columns if c in _RESERVED})
    obs.insert(0, "sketch_weight", weight)
    for annotator, types in labels.items():
        obs[f"cell_type:{annotator}"] = types.to_numpy()
    for column in carried:
        obs[column] = carried[column].to_numpy()
    obs["cell_type_ontology_term_id"] = np.where(pd.isna(ids), "unknown", ids)
    if "sex_ontology_term_id" not in carried:
        obs["sex_ontology_term_id"] = cells["sex"].astype(object).map(_SEX_IDS).to_numpy()
    # Every one of these cells is in the cohort's own file as well.
    obs["is_primary_data"] = False
    for column in obs.columns:
        if not (pd.api.types.is_numeric_dtype(obs[column]) or pd.api.types.is_bool_dtype(obs[column])):
            # Plain text categories that are in use: older versions of anndata cannot write others back.
            obs[column] = _plain(obs[column])
    obs.index = pd.Index(cells["cell_id"].to_numpy(dtype=object), dtype=object)
    return obs


def _plain(values: pd.Series) -> pd.Categorical:
    text = values.astype(object)
    found = sorted({str(v) for v in text.dropna().unique()})
    return pd.Categorical([v if pd.isna(v) else str(v) for v in text], categories=pd.Index(found, dtype=object))


def _make_var(genes: Genes) -> pd.DataFrame:
    ids = pd.Series(genes.ids, dtype=object)
    # Genes of one name are told apart by a number, as anndata does.
    again = ids.groupby(ids).cumcount()
    index = ids.where(again == 0, ids + "-" + again.astype(str))
    return pd.DataFrame({"gene_symbol": _plain(pd.Series(genes.symbols))}, index=pd.Index(index, dtype=object))


def write_h5ad(
    path: Path,
    matrix: sp.csr_matrix,
    counts: sp.csr_matrix,
    obs: pd.DataFrame,
    genes: Genes,
    used: NDArray[np.intp],
    coordinates: Mapping[str, NDArray[np.float32]],
    uns: Mapping[str, Any],
) -> None:
    """Write the sketch.

    Parameters
    ----------
    path
        The file to make.
    matrix, counts
        log1p(counts per 10,000) and counts as float32, CSR of shape (n_cells, n_genes).
    obs
        From `make_obs`.
    genes
        Names of the genes; the index of var is their ids.
    used
        The genes the embedding was made from: `highly_variable` in var.
    coordinates
        Name -> array of shape (n_cells, n_dimensions).
    uns
        Title, organism and notes.
    """
    import anndata as ad

    var = _make_var(genes)
    used_gene = np.isin(np.arange(len(var)), used)
    data = ad.AnnData(matrix, obs=obs, var=var.assign(highly_variable=used_gene, feature_is_filtered=False))
    data.raw = ad.AnnData(counts, obs=obs[[]], var=var)
    data.obsm.update(coordinates)
    data.uns.update(uns, default_embedding="X_umap")
    data.write_h5ad(path, compression="gzip", compression_opts=1)
