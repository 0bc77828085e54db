"""Writing results: all or nothing, with their provenance beside them."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aida_tools.core.errors import AidaError

#: When the command that runs in this process began; a library call has no such moment and counts from its block.
_command_began: dt.datetime | None = None
#: Folders that were written since then.
_published: list[Path] = []

#: Packages whose version can change a number or a picture.
_PACKAGES = (
    "aida-tools",
    "anndata",
    "h5py",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "scanpy",
    "scipy",
)


def mark_start() -> None:
    """Note that a command begins now, for the provenance of what it writes."""
    global _command_began
    _published.clear()
    _command_began = dt.datetime.now(dt.UTC)


def published() -> list[Path]:
    """Return the folders that were written since the command began."""
    # A step within a step writes into a folder that is gone by the end.
    return [folder for folder in _published if folder.is_dir()]


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """Describe an input file for the provenance record.

    Returns
    -------
    Its name, size in bytes and SHA-256 digest. Folders are described by their files.
    """
    if path.is_dir():
        return {"path": path.name, "files": [describe_file(p) for p in sorted(path.iterdir()) if p.is_file()]}
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented, UTF-8 JSON."""
    path.write_text(
        json.dumps(value, indent=2, ensure_ascii=False, default=str, allow_nan=False) + "\n", encoding="utf-8"
    )


def read_json(path: Path, *, absent: str, broken: str) -> Any:
    """Read a JSON file that an earlier step wrote.

    Parameters
    ----------
    path
        The file.
    absent, broken
        What to do when there is no such file, and when it is not JSON: the end of the message.

    Raises
    ------
    AidaError
        Naming the file and the fix.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file. {absent}") from error
    except ValueError as error:
        raise AidaError(f"{path}: not valid JSON ({error}). {broken}") from error


@contextmanager
def staged(
    out: Path,
    *,
    step: str,
    inputs: Iterable[Path] = (),
    config: Mapping[str, Any] | None = None,
    seed: int | None = None,
    details: dict[str, Any] | None = None,
) -> Iterator[Path]:
    """Give a folder to write results into; publish them under `out` only if the block succeeds.

    Parameters
    ----------
    out
        Folder the results end up in; made if absent. Other files in it are left alone.
    step
        Name of the command, for the provenance record.
    inputs
        Files that were read: their sizes and digests are recorded.
    config
        The resolved options of the step.
    seed
        Seed of the random numbers, if any were drawn.
    details
        Further facts for the record (data set version, row counts ...). The block may add to it.

    Yields
    ------
    A temporary folder inside `out`. On success its files are moved to `out` with `provenance.json`
    beside them; on any error, or Ctrl-C, it is removed and nothing appears under a final name.
    """
    existed = out.exists()
    if existed and not out.is_dir():
        raise AidaError(f"--out {out}: this is a file; name a folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    except OSError as error:
        raise AidaError(
            f"--out {out}: cannot write there ({error.strerror}). Name a folder you may write to."
        ) from error
    started = _command_began or dt.datetime.now(dt.UTC)
    try:
        yield staging
        record = {
            "step": step,
            "command": " ".join(["aida-tools", *sys.argv[1:]]),
            "started": started.isoformat(timespec="seconds"),
            "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "config": dict(config or {}),
            "inputs": [describe_file(Path(p)) for p in inputs],
            "details": details or {},
            "python": platform.python_version(),
            "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        }
        write_json(staging / "provenance.json", record)
        for path in sorted(staging.rglob("*")):
            if path.is_file():
                target = out / path.relative_to(staging)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed:
            shutil.rmtree(out, ignore_errors=True)
        raise
    shutil.rmtree(staging, ignore_errors=True)
    _published.append(out)


def file_of(path: Path, name: str) -> Path:
    """Return a file that was named by itself or by its folder."""
    return path / name if path.is_dir() else path
