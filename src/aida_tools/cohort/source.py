"""What `fetch` leaves behind: `source.json`, and beside it or elsewhere the data it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aida_tools.core.errors import AidaError
from aida_tools.core.files import read_json

SOURCE = "source.json"
DATA = "data.h5ad"
OBS = "obs.parquet"


@dataclass(frozen=True)
class Fetched:
    """Data that are there and complete."""

    path: Path
    """File or folder with the data."""
    format: str
    """`h5ad`, `parquet` (cell table only), `10x-h5` or `10x-mtx`."""
    obs: Path | None
    """Annotations of 10x barcodes."""
    details: dict[str, Any]
    """All of `source.json`."""


def read_source(folder: Path) -> Fetched:
    """Find the data that `fetch` left in a folder.

    Raises
    ------
    AidaError
        If `fetch` has not finished there, or the data have changed size since.
    """
    file = folder / SOURCE
    details = read_json(
        file,
        absent=f"Run `aida-tools fetch COHORT.yaml --out {folder}` first.",
        broken="Run `aida-tools fetch` again.",
    )
    path = folder / details["path"]  # an absolute path stays what it is
    obs = folder / details["obs"] if details.get("obs") else None
    for needed in (path, obs):
        if needed is not None and not needed.exists():
            raise AidaError(f"{needed}: the data that {file} names are gone. Run `aida-tools fetch` again.")
    size = details.get("data_bytes")
    if size is not None and path.is_file() and path.stat().st_size != size:
        raise AidaError(
            f"{path}: {path.stat().st_size} bytes, but it had {size} when it was fetched. "
            "The file has changed: run `aida-tools fetch` again."
        )
    return Fetched(path, details["format"], obs, details)


def counts_file(folder: Path) -> Fetched:
    """Find data that hold a count matrix.

    Raises
    ------
    AidaError
        As `read_source`; also if only the cell table was fetched.
    """
    fetched = read_source(folder)
    if fetched.format == "parquet":
        raise AidaError(
            f"{folder / SOURCE}: only the cell table was fetched (route 'obs'), and this step needs counts. "
            "Set source.route to 'full' in the cohort file and run `aida-tools fetch` again (it downloads the file)."
        )
    return fetched
