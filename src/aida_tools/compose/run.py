"""From cells and labels to samples.tsv, counts.tsv and denominators.tsv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from aida_tools.compose.counts import count_cells
from aida_tools.errors import AidaError
from aida_tools.files import staged
from aida_tools.tables import CELL_COLUMNS, SAMPLE_COLUMNS, read_cells, read_denominators, write_tsv

LABELS = "labels.parquet"
SETS = "sets.tsv"


def make_samples(cells: pd.DataFrame, source: Path | str) -> pd.DataFrame:
    """Reduce the cells to one row a sample (a donor in one batch).

    Parameters
    ----------
    cells
        Table of cells, as in `cells.parquet`; columns beyond the contract are covariates.
    source
        Where the cells come from, for the message.

    Returns
    -------
    Table with the columns of `SAMPLE_COLUMNS` and the covariates, in order of first appearance.
    A text covariate with several values in one sample (two libraries processed differently) keeps
    them all, joined by `|`.

    Raises
    ------
    AidaError
        If a canonical column or a numeric covariate has several values within a sample.
    """
    fixed = [c for c in SAMPLE_COLUMNS if c not in ("sample_id", "n_cells")]
    covariates = [c for c in cells.columns if c not in CELL_COLUMNS]
    grouped = cells.groupby("sample_id", sort=False, observed=True)
    samples = grouped[[*fixed, *covariates]].first()
    # Comparing codes with the sample's first value is far cheaper than counting distinct values a group.
    position = samples.index.get_indexer(pd.Index(cells["sample_id"]))
    for column in [*fixed, *covariates]:
        codes, _ = pd.factorize(cells[column], use_na_sentinel=True)
        first = np.full(len(samples), -1)
        known = np.flatnonzero(codes >= 0)[::-1]
        first[position[known]] = codes[known]
        differs = np.flatnonzero((codes >= 0) & (codes != first[position]))
        if not len(differs):
            continue
        name = str(cells["sample_id"].iloc[differs[0]])
        values = sorted(grouped.get_group(name)[column].dropna().astype(str).unique())
        if column in fixed or pd.api.types.is_numeric_dtype(cells[column]):
            msg = (
                f"{source}: column '{column}' has several values in sample_id '{name}': {', '.join(values[:5])}. "
                "It must be the same for all cells of a sample: correct the column or map another one."
            )
            raise AidaError(msg)
        mixed = cells.loc[cells["sample_id"].isin(cells["sample_id"].iloc[differs].unique()), ["sample_id", column]]
        joined = mixed.dropna().astype(str).groupby("sample_id")[column].agg(lambda v: "|".join(sorted(set(v))))
        samples[column] = samples[column].astype(object)
        samples.loc[joined.index, column] = joined
    samples["n_cells"] = grouped.size()
    return samples.reset_index()[[*SAMPLE_COLUMNS, *covariates]]


def make_counts(cells: pd.DataFrame, labels: pd.DataFrame, annotator: str, types: Sequence[str]) -> pd.DataFrame:
    """Count one annotator's cell types in every sample.

    Parameters
    ----------
    cells
        Table of cells with `cell_id` and `sample_id`.
    labels
        Table of the same cells in the same order with `cell_id` and `cell_type` (missing: not counted).
    annotator
        Name of the annotator.
    types
        Types that get a row even where no cell has them.

    Returns
    -------
    Long table `sample_id, annotator, cell_type, n_cells`; every sample has a row for every type, zeros included.

    Raises
    ------
    AidaError
        If the labels are not those of the cells.
    """
    if len(labels) != len(cells) or not (labels["cell_id"].to_numpy() == cells["cell_id"].to_numpy()).all():
        msg = (
            f"annotator '{annotator}': its {len(labels)} labels are not those of the {len(cells)} cells, in the same "
            "order. Run `aida-tools annotate` again on this cells.parquet."
        )
        raise AidaError(msg)
    sample_codes, sample_names = pd.factorize(cells["sample_id"])
    cell_types = labels["cell_type"].astype("category")
    vocabulary = sorted({*cell_types.cat.categories[cell_types.cat.codes[cell_types.notna()].unique()], *types})
    type_codes = cell_types.cat.set_categories(vocabulary).cat.codes.to_numpy()
    matrix = count_cells(sample_codes, type_codes, len(sample_names), len(vocabulary))
    return pd.DataFrame(
        {
            "sample_id": np.repeat(np.asarray(sample_names, dtype=object), len(vocabulary)),
            "annotator": annotator,
            "cell_type": np.tile(np.asarray(vocabulary, dtype=object), len(sample_names)),
            "n_cells": matrix.ravel(),
        }
    )


def compose(cells_path: Path, label_folders: Sequence[Path], out: Path) -> None:
    """Write `samples.tsv`, `counts.tsv` and `denominators.tsv`.

    Parameters
    ----------
    cells_path
        `cells.parquet`.
    label_folders
        One folder per annotator, named after it, with `labels.parquet` and `sets.tsv`.
    out
        Folder for the results.

    Raises
    ------
    AidaError
        If a file is missing or wrong, or if the cohort is empty.
    """
    cells = read_cells(cells_path).drop(columns=["author_label", "cell_type_id", "library"])
    if cells.empty:
        msg = f"{cells_path}: there is no cell in this cohort. Check the filters of the cohort file."
        raise AidaError(msg)
    inputs = [cells_path]
    counts, sets = [], []
    for folder in label_folders:
        labels = read_cells(folder / LABELS, columns=["cell_id", "cell_type"])
        members = read_denominators(folder / SETS)
        counts.append(make_counts(cells, labels, folder.name, members["cell_type"].tolist()))
        sets.append(members)
        inputs += [folder / LABELS, folder / SETS]
    with staged(out, step="counts", inputs=inputs) as staging:
        write_tsv(make_samples(cells, cells_path), staging / "samples.tsv")
        write_tsv(pd.concat(counts), staging / "counts.tsv")
        write_tsv(pd.concat(sets), staging / "denominators.tsv")
