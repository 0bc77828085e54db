"""The steps of the workflow for a notebook: tables or an AnnData object in, new tables out, no file written.

These are the rooms' own functions behind one shape of signature; the command line does the same on files.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData

    from aida_tools.core.cohort_file import CohortConfig
    from aida_tools.results.results import Results

_SOURCE = "obs"


def cells_table(data: AnnData | pd.DataFrame, cohort: CohortConfig, *, populations: pd.DataFrame) -> pd.DataFrame:
    """Give the cells of a data set the canonical columns.

    Parameters
    ----------
    data
        AnnData, or its obs table with the cell ids as index; n_cells rows.
    cohort
        Which column means what; see `load_cohort`. Its `source` is not read.
    populations
        The table of populations; see `load_populations`.

    Returns
    -------
    One row a cell, in the order of the data, with the columns `cell_id, sample_id, donor_id, population, site, batch,
    library, sex, age, is_control, author_label, cell_type_id` and the covariates. What looks wrong, but need not be, is
    a `UserWarning`.

    Raises
    ------
    AidaError
        Naming column, cell and value, for example of a population that is not in the table.
    """
    from aida_tools.cohort.cells import canonical_cells, needed_columns
    from aida_tools.cohort.read import INDEX

    table = data if isinstance(data, pd.DataFrame) else cast(pd.DataFrame, data.obs)
    obs = table.assign(**{INDEX: table.index.astype(str)}).reset_index(drop=True)
    for column, key in needed_columns(cohort).items():
        if column not in obs:
            hint = did_you_mean(column, obs.columns)
            raise AidaError(f"{_SOURCE}: column '{column}' (key '{key}' of the cohort) is missing. {hint}")
    cells, messages = canonical_cells(obs, cohort, populations, _SOURCE)
    for message in messages:
        warnings.warn(message, UserWarning, stacklevel=2)
    return cells


def author_labels(cells: pd.DataFrame, cohort: CohortConfig) -> tuple[pd.Series, pd.DataFrame]:
    """Take the authors' labels as the cohort file says they are counted.

    Parameters
    ----------
    cells
        Table of cells; see `cells_table`.
    cohort
        Its `labels` say which labels are united, left out, and which denominators they make up.

    Returns
    -------
    cell_type
        Counted type of each cell, shape (n_cells,); missing is not counted.
    denominators
        Table `denominator, annotator, cell_type`, one row a member, for `compare_populations`. The annotator is
        `author`: count the cells under this name, `count_cells(cells, cell_type, annotator="author")`.

    Raises
    ------
    AidaError
        If the cohort file names a label that no cell has.
    """
    from aida_tools.cohort.labels import resolve_labels

    cell_type, sets = resolve_labels(cohort.labels, cells["author_label"], cells["cell_type_id"])
    rows = [(name, "author", member) for name, members in sets.items() for member in members]
    return cell_type, pd.DataFrame(rows, columns=["denominator", "annotator", "cell_type"])


def gate_cells(adata: AnnData, genes: Path | str, *, layer: str | None = None) -> pd.DataFrame:
    """Label every cell by the marker gate, from its own counts alone.

    Parameters
    ----------
    adata
        Raw counts, shape (n_cells, n_genes), sparse or dense; gene symbols in the index of var or in `feature_name`.
    genes
        Table of the gate's genes, such as `config/annotators/gate.tsv`.
    layer
        Layer with the counts; X by default.

    Returns
    -------
    One row a cell, indexed like `adata.obs`: `label` (Treg, CD4_T_other, CD8_T, T_other, B, NK, Myeloid, Platelet,
    other) and `treg_log_odds`, the natural log odds of Treg against another CD4 T cell at the rates of the table:
    a score of the evidence, not a calibrated probability.

    Raises
    ------
    AidaError
        If the matrix holds no counts, or a gene without which there is no gate is absent.
    """
    from scipy import sparse

    from aida_tools.scan import gate, kernels
    from aida_tools.scan.blocks import describe_genes

    matrix = sparse.csr_matrix(adata.X if layer is None else adata.layers[layer])
    if (matrix.data < 0).any() or (matrix.data != np.rint(matrix.data)).any():
        place = "X" if layer is None else f"layer '{layer}'"
        raise AidaError(
            f"{place} of the AnnData object holds no raw counts (whole numbers, 0 or more). Name the layer that does."
        )
    csr = matrix.indptr, matrix.indices, matrix.data.astype(np.int32)
    wanted, columns = gate.read_gate(Path(genes)), describe_genes(cast(pd.DataFrame, adata.var))
    slot, absent = columns.slots(wanted.genes)
    lost = [g for name in ("T", "CD8") for g in (wanted.genes[i] for i in wanted.sets[name]) if g in absent]
    if lost:
        raise AidaError(
            f"var of the AnnData object: no gene {', '.join(lost)}, and there is no gate without. Add gene symbols."
        )
    total, _, _ = kernels.quality(*csr, columns.is_mito)
    gated = gate.apply_gate(wanted.without(absent), kernels.gather(*csr, slot, len(wanted.genes)), total)
    label = pd.Categorical.from_codes(gated.label, categories=pd.Index(gate.LABELS))
    return pd.DataFrame({"label": label, "treg_log_odds": gated.treg_log_odds}, index=adata.obs_names)


def count_cells(
    cells: pd.DataFrame, labels: pd.Series, *, annotator: str = "given"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count the cell types in every sample.

    Parameters
    ----------
    cells
        Table of cells; see `cells_table`.
    labels
        Cell type of each cell in the same order, shape (n_cells,); missing is not counted.
    annotator
        Whose labels these are; the denominators of `author_labels` are those of `author`.

    Returns
    -------
    counts
        Long table `sample_id, annotator, cell_type, n_cells`; a sample without a cell of a type has a row with 0.
    samples
        One row a sample (a donor in one batch).

    Raises
    ------
    AidaError
        If there are not as many labels as cells, or a column that describes samples varies within one.
    """
    from aida_tools.compose.run import make_counts, make_samples

    if len(labels) != len(cells):
        raise AidaError(
            f"labels: {len(labels)} of them for {len(cells)} cells. Give one label a cell, in the same order."
        )
    labelled = pd.DataFrame({"cell_id": cells["cell_id"].to_numpy(), "cell_type": labels.to_numpy()})
    kept = cells.drop(columns=["author_label", "cell_type_id", "library"])
    return make_counts(cells, labelled, annotator, []), make_samples(kept, "cells")


def compare_populations(
    counts: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    denominators: pd.DataFrame | dict[str, list[str]] | list[str] | None = None,
    cohort: CohortConfig | None = None,
    **options: Any,
) -> Results:
    """Compare the shares of cell types between populations.

    Parameters
    ----------
    counts
        Long table `sample_id, cell_type, n_cells` and, if there are several, `annotator`.
    samples
        One row a sample; `sample_id` and `population` are enough, `donor_id, site, batch, sex, age` are used if there.
    denominators
        What shares are of: name -> cell types, or a table `denominator, annotator, cell_type`, to which the denominator
        `all`, every cell type, is added; or a list as on the command line (`["CD4_T=Treg,CD4 naive"]`), which is all.
    cohort
        For its name and title, whether it is synthetic, its covariates, strata and unresolved labels.
    options
        What to compare and how: the options of `aida-tools compare`, by the names that they have in a run file.

    Returns
    -------
    Estimates with their statuses, and the tables beside them.

    Raises
    ------
    AidaError
        For input that cannot be used, or an option that does not exist.

    Examples
    --------
    Two groups of four samples at one site, both in each of its two batches:

    >>> import pandas as pd
    >>> import aida_tools as aida
    >>> populations = ["Korean"] * 4 + ["Thai"] * 4
    >>> samples = pd.DataFrame({"sample_id": list("abcdefgh"), "population": populations, "site": "X"})
    >>> samples["batch"] = ["1", "2"] * 4
    >>> treg = [12, 9, 15, 11, 20, 24, 18, 22]
    >>> counts = pd.DataFrame({"sample_id": list("abcdefgh") * 2, "cell_type": ["Treg"] * 8 + ["other"] * 8})
    >>> counts["n_cells"] = [*treg, *(400 - n for n in treg)]
    >>> results = aida.compare_populations(counts, samples, formula="~ population", models=["betabinomial"])
    >>> row = results.focus_estimates().iloc[0]
    >>> row["contrast"], row["status"], round(float(row["estimate"]), 2)
    ('population: Korean - Thai', 'within-site', -0.6)
    """
    from dataclasses import fields

    from aida_tools.compare.run import compare_tables
    from aida_tools.compare.step import Options
    from aida_tools.core.options import make
    from aida_tools.results.results import Results

    if isinstance(denominators, list):
        options, denominators = options | {"denominators": denominators}, None
    asked = make(Options, options, "compare_populations")
    if isinstance(denominators, dict):
        annotators = counts["annotator"].unique() if "annotator" in counts else ["given"]
        rows = [(name, who, t) for name, types in denominators.items() for who in annotators for t in types]
        denominators = pd.DataFrame(rows, columns=["denominator", "annotator", "cell_type"])
    tables, record = compare_tables(counts, samples, options=asked, denominators=denominators, cohort=cohort)
    record["focus"] = record["focus"] or str(tables["shares"]["cell_type"].iloc[0])
    own = {f.name for f in fields(Results)}
    later = {name: table for name, table in tables.items() if name not in own}
    return Results(**{name: table for name, table in tables.items() if name in own}, options=record, tables=later)
