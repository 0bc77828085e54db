"""The tables that pass between the rooms, and the checks every reader makes.

Who writes such a table and who reads it may not know each other, so they are declared here. A user may write some of
them by hand: those have readers that fill in what a minimal table leaves out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.names import SEXES, SOFT
from aida_tools.core.schema import Table, declare, flag, number, read_parquet, read_tsv, share, text

CELLS = declare(
    Table(
        "cells",
        step="cells",
        form="parquet",
        open="covariates that the cohort file names",
        what="a cell, in the order of the file",
        columns=(
            text("cell_id", "name of the cell in the file", empty=False),
            text("sample_id", "the sample: a donor in one batch", empty=False),
            text("donor_id", "the person", empty=False),
            text("population", "code of a population"),
            text("site", "where the cells were processed"),
            text("batch", "cells run together"),
            text("library", "the 10x library, where the file has it"),
            text("sex", levels=SEXES, empty=False),
            number("age", unit="years", low=0, high=120),
            flag("is_control", "whether the donor is a control, run in many batches"),
            text("author_label", "label that the authors gave"),
            text("cell_type_id", "Cell Ontology id that the authors gave"),
        ),
    )
)
SAMPLES = declare(
    Table(
        "samples",
        step="counts",
        open="covariates: numbers where all values are numbers",
        what="a sample (a donor in one batch); `compare` writes it again with what it filled in",
        columns=(
            text("sample_id", empty=False, unique=True),
            text("donor_id", "the person", empty=False),
            text("population", "code of a population"),
            text("site", "where the cells were processed"),
            text("batch", "cells run together"),
            text("sex", levels=SEXES, empty=False),
            number("age", unit="years", low=0, high=120),
            flag("is_control", "whether the donor is a control, run in many batches"),
            number("n_cells", "all cells of the sample, labelled or not", unit="cells", low=0),
        ),
    )
)
COUNTS = declare(
    Table(
        "counts",
        step="counts",
        what="a sample, annotator and cell type; a sample without such a cell has a zero",
        columns=(
            text("sample_id", empty=False),
            text("annotator", "who labelled the cells; ends in `:soft` for expected counts", empty=False),
            text("cell_type", empty=False),
            number("n_cells", "whole unless they are expected counts", unit="cells", low=0, empty=False),
        ),
    )
)
_MEMBERS = (
    text("denominator", "name of the set", empty=False),
    text("annotator", empty=False),
    text("cell_type", "a member of the set", empty=False),
)
DENOMINATORS = declare(
    Table(
        "denominators",
        step="counts",
        columns=_MEMBERS,
        what="a cell type in the denominator of an annotator; the denominator `all` needs no rows",
    )
)
SETS = declare(Table("sets", step="annotate", columns=_MEMBERS, what="a cell type in a denominator of this annotator"))
LABELS = declare(
    Table(
        "labels",
        step="annotate",
        form="parquet",
        what="a cell, in the order of the file",
        columns=(
            text("cell_id", empty=False),
            text("cell_type", "what it is counted as; empty: not counted"),
            text("label", "what the annotator called it"),
            share("probability", "probability of the label, if the annotator gives one"),
            number("margin", "score of the label less that of the best other one"),
            number(
                "margin_Treg",
                "score for Treg against the other CD4 T cells; natural log odds where there are probabilities",
            ),
        ),
    )
)
EXPECTED = declare(
    Table(
        "expected",
        step="annotate",
        what="a sample and cell type, of an annotator with calibrated probabilities",
        columns=(
            text("sample_id", empty=False),
            text("cell_type", empty=False),
            number("n_expected", "sum of the probabilities", unit="cells", low=0, empty=False),
        ),
    )
)


def read_samples(path: Path) -> pd.DataFrame:
    """Read `samples.tsv`: one row a sample (a donor in one batch).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with the columns of `SAMPLES` and any covariates (numbers where all values are numbers).
    Absent `donor_id`, `site`, `batch`, `sex`, `age`, `is_control` and `n_cells` are filled with the sample
    itself, missing, unknown and false, so that a minimal table (`sample_id`, `population`) is enough.

    Raises
    ------
    AidaError
        Naming file, column, row and value.
    """
    return check_samples(read_tsv(path), path)


def check_samples(table: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """Check a table of samples and fill what a minimal one leaves out; see `read_samples`.

    Parameters
    ----------
    table
        The table; left as it is.
    path
        Where it came from, for the message.

    Returns
    -------
    See `read_samples`.

    Raises
    ------
    AidaError
        Naming column, row and value.
    """
    table = table.reset_index(drop=True)
    for column in ("sample_id", "population"):
        if column not in table.columns:
            raise AidaError(
                f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)} Add or rename the column."
            )
    fill: dict[str, Any] = {
        "donor_id": table["sample_id"], "site": None, "batch": None, "sex": "unknown", "age": None,
        "is_control": False, "n_cells": None,
    }  # fmt: skip
    for column, value in fill.items():
        if column not in table.columns:
            table[column] = value
    table["sex"] = table["sex"].fillna("unknown").str.strip().str.casefold().replace({"f": "female", "m": "male"})
    table["is_control"] = table["is_control"].fillna("false")
    return SAMPLES.check(table, path)


def read_counts(path: Path) -> pd.DataFrame:
    """Read `counts.tsv`: long, one row a sample, annotator and cell type; zeros are rows.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with `sample_id, annotator, cell_type, n_cells` (float). A missing `annotator` column is filled with
    `given`. Counts are whole numbers unless the annotator's name ends in `:soft`.

    Raises
    ------
    AidaError
        For missing columns, negative or fractional counts, and repeated rows.
    """
    return check_counts(read_tsv(path), path)


def check_counts(table: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """Check a long table of counts; see `read_counts`.

    Parameters
    ----------
    table
        The table; left as it is.
    path
        Where it came from, for the message.

    Returns
    -------
    See `read_counts`.

    Raises
    ------
    AidaError
        For missing columns, negative or fractional counts, and repeated rows.
    """
    if "annotator" not in table.columns:
        table = table.assign(annotator="given")
    table = COUNTS.check(table, path)
    hard = ~table["annotator"].str.endswith(SOFT)
    fractional = np.flatnonzero(hard & (table["n_cells"] != table["n_cells"].round()))
    if len(fractional):
        row = table.iloc[fractional[0]]
        raise AidaError(
            f"{path}: column 'n_cells', row {fractional[0] + 1}: value '{row['n_cells']:g}' must be a whole number "
            f"of cells. Expected (soft) counts need an annotator name ending in ':soft': '{row['annotator']}:soft'. "
            "Percentages need the column name 'percent', and shares 'share'."
        )
    repeated = np.flatnonzero(table.duplicated(["sample_id", "annotator", "cell_type"]))
    if len(repeated):
        row = table.iloc[repeated[0]]
        raise AidaError(
            f"{path}: row {repeated[0] + 1} repeats sample_id '{row['sample_id']}', annotator '{row['annotator']}', "
            f"cell_type '{row['cell_type']}'. Keep one row for each."
        )
    return table


def questioned_percentages(counts: pd.DataFrame, source: Path | str) -> list[str]:
    """Ask whether numbers of cells are percentages: the total of every sample is 100, but for rounding.

    A percentage that is rounded to a whole number is at most 0.5 off, one with decimals at most 0.05.

    Parameters
    ----------
    counts
        Long table `sample_id, annotator, cell_type, n_cells`, as `check_counts` returns it.
    source
        Where it came from, for the message.

    Returns
    -------
    One sentence an annotator in question.
    """
    found = []
    for annotator, table in counts.groupby("annotator", sort=False):
        totals = table.groupby("sample_id")["n_cells"].sum()
        totals = totals[totals > 0]
        rounding = 0.5 if (table["n_cells"] == table["n_cells"].round()).all() else 0.05
        if len(totals) and ((totals - 100).abs() <= rounding * table["cell_type"].nunique()).all():
            found.append(
                f"{source}: the counts of annotator '{annotator}' add up to about 100 in every sample, as percentages "
                "do. If they are percentages, name their column 'percent': as numbers of cells they give wrong "
                "intervals."
            )
    return found


def uncounted(labels: pd.DataFrame) -> dict[str, int]:
    """Return how many cells an annotator's labels leave out of the counts, by reason.

    Parameters
    ----------
    labels
        Table with `cell_type` (missing: not counted) and, where the annotator named the cells, `label`.

    Returns
    -------
    Reason in words -> number of cells, the commonest first.
    """
    out = labels[labels["cell_type"].isna()]
    label = out["label"] if "label" in out else pd.Series(None, index=out.index, dtype=object)
    reasons = label.map("label {} is not counted".format, na_action="ignore").astype(object).fillna("no label")
    return {str(why): int(n) for why, n in reasons.value_counts().items()}


def check_counts_match_samples(
    counts: pd.DataFrame, samples: pd.DataFrame, counts_path: Path | str, samples_path: Path | str
) -> None:
    """Check that the counts and the samples speak of the same samples.

    Raises
    ------
    AidaError
        If a sample is in one table only, or if `n_cells` of a sample is below the sum of its hard counts.
    """
    counted, described = set(counts["sample_id"]), set(samples["sample_id"])
    for only, here, there in (
        (counted - described, counts_path, samples_path),
        (described - counted, samples_path, counts_path),
    ):
        if only:
            name = min(only)
            raise AidaError(
                f"{here}: sample_id '{name}' is not in {there} ({len(only)} such samples). "
                "The two tables must list the same samples: add the missing rows or remove the extra ones."
            )
    hard = counts[~counts["annotator"].str.endswith(SOFT)]
    sums = hard.groupby(["annotator", "sample_id"], sort=False)["n_cells"].sum().reset_index()
    joined = sums.merge(samples[["sample_id", "n_cells"]], on="sample_id", suffixes=("_counts", "_samples"))
    wrong = joined[joined["n_cells_counts"] > joined["n_cells_samples"]]
    if len(wrong):
        row = wrong.iloc[0]
        raise AidaError(
            f"{counts_path}: the counts of sample_id '{row['sample_id']}' (annotator '{row['annotator']}') sum to "
            f"{row['n_cells_counts']:.0f}, but {samples_path} says n_cells = {row['n_cells_samples']:.0f} "
            f"({len(wrong)} such samples). Make the two agree."
        )


def read_denominators(path: Path) -> pd.DataFrame:
    """Read `denominators.tsv`: which cell types of which annotator make up each denominator.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with `denominator, annotator, cell_type`, one row per member. The denominator `all` needs no rows.

    Raises
    ------
    AidaError
        Naming file, column, row and value.
    """
    return DENOMINATORS.check(read_tsv(path), path)


def read_cells(path: Path, *, columns: list[str] | None = None) -> pd.DataFrame:
    """Read `cells.parquet`: one row a cell, in file order.

    Parameters
    ----------
    path
        The Parquet file.
    columns
        The columns to read; all by default.

    Returns
    -------
    Table with the columns of `CELLS` and the covariates.

    Raises
    ------
    AidaError
        If the file is absent, is not Parquet, or lacks a column of the contract.
    """
    return read_parquet(path, columns or CELLS.names, more=columns is None)
