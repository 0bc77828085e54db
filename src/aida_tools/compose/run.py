"""From cells and labels to samples.tsv, counts.tsv and denominators.tsv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from aida_tools.compose.counts import count_cells
from aida_tools.compose.tables import UNCOUNTED
from aida_tools.core.errors import AidaError
from aida_tools.core.files import staged
from aida_tools.core.names import SOFT
from aida_tools.core.schema import read_tsv
from aida_tools.core.tables import (
    CELLS,
    COUNTS,
    DENOMINATORS,
    EXPECTED,
    LABELS,
    SAMPLES,
    SETS,
    read_cells,
    read_denominators,
    uncounted,
)
from aida_tools.core.words import left_out


def make_samples(cells: pd.DataFrame, source: Path | str) -> pd.DataFrame:
    """Reduce the cells to one row per sample (a donor in one batch).

    Parameters
    ----------
    cells
        Table of cells, as in `cells.parquet`; columns beyond the contract are covariates.
    source
        Where the cells come from, for the message.

    Returns
    -------
    Table with the columns of `SAMPLES.names` and the covariates, in order of first appearance.
    A text covariate with several values in one sample (two libraries processed differently) keeps
    them all, joined by `|`.

    Raises
    ------
    AidaError
        If a canonical column or a numeric covariate has several values within a sample.
    """
    fixed = [c for c in SAMPLES.names if c not in ("sample_id", "n_cells")]
    covariates = [c for c in cells.columns if c not in CELLS.names]
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
            raise AidaError(
                f"{source}: column '{column}' has several values in sample_id '{name}': {', '.join(values[:5])}. "
                "It must be the same for all cells of a sample: correct the column or map another one."
            )
        mixed = cells.loc[cells["sample_id"].isin(cells["sample_id"].iloc[differs].unique()), ["sample_id", column]]
        joined = mixed.dropna().astype(str).groupby("sample_id")[column].agg(lambda v: "|".join(sorted(set(v))))
        samples[column] = samples[column].astype(object)
        samples.loc[joined.index, column] = joined
    samples["n_cells"] = grouped.size()
    return samples.reset_index()[[*SAMPLES.names, *covariates]]


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
        raise AidaError(
            f"annotator '{annotator}': its {len(labels)} labels are not those of the {len(cells)} cells, in the same "
            "order. Run `aida-tools annotate` again on this cells.parquet."
        )
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


def make_expected(
    expected: pd.DataFrame, samples: pd.DataFrame, annotator: str, types: Sequence[str], source: Path | str
) -> pd.DataFrame:
    """Turn sums of probabilities into counts like any others, of an annotator of their own.

    Hard calls of a rare type miss more cells than they wrongly take in. Calibrated probabilities summed have the
    right mean over the cells they were calibrated on; between samples they still know only one prior, so that
    differences are drawn together, the more so the less a type stands out.

    Parameters
    ----------
    expected
        Table `sample_id, cell_type, n_expected` (text or numbers).
    samples
        Table of samples with `sample_id` and `n_cells`.
    annotator
        Name of the annotator.
    types
        Types that get a row even where none is expected.
    source
        Where the table comes from, for messages.

    Returns
    -------
    Long table `sample_id, annotator, cell_type, n_cells`, the annotator's name ending in `:soft`; every sample has a
    row for every type, in the order of the samples.

    Raises
    ------
    AidaError
        If a column, a sample or a number is missing, repeated or wrong, or a sample has more expected cells than
        cells.
    """
    for column in ("sample_id", "cell_type", "n_expected"):
        if column not in expected.columns:
            raise AidaError(f"{source}: column '{column}' is missing. Run `aida-tools annotate` again.")
    numbers = pd.to_numeric(expected["n_expected"], errors="coerce")
    wrong = np.flatnonzero(~(numbers >= 0) | np.isinf(numbers))
    if len(wrong):
        value = expected["n_expected"].iloc[wrong[0]]
        raise AidaError(
            f"{source}: column 'n_expected', row {wrong[0] + 1}: value '{value}' must be a number of 0 or more."
        )
    repeated = np.flatnonzero(expected.duplicated(["sample_id", "cell_type"]))
    if len(repeated):
        row = expected.iloc[repeated[0]]
        raise AidaError(
            f"{source}: row {repeated[0] + 1} repeats sample_id '{row['sample_id']}', cell_type '{row['cell_type']}'."
        )
    here, there = set(expected["sample_id"]), set(samples["sample_id"])
    if here != there:
        raise AidaError(
            f"{source}: sample_id '{min(here ^ there)}' is not in both this table and the cells. "
            "Annotate the same cells, from a scan with their --samples."
        )
    wide = expected.assign(n=numbers).pivot(index="sample_id", columns="cell_type", values="n")
    wide = wide.reindex(index=samples["sample_id"], columns=sorted({*wide.columns, *types})).fillna(0.0)
    over = np.flatnonzero(wide.sum(axis=1).to_numpy() > samples["n_cells"].to_numpy() + 1e-3)
    if len(over):
        name = wide.index[over[0]]
        raise AidaError(
            f"{source}: sample_id '{name}': {wide.loc[name].sum():.3f} cells are expected of "
            f"{samples['n_cells'].iloc[over[0]]}. The scan was of other cells: scan and annotate again."
        )
    return pd.DataFrame(
        {
            "sample_id": np.repeat(wide.index.to_numpy(object), wide.shape[1]),
            "annotator": f"{annotator}{SOFT}",
            "cell_type": np.tile(wide.columns.to_numpy(object), len(wide)),
            "n_cells": wide.to_numpy(float).ravel(),
        }
    )


def compose(cells_path: Path, label_folders: Sequence[Path], out: Path) -> None:
    """Write `samples.tsv`, `counts.tsv`, `denominators.tsv`, and `uncounted.tsv` with the cells in no count.

    Parameters
    ----------
    cells_path
        `cells.parquet`.
    label_folders
        One folder per annotator, named after it, with `labels.parquet` and `sets.tsv`. One with `expected.tsv` is
        counted twice: its labels as NAME, and the sums of its probabilities as `NAME:soft`.
    out
        Folder for the results.

    Raises
    ------
    AidaError
        If a file is missing or wrong, or if the cohort is empty.
    """
    cells = read_cells(cells_path).drop(columns=["author_label", "cell_type_id", "library"])
    if cells.empty:
        raise AidaError(f"{cells_path}: there is no cell in this cohort. Check the filters of the cohort file.")
    samples = make_samples(cells, cells_path)
    inputs = [cells_path]
    counts, sets, lost = [], [], {}
    for folder in label_folders:
        labels = _read_labels(folder / LABELS.file)
        # The folder's name counts, also where it was copied or renamed.
        name, members = folder.resolve().name, read_denominators(folder / SETS.file)
        types = members["cell_type"].tolist()
        counts.append(make_counts(cells, labels, name, types))
        sets.append(members.assign(annotator=name))
        lost[name] = uncounted(labels)
        inputs += [folder / LABELS.file, folder / SETS.file]
        path = folder / EXPECTED.file
        if path.is_file():
            counts.append(make_expected(read_tsv(path), samples, name, types, path))
            sets.append(members.assign(annotator=f"{name}{SOFT}"))
            inputs.append(path)
    with staged(out, step="counts", inputs=inputs) as staging:
        SAMPLES.write(samples, staging)
        COUNTS.write(_as_text(pd.concat(counts)), staging)
        DENOMINATORS.write(pd.concat(sets), staging)
        UNCOUNTED.write(_uncounted_table(lost, len(cells)), staging)
    said = [f"{name}: {left_out('cell', sum(why.values()), len(cells), why)}" for name, why in lost.items() if why]
    if said:
        click.echo(f"aida-tools: not counted, by annotator: {'; '.join(said)}", err=True)


def _read_labels(path: Path) -> pd.DataFrame:
    """Read the counted type of every cell and, where the annotator gave one, its label."""
    labels = read_cells(path, columns=["cell_id", "cell_type"])
    if "label" not in pq.read_schema(path).names:
        return labels
    return labels.assign(label=read_cells(path, columns=["label"])["label"])


def _uncounted_table(lost: Mapping[str, Mapping[str, int]], n_cells: int) -> pd.DataFrame:
    rows = [(name, why, n, n / n_cells) for name, reasons in lost.items() for why, n in reasons.items()]
    return UNCOUNTED.frame(pd.DataFrame(rows, columns=UNCOUNTED.names))


def _as_text(counts: pd.DataFrame) -> pd.DataFrame:
    """Write whole numbers of cells as such, although expected ones stand in the same column."""
    values = counts["n_cells"]
    text = values.map(lambda n: str(int(n)) if float(n).is_integer() else repr(float(n)))
    return counts.assign(n_cells=text)
