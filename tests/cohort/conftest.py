"""Fixtures of the cohort room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.cohort.tiny import COHORT, change, make_anndata, make_obs, write_h5ad


@pytest.fixture
def obs() -> pd.DataFrame:
    """A small obs table in the shape of AIDA v2, cell ids as index."""
    return make_obs()


@pytest.fixture
def h5ad(tmp_path: Path, obs: pd.DataFrame) -> Path:
    """The same as a file."""
    return write_h5ad(make_anndata(obs), tmp_path / "tiny.h5ad")


@pytest.fixture
def write_cohort(tmp_path: Path) -> Callable[..., Path]:
    """Write the cohort file with some keys replaced: `write_cohort(**{'labels.sets': {...}})`."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "cohort.yaml"
        path.write_text(yaml.safe_dump(change(COHORT, changes), sort_keys=False), encoding="utf-8")
        return path

    return write
