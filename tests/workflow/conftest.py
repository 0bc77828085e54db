"""Running the workflow as a user would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def snakemake(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run Snakemake on a run file, given as a mapping or a path; results go where the caller says."""

    def run(config: dict[str, Any] | Path, results: Path, *options: str) -> subprocess.CompletedProcess[str]:
        if isinstance(config, dict):
            path = tmp_path_factory.mktemp("run") / "run.yaml"
            path.write_text(yaml.safe_dump(config))
            config = path
        command = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--directory", root]
        command += ["--cores", "2", "--nolock", "--configfile", config, *options, "--config", f"results={results}"]
        return subprocess.run(list(map(str, command)), cwd=root, capture_output=True, text=True, check=False)

    return run
