"""The command line: its fixed names and signature, its exit codes, and what its start costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aida_tools.cli import main

FIXED = ("sample", "fetch", "inspect", "cells", "scan", "annotate", "counts", "compare", "figures", "report")
#: `aida-tools compare COUNTS.tsv SAMPLES.tsv --out DIR ...`: others script against it.
COMPARE_OPTIONS = (
    "--out", "--model", "--formula", "--contrast", "--one-vs-rest", "--denominator", "--focus", "--batch", "--site",
    "--min-cells", "--robust", "--no-robust", "--seed",
)  # fmt: skip


def test_help_lists_the_fixed_commands() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in FIXED)


def test_compare_keeps_its_signature() -> None:
    command = main.commands["compare"]
    options = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
    assert set(COMPARE_OPTIONS) <= options
    assert [p.name for p in command.params if isinstance(p, click.Argument)] == ["counts", "samples"]


@pytest.mark.parametrize("name", FIXED)
def test_every_command_is_described_and_writes_under_out(name: str) -> None:
    command = main.commands[name]
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option))
    if name != "inspect":
        assert any("--out" in p.opts for p in command.params)


def test_exit_codes(tmp_path: Path) -> None:
    """0 is success, 1 a clear message without a traceback, 2 wrong usage."""
    run = CliRunner().invoke
    assert run(main, ["--version"]).exit_code == 0
    assert run(main, ["counts"]).exit_code == 2
    result = run(main, ["inspect", str(tmp_path / "absent.h5ad")])
    assert result.exit_code == 1
    assert "absent.h5ad" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("module", ["cli", "config", "tables", "compose.run", "compare.run", "figures.run"])
def test_light_steps_do_not_import_scanpy(module: str) -> None:
    code = f"import sys, aida_tools.{module}; sys.exit(bool({{'scanpy', 'anndata', 'sklearn'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_never_imports_snakemake(root: Path) -> None:
    sources = sorted((root / "src").rglob("*.py"))
    assert sources
    assert not [p for p in sources if "import snakemake" in p.read_text() or "from snakemake" in p.read_text()]
