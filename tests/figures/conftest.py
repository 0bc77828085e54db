"""What figures are drawn from: the made-up comparison and the colours of its populations."""

from __future__ import annotations

from pathlib import Path

import pytest

from aida_tools.core.populations import load_populations
from aida_tools.figures.style import Palette
from aida_tools.results.results import Results, load_results


@pytest.fixture(scope="session")
def results(made_up: Path) -> Results:
    return load_results(made_up)


@pytest.fixture(scope="session")
def palette(root: Path) -> Palette:
    return Palette(load_populations(root / "config" / "populations.tsv"))
