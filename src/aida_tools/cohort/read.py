"""Reading the cell table (`obs`) of a file, and nothing else: the count matrix stays on the disk."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
import h5py
import pandas as pd

from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.words import left_out

#: Name under which the cell ids (obs names, barcodes) stand in every table of this room.
INDEX = "_index"


def open_h5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    AidaError
        If it is absent, not HDF5, or cut short.
    """
    try:
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise AidaError(explain_h5_error(path, error)) from error


def explain_h5_error(path: Path | str, error: Exception) -> str:
    """Say in words what HDF5's message about an unreadable file means."""
    text = str(error)
    if "truncated" in text or "eof" in text:
        return f"{path}: the HDF5 file is cut short ({text}). Get it again, whole: `aida-tools fetch` resumes."
    if "signature" in text:
        return f"{path}: this is not an HDF5 file. An .h5ad or 10x .h5 file is wanted, not compressed."
    if isinstance(error, KeyError):
        return f"{path}: the file is incomplete ({error}). Get it again, or write it anew with anndata."
    return f"{path}: the HDF5 file cannot be read ({text}). It may be damaged: get it again."


def read_obs(path: Path, kind: str, columns: Mapping[str, str] | None = None, obs: Path | None = None) -> pd.DataFrame:
    """Read columns of the cell table of a file.

    Parameters
    ----------
    path
        The file or folder.
    kind
        `h5ad`, `parquet` (an obs table fetched alone), `10x-h5` or `10x-mtx`.
    columns
        The obs columns to read -> the key of the cohort file that asks for each (for the message).
        All columns by default.
    obs
        For 10x input: TSV or CSV of cell annotations; its first column is the barcode.

    Returns
    -------
    Table with the cell ids in column `_index` first, shape (n_cells, n_columns + 1), in file order.

    Raises
    ------
    AidaError
        If the file cannot be read, or lacks a column; it names the nearest one.
    """
    if kind == "parquet":
        return _read_parquet(path, columns)
    if kind == "h5ad":
        with open_h5(path) as handle:
            try:
                return obs_of_h5ad(handle, columns, path)
            except (OSError, KeyError) as error:
                raise AidaError(explain_h5_error(path, error)) from error
    barcodes = _barcodes_h5(path) if kind == "10x-h5" else _barcodes_mtx(path)
    return _annotate_barcodes(barcodes, columns, path, obs)


def obs_of_h5ad(
    handle: h5py.File, columns: Mapping[str, str] | None, source: Path | str, *, progress: Any = None
) -> pd.DataFrame:
    """Read columns of `/obs` of an open h5ad file, column by column; see `read_obs`.

    Parameters
    ----------
    handle
        The open file, local or remote.
    columns
        As in `read_obs`.
    source
        The file, for messages.
    progress
        A function that wraps the list of column names, such as `tqdm`.
    """
    from anndata.io import read_elem

    if "obs" not in handle:
        raise AidaError(
            f"{source}: the file has no cell table (/obs), so it is not an .h5ad file. Found: {', '.join(handle)}."
        )
    group = handle["obs"]
    if isinstance(group, h5py.Dataset) or group.attrs.get("encoding-version") != "0.2.0":
        table = _old_obs(handle)
        return _tidy(table[[INDEX, *_select(table.columns[1:], columns, source)]])
    names = [str(n) for n in group.attrs["column-order"]]
    wanted = _select(names, columns, source)
    index = str(group.attrs[INDEX])
    read = {INDEX: index, **{name: name for name in wanted}}
    parts = {name: read_elem(group[place]) for name, place in (progress or iter)(read.items())}
    return _tidy(pd.DataFrame(parts))


def _old_obs(handle: h5py.File) -> pd.DataFrame:
    """Read the whole cell table of anndata 0.7 (levels in `obs/__categories`) or earlier (levels in `uns`)."""
    from anndata.io import read_elem

    with warnings.catch_warnings():
        # anndata warns that the format is old; whoever published the file knows.
        warnings.filterwarnings("ignore", message=".*without encoding metadata.*")
        if isinstance(handle["obs"], h5py.Group):
            table = cast("pd.DataFrame", read_elem(handle["obs"]))
            table.insert(0, INDEX, table.index.astype(str))
            return table
    records = handle["obs"][:]
    table = pd.DataFrame({name: records[name] for name in records.dtype.names})
    for name in table:
        levels = handle.get(f"uns/{name}_categories")
        if levels is not None:
            table[name] = pd.Categorical.from_codes(records[name], categories=pd.Index(_text(levels[:])))
        elif table[name].dtype.kind in "OS":
            table[name] = _text(records[name])
    return table.rename(columns={table.columns[0]: INDEX})


def _text(values: Iterable[Any]) -> list[Any]:
    return [v.decode("utf-8") if isinstance(v, bytes) else v for v in values]


def _select(names: Iterable[str], columns: Mapping[str, str] | None, source: Path | str) -> list[str]:
    """Return the wanted columns, in the order asked for."""
    names = list(names)
    if columns is None:
        return [n for n in names if n != INDEX]
    for name, key in columns.items():
        if name not in names and name != INDEX:
            raise AidaError(
                f"{source}: there is no obs column '{name}', which the cohort file names under '{key}'. "
                f"{did_you_mean(name, names)} Correct the name there (`aida-tools inspect` lists the columns)."
            )
    return [n for n in columns if n != INDEX]


def _tidy(table: pd.DataFrame) -> pd.DataFrame:
    table = table.reset_index(drop=True)
    table[INDEX] = table[INDEX].astype(str)
    return table


def _read_parquet(path: Path, columns: Mapping[str, str] | None) -> pd.DataFrame:
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        wanted = _select(names, columns, path)
        return pd.read_parquet(path, columns=[INDEX, *wanted])
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:
        raise AidaError(f"{path}: not a readable Parquet file ({error}). Run `aida-tools fetch` again.") from error


def _barcodes_h5(path: Path) -> Sequence[str]:
    """Read the barcodes of a 10x `.h5` file of Cell Ranger 2 (one group a genome) or later (`/matrix`)."""
    with open_h5(path) as handle:
        groups = [g for g in handle if isinstance(handle[g], h5py.Group) and "barcodes" in handle[g]]
        if len(groups) != 1:
            found = f"matrices of several genomes ({', '.join(groups)})" if groups else "no barcodes"
            raise AidaError(f"{path}: not a 10x .h5 matrix of one genome: it holds {found}.")
        return list(handle[groups[0]]["barcodes"].asstr()[:])


def _barcodes_mtx(path: Path) -> Sequence[str]:
    """Read the barcodes of a 10x folder (`barcodes.tsv.gz`, or `barcodes.tsv` of Cell Ranger 2)."""
    for name in ("barcodes.tsv.gz", "barcodes.tsv"):
        file = path / name
        if file.is_file():
            raw = file.read_bytes()
            try:
                text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8")
            except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
                raise AidaError(
                    f"{file}: cannot be read ({error}). It is cut short or not what its name says: get it again."
                ) from error
            return [line.split("\t")[0] for line in text.splitlines() if line]
    what = "a folder without barcodes.tsv.gz" if path.is_dir() else "not a folder"
    raise AidaError(f"{path}: {what}. A 10x folder holds matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz.")


def _annotate_barcodes(
    barcodes: Sequence[str], columns: Mapping[str, str] | None, path: Path, obs: Path | None
) -> pd.DataFrame:
    """Put the user's cell annotations beside the barcodes of a 10x matrix."""
    table = pd.DataFrame({INDEX: pd.Series(list(barcodes), dtype=str)})
    if obs is None:
        _select([], columns, f"{path} (10x input without annotations: key 'source.obs')")
        return table
    try:
        notes = pd.read_csv(obs, sep="," if obs.suffix == ".csv" else "\t", dtype={0: str})
    except FileNotFoundError as error:
        raise AidaError(f"{obs}: there is no such file (key 'source.obs' of the cohort file).") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AidaError(f"{obs}: not a readable table ({error}).") from error
    key = notes.columns[0]
    repeated = notes[key][notes[key].duplicated()]
    if len(repeated):
        raise AidaError(
            f"{obs}: column '{key}', row {repeated.index[0] + 1}: barcode '{repeated.iloc[0]}' occurs twice."
        )
    place = pd.Index(notes[key]).get_indexer(table[INDEX])
    missing = (place < 0).nonzero()[0]
    if len(missing):
        raise AidaError(
            f"{obs}: column '{key}' lacks barcode '{barcodes[missing[0]]}' of {path} ({len(missing)} of "
            f"{len(barcodes)} cells). Annotate every cell, or filter the matrix to the annotated ones."
        )
    if len(notes) > len(table):
        text = left_out(
            "row", len(notes) - len(table), len(notes), {"barcode not in the matrix": len(notes) - len(table)}
        )
        click.echo(f"aida-tools: {obs}: not used: {text}", err=True)
    wanted = _select(notes.columns[1:], columns, obs)
    return pd.concat([table, notes[wanted].iloc[place].reset_index(drop=True)], axis=1)
