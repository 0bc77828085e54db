"""Getting a cohort's data: made, checked where they lie, read over HTTP ranges, or downloaded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aida_tools.cohort.published import get_published
from aida_tools.cohort.read import open_h5, read_obs
from aida_tools.cohort.remote import BLOCK
from aida_tools.cohort.source import DATA, SOURCE
from aida_tools.cohort.web import Patience
from aida_tools.core.cohort_file import CohortConfig, FileSource, SampleSource, load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.files import describe_file, staged, write_json


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
        get_published(cohort, cohort.source, cohort_path, out, patience, block)


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
        raise AidaError(f"{cohort_path}: key 'source.path', value '{source.path}': there is no file {path}.")
    read_obs(path, source.kind, {}, obs)
    if source.kind == "h5ad":
        with open_h5(path) as handle:
            if "X" not in handle and "raw" not in handle and "layers" not in handle:
                raise AidaError(f"{path}: an .h5ad file without a count matrix: it holds only {', '.join(handle)}.")
    record: dict[str, Any] = {"kind": source.kind, "format": source.kind, "path": str(path), "title": cohort.title}
    record |= {"obs": str(obs)} if obs else {}
    record |= _size_and_digest(path)
    if source.sha256 and record.get("sha256") != source.sha256.casefold():
        raise AidaError(
            f"{path}: its SHA-256 is {record.get('sha256', 'none, as a folder')}, but key 'source.sha256' of "
            f"{cohort_path} says {source.sha256}. The file is another one or damaged: get it again, or correct the key."
        )
    config = cohort.model_dump(mode="json")
    with staged(out, step="fetch", inputs=[cohort_path], config=config, details=record) as staging:
        write_json(staging / SOURCE, record)


def _size_and_digest(path: Path) -> dict[str, Any]:
    described = describe_file(path)
    if "files" in described:
        return {"files": described["files"]}
    return {"bytes": described["bytes"], "data_bytes": described["bytes"], "sha256": described["sha256"]}
