"""Getting a dataset of CZ CELLxGENE Discover: its cell table over HTTP ranges, or the whole file."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
import h5py
import pandas as pd
from tqdm import tqdm

from aida_tools.cohort.discover import Dataset, resolve
from aida_tools.cohort.download import download
from aida_tools.cohort.read import explain_h5_error, obs_of_h5ad, read_obs
from aida_tools.cohort.remote import NoRangesError, RemoteFile
from aida_tools.cohort.source import DATA, OBS, SOURCE
from aida_tools.cohort.web import Client, Patience
from aida_tools.core.cohort_file import CellxgeneSource, CohortConfig
from aida_tools.core.errors import AidaError
from aida_tools.core.files import sha256, staged, write_json


def get_published(
    cohort: CohortConfig, source: CellxgeneSource, cohort_path: Path, out: Path, patience: Patience | None, block: int
) -> None:
    """Resolve the version of a published dataset, and read its cell table or download it.

    What an earlier run left of the same version is kept: a change of the cohort file costs no second download.
    """
    notes: list[str] = []
    with Client(patience) as client:
        try:
            dataset = resolve(source, client)
        except AidaError as error:
            raise AidaError(f"{cohort_path}: {error}") from error
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
        part = None
        kept = _kept(out, dataset, source)
        if kept:
            notes.append("the data were there from an earlier run.")
        elif source.route == "obs":
            try:
                obs, remote = _read_remote_obs(dataset, client, block)
            except NoRangesError:
                notes.append("the server does not serve parts of files: the whole file was downloaded instead.")
                click.echo(f"aida-tools: {dataset.url}: {notes[-1].replace('was', 'is')}", err=True)
            else:
                part = _part(out, OBS)
                obs.to_parquet(part, index=False, compression="zstd")
                record |= {"route": "obs", "format": "parquet", "path": OBS, "bytes": remote.size, "etag": remote.etag}
                record |= {"sha256": None, "data_bytes": part.stat().st_size}
        if not kept and part is None:
            part = _part(out, DATA)
            digest = download(client, dataset.url, part, size=dataset.size, sha256=source.sha256)
            _check_n_cells(len(read_obs(part, "h5ad", {})), dataset)
            size = part.stat().st_size
            record |= {"route": "full", "format": "h5ad", "path": DATA, "bytes": size, "sha256": digest}
            record |= {"data_bytes": size}
        record |= kept | {"bytes_read": client.n_bytes, "requests": client.n_requests, "note": " ".join(notes)}
    config = cohort.model_dump(mode="json")
    with staged(out, step="fetch", inputs=[cohort_path], config=config, details=record) as staging:
        if part is not None:
            part.rename(staging / record["path"])
        write_json(staging / SOURCE, record)


def _kept(out: Path, dataset: Dataset, source: CellxgeneSource) -> dict[str, Any]:
    """Return what an earlier run recorded of the data in `out`, if they are those wanted now and unchanged."""
    try:
        # Not source.json: a workflow removes that before it runs a step again.
        details = json.loads((out / "provenance.json").read_text(encoding="utf-8"))["details"]
        path = out / details["path"]
        same = details["version_id"] == dataset.version_id and details["route"] in ("full", source.route)
        whole = path.stat().st_size == details["data_bytes"]
        digest = details["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    expected = source.sha256.casefold() if source.sha256 else digest
    if not (same and whole) or (digest is not None and not digest == expected == sha256(path)):
        return {}
    keys = ("route", "format", "path", "bytes", "etag", "sha256", "data_bytes")
    return {key: details[key] for key in keys if key in details}


def _part(out: Path, name: str) -> Path:
    """Return where to write a file that is not whole yet, and make its folder."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AidaError(
            f"--out {out}: cannot write there ({error.strerror}). Name a folder you may write to."
        ) from error
    return out / f"{name}.part"


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
        raise AidaError(
            f"{dataset.url}: the file has {found} cells, but the Discover API announces {dataset.n_cells}. "
            "It is just being replaced, or damaged: run the command again later."
        )
