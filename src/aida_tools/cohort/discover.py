"""The CZ CELLxGENE Discover API: which file a dataset is now, or was at a pinned version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from aida_tools.cohort.web import Client
from aida_tools.core.cohort_file import CellxgeneSource
from aida_tools.core.errors import AidaError

_ONLINE = "Check the connection to the internet and run the command again."


@dataclass(frozen=True)
class Dataset:
    """One version of a published dataset."""

    dataset_id: str
    version_id: str
    title: str
    citation: str
    schema_version: str
    n_cells: int | None
    url: str
    size: int | None
    """Bytes of the h5ad file."""
    newest_id: str
    """Newest published version; the same as `version_id` unless an older one is pinned."""


def resolve(source: CellxgeneSource, client: Client) -> Dataset:
    """Find the file of a dataset: the pinned version, or else the newest.

    Raises
    ------
    AidaError
        If there is no such dataset or version, it was withdrawn, or it has no h5ad file.
    """
    try:
        return _resolve(source, client)
    except (KeyError, TypeError, AttributeError) as error:
        raise AidaError(
            f"{source.api}: the answer is not as the Discover API documents it ({error!r}). Check 'source.api'."
        ) from error


def _resolve(source: CellxgeneSource, client: Client) -> Dataset:
    api = source.api.rstrip("/")
    newest = _ask(f"{api}/collections/{source.collection_id}/datasets/{source.dataset_id}", source, client)
    _check_there(newest, source)
    chosen = newest
    if source.version_id not in (None, newest["dataset_version_id"]):
        versions = _ask(f"{api}/datasets/{source.dataset_id}/versions", source, client)
        found = {v["dataset_version_id"]: v for v in versions}
        if source.version_id not in found:
            raise AidaError(
                f"key 'source.version_id', value '{source.version_id}': dataset {source.dataset_id} has no such "
                f"version. Published versions, newest first: {', '.join(found)}. Pin one of them, or remove the key."
            )
        chosen = found[source.version_id]
        _check_there(chosen, source)
    assets = {a.get("filetype"): a for a in chosen.get("assets", [])}
    if "H5AD" not in assets:
        raise AidaError(
            f"dataset {source.dataset_id}, version {chosen['dataset_version_id']}: it offers no H5AD file, only "
            f"{', '.join(map(str, assets)) or 'nothing'}. Pin another version under 'source.version_id'."
        )
    size = assets["H5AD"].get("filesize")
    return Dataset(
        dataset_id=source.dataset_id,
        version_id=chosen["dataset_version_id"],
        title=chosen.get("title", ""),
        citation=chosen.get("citation", ""),
        schema_version=chosen.get("schema_version", ""),
        n_cells=chosen.get("cell_count"),
        url=assets["H5AD"]["url"],
        size=int(size) if size and size > 0 else None,
        newest_id=newest["dataset_version_id"],
    )


def _ask(url: str, source: CellxgeneSource, client: Client) -> Any:
    def attempt() -> Any:
        with client.get(url, {"Accept": "application/json"}) as response:
            if response.status_code == 410:
                raise _withdrawn(source)
            if response.status_code == 404:
                raise AidaError(
                    f"{url}: the Discover API knows no such dataset. Check 'source.collection_id' "
                    f"({source.collection_id}) and 'source.dataset_id' ({source.dataset_id}) of the cohort file."
                )
            body = b"".join(client.chunks(response))
            try:
                if response.status_code != 200:
                    raise ValueError(f"{response.status_code} {response.reason}")
                return json.loads(body)
            except ValueError as error:
                raise AidaError(
                    f"{url}: not an answer of the Discover API ({error}). Check the key 'source.api'."
                ) from error

    return client.patiently(attempt, url, _ONLINE)


def _check_there(record: dict[str, Any], source: CellxgeneSource) -> None:
    if record.get("tombstone"):
        raise _withdrawn(source)


def _withdrawn(source: CellxgeneSource) -> AidaError:
    return AidaError(
        f"dataset {source.dataset_id}: its authors have withdrawn it from CELLxGENE Discover (all versions). See "
        f"https://cellxgene.cziscience.com/collections/{source.collection_id} for what replaces it and put its id "
        "under 'source.dataset_id'; or, if you hold a copy of the file, name it: source: {kind: h5ad, path: FILE}."
    )
