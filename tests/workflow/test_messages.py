"""A wrong run file stops the workflow before any work, with one clear message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

pytestmark = pytest.mark.workflow
SAMPLE = "config/cohorts/sample.yaml"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"cohorts": [SAMPLE], "min_cell": 3}, "unknown key 'min_cell'. Did you mean 'min_cells'?"),
        ({"cohorts": [SAMPLE], "min_cells": 3}, "unknown key 'min_cells'. It belongs to the block 'compare'."),
        ({"cohorts": ["config/cohorts/absent.yaml"]}, "absent.yaml: there is no such file"),
        ({"cohorts": ["config/cohorts/aida_v2.yaml"], "annotators": ["gate"]}, "Set 'source.route: full'"),
    ],
)
def test_wrong_run_files(snakemake: Run, tmp_path: Path, run: dict[str, Any], expected: str) -> None:
    done = snakemake(run, tmp_path / "results", "--dry-run")
    assert done.returncode == 1
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()
