"""The wheel that users install: built from the sources, put into an environment of its own, and asked what it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

import aida_tools


def run(*command: object, cwd: Path) -> str:
    # Neither the sources on the path nor, for so few cells, compiled kernels: they do the same uncompiled.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, root, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without this package that sees the dependencies of the running one: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel,
        cwd=folder,
    )  # fmt: skip
    # After the install, and as a plain path: the editable install of this project there is not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_every_file_of_the_package_is_in_the_wheel(root: Path, wheel: Path) -> None:
    listed = run("git", "ls-files", "src/aida_tools", cwd=root).split()
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {Path(name).relative_to("src").as_posix() for name in listed if (root / name).exists()}
    assert len(wanted) > 50
    assert wanted <= packed
    assert {"aida_tools/py.typed", "aida_tools/sample/types.tsv", "aida_tools/report/page.html.j2"} <= packed
    assert [name for name in packed if name.endswith("licenses/LICENSE")]
    assert not [name for name in packed if name.startswith(("tests/", "docs/", "notebooks/"))]


def test_the_installed_command_and_package_work_away_from_the_sources(fresh: Path, tmp_path: Path) -> None:
    code = "import aida_tools as a; print(a.__file__); print(a.__version__); print(a.compare_populations.__module__)"
    where, version, module = run(fresh / "python", "-c", code, cwd=tmp_path).split()
    assert Path(where).is_relative_to(fresh.parent), "the installed wheel, not the sources"
    assert version == aida_tools.__version__
    assert module == "aida_tools.api"
    assert f"version {version}" in run(fresh / "aida-tools", "--version", cwd=tmp_path)
    few = ("--donors-per-batch", 2, "--cells-per-donor", 20, "--batches", "SG=1")
    run(fresh / "aida-tools", "sample", *few, "--out", "made", cwd=tmp_path)
    assert (tmp_path / "made" / "sample.h5ad").stat().st_size > 0


def test_the_tables_of_config_come_with_the_package(root: Path, fresh: Path, tmp_path: Path) -> None:
    """In an empty folder nothing but the cohort file is named; one process, as importing takes most of the time."""
    cohort = yaml.safe_load((root / "config" / "cohorts" / "sample.yaml").read_text())
    cohort["source"] |= {"donors_per_batch": 2, "cells_per_donor": 20, "batches": {"SG": 1, "KR": 1}}
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(cohort))
    commands = (
        "fetch cohort.yaml --out fetch", "cells cohort.yaml fetch --out cells", "scan cohort.yaml fetch --out scan",
        "annotate cohort.yaml cells scan --annotator gate --out gate",
    )  # fmt: skip
    code = "import sys; from aida_tools.cli import main; [main(c.split(), standalone_mode=False) for c in sys.argv[1:]]"
    run(fresh / "python", "-c", code, *commands, cwd=tmp_path)
    labels = pd.read_parquet(tmp_path / "gate" / "labels.parquet")
    assert {"Treg", "B"} <= set(labels["cell_type"])
    inputs = json.loads((tmp_path / "cells" / "provenance.json").read_text())["inputs"]
    populations = root / "config" / "populations.tsv"
    assert {"path": "populations.tsv", "bytes": populations.stat().st_size} in [
        {key: entry.get(key) for key in ("path", "bytes")} for entry in inputs
    ]


def test_a_file_in_config_here_comes_first(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "claims.yaml").write_text("")
    code = "from aida_tools.core.defaults import default_file as d; print(d('claims.yaml'), d('populations.tsv'))"
    here, packaged = run(fresh / "python", "-c", code, cwd=tmp_path).split()
    assert here == "config/claims.yaml"
    assert Path(packaged).is_relative_to(fresh.parent)
