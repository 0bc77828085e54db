"""The command line: its fixed names and signature, its exit codes, and what its start costs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aida_tools.cli import _NEXT, main, next_step

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


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_is_described_and_writes_under_out(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option))
    if name not in ("inspect", "classifier"):
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


def test_light_steps_do_not_import_scanpy() -> None:
    """One after the other in one process: the first that does is named."""
    modules = ["cli", "runs", "core.tables", "compose.run", "compare.run", "figures.run"]
    code = (
        f"import sys, importlib\nfor m in {modules}:\n    importlib.import_module(f'aida_tools.{{m}}')\n"
        "    heavy = {'scanpy', 'anndata', 'sklearn'} & set(sys.modules)\n"
        "    assert not heavy, f'{m} imports {heavy}'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_never_imports_snakemake(root: Path) -> None:
    sources = sorted((root / "src").rglob("*.py"))
    assert sources
    assert not [p for p in sources if "import snakemake" in p.read_text() or "from snakemake" in p.read_text()]


def test_every_next_step_is_a_command_with_arguments_it_takes() -> None:
    """Each line of the table, filled in with the parameters of its command, is understood by the command it names."""
    for name, text in _NEXT.items():
        params = {p.name: Path(f"some folder/{p.name}") for p in main.commands[name].params}
        program, command, *arguments = shlex.split(next_step(name, params))
        assert program == "aida-tools"
        assert f"--{command}" not in text
        main.commands[command].make_context(command, arguments)


def test_the_end_tells_time_files_and_to_a_person_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "wide.tsv").write_text("sample_id\tpopulation\tTreg\tother\ns1\tA\t3\t50\ns2\tB\t4\t60\n")
    command = [sys.executable, "-m", "aida_tools.cli", "import-counts", "wide.tsv"]
    command += ["--column", "population=population", "--out", "made"]
    quiet = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    assert re.fullmatch(r"Wrote made/: counts.tsv, samples.tsv \(\d+\.\d s\)\n", quiet)
    ours, theirs = os.openpty()
    subprocess.run(command, cwd=tmp_path, stderr=theirs, check=True)
    os.close(theirs)
    seen = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "next: aida-tools compare made/counts.tsv made/samples.tsv --one-vs-rest --out ./compare" in seen
