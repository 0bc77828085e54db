"""A step that is registered from outside is a rule of the workflow, and the report waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.workflow
TOY = """
from aida_tools.core.options import option, options
from aida_tools.core.steps import Step, register

@options
class Toy:
    "What the toy plays."
    melody: str = option(default="none", help="What is played.")
    score: str = option(default="score.txt", help="A file to play from.")

register(Step("toy", "Play something.", Toy, print, files=("score",)))
"""


def test_a_registered_step_is_a_rule(root: Path, tmp_path: Path) -> None:
    # Python imports a module of this name at its start, in Snakemake as in each of its jobs.
    (tmp_path / "sitecustomize.py").write_text(TOY)
    (tmp_path / "score.txt").touch()
    (tmp_path / "run.yaml").write_text(
        "cohorts: [config/cohorts/sample.yaml]\nannotators: [author]\n"
        f"toy: {{melody: a fuga, score: {tmp_path}/score.txt}}\n"
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", root / "Snakefile", "--directory", root, "--nolock"]
    command += ["--cores", "1", "--dry-run", "--printshellcmds", "--configfile", tmp_path / "run.yaml"]
    command += ["--config", f"results={tmp_path}/results"]
    path = os.pathsep.join([str(tmp_path), str(root / "src")])
    done = subprocess.run(
        list(map(str, command)),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    sample = f"{tmp_path}/results/sample"
    assert f"aida-tools toy {sample}/compare '--melody=a fuga' --score={tmp_path}/score.txt --out {sample}/toy" in said
    assert f"--also={sample}/toy" in said
    rule = said.partition("rule step_toy:")[2].partition("output:")[0]
    assert f"{tmp_path}/score.txt" in rule
