"""Getting a cohort's data: made, checked where they lie, read over HTTP ranges, or downloaded."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import click
import h5py
import pandas as pd
from tqdm import tqdm

from aida_tools.cohort.discover import Dataset, resolve
from aida_tools.cohort.download import download
from aida_tools.cohort.read import explain_h5_error, obs_of_h5ad, open_h5, read_obs
from aida_tools.cohort.remote import BLOCK, NoRangesError, RemoteFile
from aida_tools.cohort.source import DATA, OBS, SOURCE
from aida_tools.cohort.web import Client, Patience
from aida_tools.config import CellxgeneSource, CohortConfig, FileSource, SampleSource, load_cohort
from aida_tools.errors import AidaError
from aida_tools.files import describe_file, staged, write_json


def fetch(cohort_path: Path, out: Path, *, patience: Patience | None = None, block: int = BLOCK) -> None:
    """Get the data of a cohort and describe them in `source.json`.

    Parameters
    ----------
    cohort_path
        The cohort file; `source.kind` says how.
    out
        Folder for `source.json` and, unless the data are local, `data.h5ad` or `obs.parquet`.
    patience
        Time-outs and retries for remote data.
    block
        Bytes per request when a remote file is read in part. Purely a matter of speed.

    Raises
    ------
    AidaError
        If the data cannot be had, are cut short, or are not those described.
    """
    cohort = load_cohort(cohort_path)
    if isinstance(cohort.source, SampleSource):
        _make_sample(cohort, cohort.source, cohort_path, out)
    elif isinstance(cohort.source, FileSource):
        _check_local(cohort, cohort.source, cohort_path, out)
    else:
        _get_remote(cohort, cohort.source, cohort_path, out, patience, block)


def _make_sample(cohort: CohortConfig, source: SampleSource, cohort_path: Path, out: Path) -> None:
    from aida_tools.sample.run import write_sample

    record: dict[str, Any] = {"kind": "sample", "format": "h5ad", "path": DATA, "title": cohort.title}
    config = cohort.model_dump(mode="json")
    with staged(out, step="fetch", inputs=[cohort_path], config=config, seed=source.seed, details=record) as staging:
        made = staging / "sample"
        write_sample(made, **source.model_dump(exclude={"kind"}))
        (made / "sample.h5ad").rename(staging / DATA)
        (made / "truth.json").rename(staging / "truth.json")
        shutil.rmtree(made)
        record |= _size_and_digest(staging / DATA) | {"synthetic": True, "seed": source.seed}
        write_json(staging / SOURCE, record)


def _check_local(cohort: CohortConfig, source: FileSource, cohort_path: Path, out: Path) -> None:
    """Check that a local file is whole and readable; it is named in `source.json`, not copied."""
    path = (cohort_path.parent / source.path).resolve()
    obs = (cohort_path.parent / source.obs).resolve() if source.obs else None
    if not path.exists():
        msg = f"{cohort_path}: key 'source.path', value '{source.path}': there is no file {path}."
        raise AidaError(msg)
    read_obs(path, source.kind, {}, obs)
    if source.kind == "h5ad":
        with open_h5(path) as handle:
            if "X" not in handle and "raw" not in handle and "layers" not in handle:
                msg = f"{path}: an .h5ad file without a count matrix: it holds only {', '.join(handle)}."
                raise AidaError(msg)
    record: dict[str, Any] = {"kind": source.kind, "format": source.kind, "path": str(path), "title": cohort.title}
    record |= {"obs": str(obs)} if obs else {}
    record |= _size_and_digest(path)
    if source.sha256 and record.get("sha256") != source.sha256.casefold():
        msg = (
            f"{path}: its SHA-256 is {record.get('sha256', 'none, as a folder')}, but key 'source.sha256' "
            f"of {cohort_path} says {source.sha256}. The file is another one or damaged: correct the one or the other."
        )
        raise AidaError(msg)
    config = cohort.model_dump(mode="json")
    with staged(out, step="fetch", inputs=[cohort_path], config=config, details=record) as staging:
        write_json(staging / SOURCE, record)


def _get_remote(
    cohort: CohortConfig, source: CellxgeneSource, cohort_path: Path, out: Path, patience: Patience | None, block: int
) -> None:
    """Resolve the version of a published dataset, and read its cell table or download it."""
    notes = []
    with Client(patience) as client:
        try:
            dataset = resolve(source, client)
        except AidaError as error:
            msg = f"{cohort_path}: {error}"
            raise AidaError(msg) from error
        if dataset.newest_id != dataset.version_id:
            notes.append(f"version {dataset.version_id} is pinned; a newer one exists: {dataset.newest_id}.")
        record: dict[str, Any] = {
            "kind": source.kind,
            "collection_id": source.collection_id,
            "dataset_id": dataset.dataset_id,
            "version_id": dataset.version_id,
            "newest_version_id": dataset.newest_id,
            "title": dataset.title,
            "citation": dataset.citation,
            "schema_version": dataset.schema_version,
            "n_cells": dataset.n_cells,
            "url": dataset.url,
        }
        config = cohort.model_dump(mode="json")
        publish = partial(staged, out, step="fetch", inputs=[cohort_path], config=config, details=record)
        if source.route == "obs":
            try:
                obs, remote = _read_remote_obs(dataset, client, block)
            except NoRangesError:
                notes.append("the server does not serve parts of files: the whole file was downloaded instead.")
                click.echo(f"aida-tools: {dataset.url}: {notes[-1].replace('was', 'is')}", err=True)
            else:
                record |= {"route": "obs", "format": "parquet", "path": OBS, "bytes": remote.size, "etag": remote.etag}
                record |= {"sha256": None, **_traffic(client, notes)}
                with publish() as staging:
                    obs.to_parquet(staging / OBS, index=False, compression="zstd")
                    record["data_bytes"] = (staging / OBS).stat().st_size
                    write_json(staging / SOURCE, record)
                return
        part = out / f"{DATA}.part"
        _make_folder(out)
        digest = download(client, dataset.url, part, size=dataset.size, sha256=source.sha256)
    _check_n_cells(len(read_obs(part, "h5ad", {})), dataset)
    size = part.stat().st_size
    record |= {"route": "full", "format": "h5ad", "path": DATA, "bytes": size, "data_bytes": size}
    record |= {"sha256": digest, **_traffic(client, notes)}
    with publish() as staging:
        part.rename(staging / DATA)
        write_json(staging / SOURCE, record)


def _read_remote_obs(dataset: Dataset, client: Client, block: int) -> tuple[pd.DataFrame, RemoteFile]:
    """Read all columns of the cell table of a remote h5ad file."""
    remote = RemoteFile(dataset.url, client, size=dataset.size, block=block)
    progress = partial(tqdm, desc="obs columns", unit="column", disable=None, leave=False)
    try:
        with h5py.File(remote, "r") as handle:
            obs = obs_of_h5ad(handle, None, dataset.url, progress=progress)
    except (OSError, KeyError) as error:
        # What went wrong on the way explains more than what HDF5 made of it.
        raise remote.failure or AidaError(explain_h5_error(dataset.url, error)) from error
    _check_n_cells(len(obs), dataset)
    return obs, remote


def _check_n_cells(found: int, dataset: Dataset) -> None:
    if dataset.n_cells is not None and found != dataset.n_cells:
        msg = (
            f"{dataset.url}: the file has {found} cells, but the Discover API announces {dataset.n_cells}. "
            "It is just being replaced, or damaged: run the command again later."
        )
        raise AidaError(msg)


def _traffic(client: Client, notes: list[str]) -> dict[str, Any]:
    return {"bytes_read": client.n_bytes, "requests": client.n_requests, "note": " ".join(notes)}


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--out {out}: cannot write there ({error.strerror}). Name a folder you may write to."
        raise AidaError(msg) from error


def _size_and_digest(path: Path) -> dict[str, Any]:
    described = describe_file(path)
    if "files" in described:
        return {"files": described["files"]}
    return {"bytes": described["bytes"], "data_bytes": described["bytes"], "sha256": described["sha256"]}
