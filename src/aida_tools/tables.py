"""The tables that pass between the rooms, and the checks every reader makes.

`cells.parquet`, `labels` (one Parquet file per annotator), `samples.tsv`, `counts.tsv`, `denominators.tsv`
and `estimates.tsv`. TSV files are UTF-8 with a header and no index; Parquet is zstd; missing is empty or null.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from aida_tools.errors import AidaError, did_you_mean

#: Variants of an annotator NAME: `NAME-thinned` is it on counts thinned to one depth, `NAME:soft` its expected counts.
THINNED, SOFT = "-thinned", ":soft"
#: Annotators that are always there; the published models that can be brought, and the annotators made of both of them.
AUTHOR, GATE, PROTEIN, CONSENSUS = "author", "gate", "protein", "consensus"
ACTINN, STCAT = "actinn", "stcat"
BLOOD, BLOOD_SENSITIVE = "blood", "blood-sensitive"
#: File of the cells in the folder of `aida-tools cells`.
CELLS = "cells.parquet"

SEXES = ("female", "male", "unknown")
STATUSES = ("within-site", "between-site", "not-estimable", "too-few", "not-converged")
#: Statuses that allow an empty estimate; their `note` then says why.
EMPTY_STATUSES = ("not-estimable", "too-few", "not-converged")

CELL_COLUMNS = (
    "cell_id", "sample_id", "donor_id", "population", "site", "batch", "library", "sex", "age", "is_control",
    "author_label", "cell_type_id",
)  # fmt: skip
SAMPLE_COLUMNS = (
    "sample_id",
    "donor_id",
    "population",
    "site",
    "batch",
    "sex",
    "age",
    "is_control",
    "n_cells",
)
COUNT_COLUMNS = ("sample_id", "annotator", "cell_type", "n_cells")
ESTIMATE_COLUMNS = (
    "cohort", "annotator", "cell_type", "denominator", "model", "contrast", "status", "aliased_with", "estimate",
    "std_error", "statistic", "df", "p_value", "q_value", "ci_low", "ci_high", "share_a", "share_b", "n_samples_a",
    "n_samples_b", "n_batches", "n_zero", "note",
)  # fmt: skip


def _text(*, nullable: bool = False, unique: bool = False, checks: Any = None, required: bool = True) -> pa.Column:
    return pa.Column(str, nullable=nullable, unique=unique, checks=checks, required=required, coerce=True)


def _number(*, nullable: bool = True, checks: Any = None, required: bool = True) -> pa.Column:
    return pa.Column(float, nullable=nullable, checks=checks, required=required, coerce=True)


_AGE = pa.Check.in_range(0, 120, error="an age in years between 0 and 120")
_COUNT = pa.Check.ge(0, error="a count of 0 or more")
_SHARE = pa.Check.in_range(0, 1, error="a share between 0 and 1")

_SAMPLES = pa.DataFrameSchema(
    {
        "sample_id": _text(unique=True),
        "donor_id": _text(),
        "population": _text(nullable=True),
        "site": _text(nullable=True),
        "batch": _text(nullable=True),
        "sex": _text(checks=pa.Check.isin(SEXES, error="one of female, male, unknown")),
        "age": _number(checks=_AGE),
        "is_control": pa.Column(bool, coerce=True),
        "n_cells": _number(checks=_COUNT),
    }
)
_COUNTS = pa.DataFrameSchema(
    {
        "sample_id": _text(),
        "annotator": _text(),
        "cell_type": _text(),
        "n_cells": _number(nullable=False, checks=_COUNT),
    }
)
_DENOMINATORS = pa.DataFrameSchema({"denominator": _text(), "annotator": _text(), "cell_type": _text()})
_ESTIMATES = pa.DataFrameSchema(
    {
        **{c: _text() for c in ("cohort", "annotator", "cell_type", "denominator", "model", "contrast")},
        "status": _text(checks=pa.Check.isin(STATUSES, error=f"one of {', '.join(STATUSES)}")),
        "aliased_with": _text(nullable=True),
        **{
            c: _number()
            for c in ("estimate", "std_error", "statistic", "df", "p_value", "q_value", "ci_low", "ci_high")
        },
        "share_a": _number(checks=_SHARE),
        "share_b": _number(checks=_SHARE),
        **{c: _number(checks=_COUNT) for c in ("n_samples_a", "n_samples_b", "n_batches", "n_zero")},
        "note": _text(nullable=True),
    }
)


def check(table: pd.DataFrame, schema: pa.DataFrameSchema, source: Path | str) -> pd.DataFrame:
    """Validate a table against its contract.

    Parameters
    ----------
    table
        The table as read, shape (n_rows, n_columns).
    schema
        The contract.
    source
        The file it came from, for the message.

    Returns
    -------
    The table with the contract's dtypes.

    Raises
    ------
    AidaError
        Naming file, column, row (1 is the first row below the header) and value of the first mistake,
        and how many there are.
    """
    missing = [c for c, spec in schema.columns.items() if spec.required and c not in table.columns]
    if missing:
        hint = did_you_mean(missing[0], [c for c in table.columns if c not in schema.columns])
        msg = f"{source}: column '{missing[0]}' is missing. {hint} Add or rename the column."
        raise AidaError(msg)
    try:
        return schema.validate(table.reset_index(drop=True), lazy=True)
    except SchemaErrors as errors:
        failures = errors.failure_cases
    first = failures.iloc[0]
    wanted = str(first["check"])
    if wanted.startswith(("coerce_dtype", "dtype")):
        spec = schema.columns[str(first["column"])]
        wanted = "true or false" if str(spec.dtype) == "bool" else "a number" if "float" in str(spec.dtype) else "text"
    elif wanted == "not_nullable":
        wanted = "a value (it is empty)"
    elif wanted == "field_uniqueness":
        wanted = "unique; it stands there more than once"
    row = "" if pd.isna(first["index"]) else f", row {int(first['index']) + 1}"
    more = f" ({len(failures)} such values in all.)" if len(failures) > 1 else ""
    msg = f"{source}: column '{first['column']}'{row}: value '{first['failure_case']}' must be {wanted}.{more}"
    raise AidaError(msg)


def read_tsv(path: Path) -> pd.DataFrame:
    """Read a TSV file as text, empty fields as missing.

    Raises
    ------
    AidaError
        If the file is absent, empty, or not a table.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{path}: there is no such file."
        raise AidaError(msg) from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        msg = f"{path}: not a readable tab-separated table ({error})."
        raise AidaError(msg) from error
    if table.shape[1] == 1 and "," in str(table.columns[0]):
        msg = f"{path}: the columns are separated by commas; a tab-separated table (TSV) is wanted."
        raise AidaError(msg)
    return table


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as TSV: UTF-8, header, no index, missing as empty."""
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as zstd-compressed Parquet, without an index."""
    table.to_parquet(path, index=False, compression="zstd")


def _parse_bool(column: pd.Series) -> pd.Series:
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    return column.map(lambda v: known.get(str(v).strip().casefold(), v))


def fold_names(name: str, folds: int) -> list[str]:
    """Return the names of the models of all folds: `NAME.1`, `NAME.2` ...; of one alone, just its name."""
    return [name] if folds == 1 else [f"{name}.{k}" for k in range(1, folds + 1)]


def read_samples(path: Path) -> pd.DataFrame:
    """Read `samples.tsv`: one row a sample (a donor in one batch).

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with the columns of `SAMPLE_COLUMNS` and any covariates (numbers where all values are numbers).
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
            msg = (
                f"{path}: column '{column}' is missing. {did_you_mean(column, table.columns)} Add or rename the column."
            )
            raise AidaError(msg)
    fill: dict[str, Any] = {
        "donor_id": table["sample_id"], "site": None, "batch": None, "sex": "unknown", "age": None,
        "is_control": False, "n_cells": None,
    }  # fmt: skip
    for column, value in fill.items():
        if column not in table.columns:
            table[column] = value
    table["sex"] = table["sex"].fillna("unknown").str.strip().str.casefold().replace({"f": "female", "m": "male"})
    table["is_control"] = _parse_bool(table["is_control"].fillna("false"))
    wrong = ~table["is_control"].isin([True, False])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        value = table["is_control"].iloc[row]
        msg = f"{path}: column 'is_control', row {row + 1}: value '{value}' must be true or false."
        raise AidaError(msg)
    table["is_control"] = table["is_control"].astype(bool)
    table = check(table, _SAMPLES, path)
    for column in table.columns.difference(list(SAMPLE_COLUMNS)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.notna().any() and (numbers.notna() == table[column].notna()).all():
            table[column] = numbers
    return table[[*SAMPLE_COLUMNS, *[c for c in table.columns if c not in SAMPLE_COLUMNS]]]


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
    table = check(table, _COUNTS, path)
    hard = ~table["annotator"].str.endswith(SOFT)
    fractional = np.flatnonzero(hard & (table["n_cells"] != table["n_cells"].round()))
    if len(fractional):
        row = table.iloc[fractional[0]]
        msg = (
            f"{path}: column 'n_cells', row {fractional[0] + 1}: value '{row['n_cells']:g}' must be a whole number "
            f"of cells. Expected (soft) counts need an annotator name ending in ':soft': '{row['annotator']}:soft'."
        )
        raise AidaError(msg)
    repeated = np.flatnonzero(table.duplicated(["sample_id", "annotator", "cell_type"]))
    if len(repeated):
        row = table.iloc[repeated[0]]
        msg = (
            f"{path}: row {repeated[0] + 1} repeats sample_id '{row['sample_id']}', annotator '{row['annotator']}', "
            f"cell_type '{row['cell_type']}'. Keep one row for each."
        )
        raise AidaError(msg)
    return table[list(COUNT_COLUMNS)]


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
            msg = (
                f"{here}: sample_id '{name}' is not in {there} ({len(only)} such samples). "
                "The two tables must list the same samples: add the missing rows or remove the extra ones."
            )
            raise AidaError(msg)
    hard = counts[~counts["annotator"].str.endswith(SOFT)]
    sums = hard.groupby(["annotator", "sample_id"], sort=False)["n_cells"].sum().reset_index()
    joined = sums.merge(samples[["sample_id", "n_cells"]], on="sample_id", suffixes=("_counts", "_samples"))
    wrong = joined[joined["n_cells_counts"] > joined["n_cells_samples"]]
    if len(wrong):
        row = wrong.iloc[0]
        msg = (
            f"{counts_path}: the counts of sample_id '{row['sample_id']}' (annotator '{row['annotator']}') sum to "
            f"{row['n_cells_counts']:.0f}, but {samples_path} says n_cells = {row['n_cells_samples']:.0f} "
            f"({len(wrong)} such samples). Make the two agree."
        )
        raise AidaError(msg)


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
    return check(read_tsv(path), _DENOMINATORS, path)


def read_estimates(path: Path) -> pd.DataFrame:
    """Read `estimates.tsv`, the tidy result of `compare`.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Table with the columns of `ESTIMATE_COLUMNS`, one row a model, contrast, cell type, denominator and annotator.

    Raises
    ------
    AidaError
        Naming file, column, row and value; also when an estimate is empty although its status promises one.
    """
    table = check(read_tsv(path), _ESTIMATES, path)
    silent = np.flatnonzero(table["estimate"].isna() & (~table["status"].isin(EMPTY_STATUSES) | table["note"].isna()))
    if len(silent):
        msg = (
            f"{path}: column 'estimate', row {silent[0] + 1}: empty, with status '{table['status'].iloc[silent[0]]}'. "
            f"Only {', '.join(EMPTY_STATUSES)} may have no estimate, and 'note' must say why."
        )
        raise AidaError(msg)
    return table[list(ESTIMATE_COLUMNS)]


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
    Table with the columns of `CELL_COLUMNS` and the covariates.

    Raises
    ------
    AidaError
        If the file is absent, is not Parquet, or lacks a column of the contract.
    """
    import pyarrow.parquet as pq

    try:
        present = pq.read_schema(path).names
    except FileNotFoundError as error:
        msg = f"{path}: there is no such file."
        raise AidaError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: not a Parquet file ({error})."
        raise AidaError(msg) from error
    for column in columns or CELL_COLUMNS:
        if column not in present:
            msg = f"{path}: column '{column}' is missing. {did_you_mean(column, present)}"
            raise AidaError(msg)
    return pd.read_parquet(path, columns=columns)
