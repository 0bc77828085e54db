"""Fixtures every room's tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from threadpoolctl import threadpool_limits

from tests.figures.made_compare import write_compare
from tests.small import make_small_run

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the commands: the matrices are small, and threads of the linear algebra library only wait."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of small real data sets beside the checkout; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return the folder of a name, which all processes of a parallel test run share: the first makes it, others wait.

    What makes it gets the path of the folder. It may be made elsewhere and moved, so nothing in it may name its place.
    """
    own = tmp_path_factory.getbasetemp()

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = (own if worker_id == "master" else own.parent) / name
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                partial = folder.with_name(f"{name}.partial")
                make(partial)
                partial.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def small_run(root: Path, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The results of one small run of the sample cohort; see `make_small_run`. To be read, not written into."""
    return once("small", lambda folder: make_small_run(root, folder)) / "results" / "sample"


@pytest.fixture(scope="session")
def made_up(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The folder of a made-up comparison; see `write_compare`. To be read, not written into."""
    return once("made-up", write_compare)
