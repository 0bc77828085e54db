"""A made-up comparison, and its figures' common inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from aida_tools.compare.results import Results, load_results
from aida_tools.config import load_populations
from aida_tools.figures.style import Palette
from tests.figures.made_compare import write_compare


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_compare(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="session")
def results(compared: Path) -> Results:
    return load_results(compared)


@pytest.fixture(scope="session")
def palette(root: Path) -> Palette:
    return Palette(load_populations(root / "config" / "populations.tsv"))
