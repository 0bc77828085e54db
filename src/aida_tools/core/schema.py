"""Tables as contracts: what a file holds, declared by the room that writes it and checked by everyone who reads it.

TSV files are UTF-8 with a header and no index; Parquet is zstd; missing is empty or null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa
from pandas.api.types import is_numeric_dtype
from pandera.errors import SchemaErrors

from aida_tools.core.errors import AidaError, did_you_mean

Kind = Literal["text", "number", "whole", "flag"]
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


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
        raise AidaError(f"{path}: there is no such file.") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise AidaError(f"{path}: not a readable tab-separated table ({error}).") from error
    if table.shape[1] == 1 and "," in str(table.columns[0]):
        raise AidaError(f"{path}: the columns are separated by commas; a tab-separated table (TSV) is wanted.")
    return table


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as TSV: UTF-8, header, no index, missing as empty."""
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")


def read_parquet(path: Path, columns: Sequence[str], *, more: bool = False) -> pd.DataFrame:
    """Read columns of a Parquet file.

    Parameters
    ----------
    path
        The file.
    columns
        The columns it must have.
    more
        Whether to read its other columns too.

    Raises
    ------
    AidaError
        If the file is absent, is not Parquet, or lacks a column.
    """
    import pyarrow.parquet as pq

    try:
        present = pq.read_schema(path).names
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:
        raise AidaError(f"{path}: not a Parquet file ({error}).") from error
    for column in columns:
        if column not in present:
            raise AidaError(f"{path}: column '{column}' is missing. {did_you_mean(column, present)}")
    return pd.read_parquet(path, columns=None if more else list(columns))


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as zstd-compressed Parquet, without an index."""
    table.to_parquet(path, index=False, compression="zstd")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        Its header.
    kind
        `text`, `number`, `whole` (a whole number) or `flag` (true or false).
    what
        What it holds, in words.
    unit
        Unit of a number; empty for a share, a probability or a ratio.
    low, high
        Range of a number, both included.
    levels
        The values a text may have; any if empty.
    empty
        Whether a value may be missing.
    unique
        Whether no value may stand there twice.
    """

    name: str
    kind: Kind
    what: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    empty: bool = True
    unique: bool = False

    @property
    def range(self) -> str:
        """The values it may have, in words: `a number from 0 to 120 (years)`."""
        if self.levels:
            return f"one of {', '.join(self.levels)}"
        words = {"text": "text", "number": "a number", "whole": "a whole number", "flag": "true or false"}[self.kind]
        if self.low is not None:
            words += f" of {self.low:g} or more" if self.high is None else f" from {self.low:g} to {self.high:g}"
        return f"{words} ({self.unit})" if self.unit else words

    @property
    def _dtype(self) -> Any:
        """Type in memory; of whole numbers and flags, one that takes missing values only where there may be some."""
        if self.kind == "whole":
            return "Int64" if self.empty else int
        if self.kind == "flag":
            return "boolean" if self.empty else bool
        return str if self.kind == "text" else float

    def cast(self, values: pd.Series) -> pd.Series:
        """Return made values in its type; numbers that happen to be whole stay as they were made."""
        return values if self.kind == "number" and is_numeric_dtype(values) else values.astype(self._dtype)

    def parse(self, values: pd.Series) -> pd.Series:
        """Return the words for true and false as such; any other value as it is."""
        return values.map(lambda v: _FLAGS.get(str(v).strip().casefold(), v)) if self.kind == "flag" else values

    def typed(self, values: pd.Series) -> pd.Series:
        """Return values that passed the check in its type."""
        return values.astype(self._dtype)

    @cached_property
    def schema(self) -> pa.Column:
        """Its check, of values that were parsed."""
        checks = []
        if self.levels:
            checks.append(pa.Check.isin(self.levels, error=self.range))
        if self.kind == "flag":
            checks.append(pa.Check.isin([True, False], error=self.range))
        if self.kind == "whole":
            checks.append(pa.Check(lambda v: v == v.round(), error=self.range))
        ends = ((pa.Check.ge, self.low), (pa.Check.le, self.high))
        checks += [make(end, error=self.range) for make, end in ends if end is not None]
        dtype = {"text": str, "flag": None}.get(self.kind, float)
        return pa.Column(dtype, checks=checks, nullable=self.empty, unique=self.unique, coerce=dtype is not None)


def text(name: str, what: str = "", *, levels: Iterable[str] = (), empty: bool = True, unique: bool = False) -> Column:
    """Describe a column of names or sentences."""
    return Column(name, "text", what, levels=tuple(levels), empty=empty, unique=unique)


def number(
    name: str,
    what: str = "",
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    empty: bool = True,
) -> Column:
    """Describe a column of real numbers."""
    return Column(name, "number", what, unit, low, high, empty=empty)


def share(name: str, what: str = "", *, empty: bool = True) -> Column:
    """Describe a column of shares or probabilities, from 0 to 1."""
    return Column(name, "number", what, low=0, high=1, empty=empty)


def whole(name: str, what: str = "", *, unit: str = "", low: float | None = 0, empty: bool = True) -> Column:
    """Describe a column of whole numbers."""
    return Column(name, "whole", what, unit, low, empty=empty)


def flag(name: str, what: str = "", *, empty: bool = False) -> Column:
    """Describe a column of true and false."""
    return Column(name, "flag", what, empty=empty)


@dataclass(frozen=True, eq=False)
class Table:
    """One table that a step writes.

    Attributes
    ----------
    name
        Stem of its file: `site_bound` for `site_bound.tsv`.
    step
        The command that writes it.
    what
        What a row is, in a sentence.
    columns
        Its columns, in the order of the file.
    open
        What further columns there may be (the covariates of a cohort), in words; empty if there are none.
    form
        `tsv` or `parquet`.
    title, section, note
        Its heading on the page, the key of the section it stands in, and a sentence above it. Without a title it is
        not on the page, or the room places it itself.
    shown
        The columns that the page shows; all if empty.
    """

    name: str
    step: str
    what: str
    columns: tuple[Column, ...]
    open: str = ""
    form: Literal["tsv", "parquet"] = "tsv"
    title: str = ""
    section: str = ""
    note: str = ""
    shown: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.{self.form}"

    @cached_property
    def names(self) -> list[str]:
        """Names of its columns."""
        return [column.name for column in self.columns]

    @cached_property
    def _schema(self) -> pa.DataFrameSchema:
        return pa.DataFrameSchema({c.name: c.schema for c in self.columns})

    def _ordered(self, table: pd.DataFrame) -> list[str]:
        return [*self.names, *(c for c in table.columns if self.open and c not in self.names)]

    def frame(self, rows: Iterable[Mapping[str, Any]] | pd.DataFrame = ()) -> pd.DataFrame:
        """Return rows as the table: its columns in their order and types; what a row lacks is missing."""
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        table = table.reindex(columns=self._ordered(table))
        return table.assign(**{c.name: c.cast(table[c.name]) for c in self.columns})

    def join(self, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
        """Return the rows of several tables, made apart, as one."""
        return pd.concat([self.frame(), *map(self.frame, parts)], ignore_index=True)

    def check(self, table: pd.DataFrame, source: Path | str) -> pd.DataFrame:
        """Check a table, however it came in.

        Parameters
        ----------
        table
            The table as read; left as it is.
        source
            The file it came from, for the message.

        Returns
        -------
        Its columns in their order and types; then others if it is open to them, as numbers if all their values are.

        Raises
        ------
        AidaError
            Naming file, column, row (1 is the first row below the header) and value of the first mistake,
            and how many there are.
        """
        for name in self.names:
            if name not in table.columns:
                hint = did_you_mean(name, [c for c in table.columns if c not in self.names])
                raise AidaError(f"{source}: column '{name}' is missing. {hint} Add or rename the column.")
        table = table[self._ordered(table)].reset_index(drop=True)
        table = table.assign(**{c.name: c.parse(table[c.name]) for c in self.columns})
        try:
            table = self._schema.validate(table, lazy=True)
        except SchemaErrors as errors:
            failures = errors.failure_cases
        else:
            typed = {c.name: c.typed(table[c.name]) for c in self.columns}
            return table.assign(**typed, **{c: _numbers(table[c]) for c in table.columns.difference(self.names)})
        first = failures.iloc[0]
        wanted = str(first["check"])
        if wanted.startswith(("coerce_dtype", "dtype")):
            wanted = self.columns[self.names.index(first["column"])].range
        elif wanted == "not_nullable":
            wanted = "a value (it is empty)"
        elif wanted == "field_uniqueness":
            wanted = "unique; it occurs more than once"
        row = "" if pd.isna(first["index"]) else f", row {int(first['index']) + 1}"
        more = f" ({len(failures)} such values in all.)" if len(failures) > 1 else ""
        raise AidaError(
            f"{source}: column '{first['column']}'{row}: value '{first['failure_case']}' must be {wanted}.{more}"
        )

    def read(self, folder: Path) -> pd.DataFrame:
        """Read the table in a folder; a TSV is checked, of a Parquet file only the columns.

        Raises
        ------
        AidaError
            If it is absent, or naming column, row and value of the first mistake.
        """
        path = folder / self.file
        if self.form == "parquet":
            return read_parquet(path, self.names, more=bool(self.open))
        return self.check(read_tsv(path), path)

    def write(self, table: pd.DataFrame, folder: Path) -> None:
        """Write the table into a folder."""
        write = write_parquet if self.form == "parquet" else write_tsv
        write(table[self._ordered(table)], folder / self.file)


def _numbers(values: pd.Series) -> pd.Series:
    """Return values as numbers if all that are known are."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().any() and (numbers.notna() == values.notna()).all() else values


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write declared TSV tables, given by their names, into a folder."""
    for name, table in tables.items():
        TABLES[f"{name}.tsv"].write(table, folder)


#: File -> table; those of a step in the order it declares them.
TABLES: dict[str, Table] = {}


def declare(table: Table) -> Table:
    """Add a table: results hold it, the docs list it and, if it has a title, the page shows it."""
    TABLES[table.file] = table
    return table
