"""The third door: a wide table of counts (one row per sample, one column a cell type) made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import staged
from aida_tools.core.tables import COUNTS, SAMPLES, questioned_percentages


def split_wide(
    table: pd.DataFrame, source: Path | str, *, columns: Mapping[str, str], pattern: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a wide table into samples and long counts.

    Parameters
    ----------
    table
        First column the sample's id; every other column is a count of one cell type, or is named in `columns`.
    source
        Where it came from, for messages.
    columns
        Column of samples.tsv -> column of the table (`{"population": "group"}`).
    pattern
        Regular expression on the sample's id; its named groups become columns of samples.tsv.

    Returns
    -------
    The samples and the counts, as in the contracts.

    Raises
    ------
    AidaError
        For an absent column, an id the pattern does not match, or a count that is not a whole number >= 0.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["d1", "d2"], "group": ["Korean", "Thai"], "Treg": [3, 5], "other": [97, 95]})
    >>> samples, counts = split_wide(table, "table.csv", columns={"population": "group"})
    >>> samples["n_cells"].tolist(), counts["n_cells"].tolist()
    ([100, 100], [3, 97, 5, 95])
    """
    ids = table.iloc[:, 0].astype(str)
    if ids.duplicated().any():
        row = int(np.flatnonzero(ids.duplicated())[0])
        raise AidaError(f"{source}: column '{table.columns[0]}', row {row + 1}: value '{ids.iloc[row]}' occurs twice.")
    for target, column in columns.items():
        if column not in table.columns:
            raise AidaError(
                f"{source}: column '{column}' (for {target}) is missing. {did_you_mean(column, table.columns)}"
            )
    samples = pd.DataFrame({"sample_id": ids, **{target: table[column] for target, column in columns.items()}})
    if pattern is not None:
        found = ids.str.extract(pattern)
        missed = np.flatnonzero(found.isna().all(axis=1))
        if len(missed):
            raise AidaError(
                f"{source}: column '{table.columns[0]}', row {missed[0] + 1}: value '{ids.iloc[missed[0]]}' "
                f"does not match --id-pattern '{pattern}'."
            )
        samples = samples.assign(**{str(name): found[name] for name in re.compile(pattern).groupindex})
    if "population" not in samples:
        raise AidaError(
            f"{source}: no column says which population a sample belongs to. Name it (--column population=NAME) "
            "or take it from the id (--id-pattern '(?P<population>...)')."
        )
    samples = samples.assign(
        **{c: default for c, default in (("donor_id", ids), ("site", None), ("batch", None)) if c not in samples},
        **{c: default for c, default in (("sex", "unknown"), ("age", None), ("is_control", False)) if c not in samples},
    )
    types = [c for c in table.columns[1:] if c not in columns.values()]
    numbers = table[types].apply(pd.to_numeric, errors="coerce")
    wrong = np.argwhere(~((numbers >= 0) & (numbers == numbers.round())).to_numpy())
    if len(wrong):
        row, column = wrong[0]
        raise AidaError(
            f"{source}: column '{types[column]}', row {row + 1}: value '{table[types].iloc[row, column]}' must be a "
            "whole number of cells, 0 or more. If the column is not a cell type, name it with --column."
        )
    counts = pd.DataFrame(
        {
            "sample_id": np.repeat(ids.to_numpy(), len(types)),
            "annotator": "given",
            "cell_type": np.tile(np.asarray(types, dtype=object), len(ids)),
            "n_cells": numbers.to_numpy().astype(np.int64).ravel(),
        }
    )
    samples["n_cells"] = numbers.sum(axis=1).astype(np.int64)
    others = [c for c in samples.columns if c not in SAMPLES.names]
    return samples[[*SAMPLES.names, *others]], counts


def import_counts(path: Path, out: Path, *, columns: Mapping[str, str], pattern: str | None) -> None:
    """Turn a wide CSV or TSV of counts into `samples.tsv` and `counts.tsv`.

    Parameters
    ----------
    path
        The table; the separator (comma, tab, semicolon) is found from its first line.
    out
        Folder for the results.
    columns, pattern
        See `split_wide`.

    Raises
    ------
    AidaError
        See `split_wide`; also if the file is absent or not a table.
    """
    try:
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, na_values=[""])
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file.") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise AidaError(f"{path}: not a readable table ({error}).") from error
    table = table.rename(columns={table.columns[0]: "sample"} if table.columns[0].startswith("Unnamed") else {})
    samples, counts = split_wide(table, path, columns=columns, pattern=pattern)
    with staged(out, step="import-counts", inputs=[path], config={"columns": dict(columns), "pattern": pattern}) as d:
        SAMPLES.write(samples, d)
        COUNTS.write(counts, d)
    for text in questioned_percentages(counts, path):
        click.echo(f"aida-tools: {text}", err=True)
