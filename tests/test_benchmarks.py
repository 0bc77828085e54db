"""No test runs the benchmarks; here what they import is there, and the commands they are run by are theirs."""

from __future__ import annotations

import ast
import csv
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_benchmark_imports_of_the_package_is_there(script: Path) -> None:
    """Imports inside functions too, which nothing reads before the function is called."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("aida_tools"):
            exec(compile(ast.Module([node], []), script, "exec"), {})


def test_every_command_is_of_a_script_with_these_options(root: Path) -> None:
    texts = [path.read_text() for path in (*SCRIPTS, *FOLDER.rglob("*.R"), *FOLDER.rglob("*.md"))]
    commands = {found for text in texts for found in re.findall(r"(?:python|Rscript) (benchmarks/[^\n`#]+)", text)}
    assert {"benchmarks/scan_speed.py", "benchmarks/compare_speed.R"} <= {c.split()[0] for c in commands}
    for command in commands:
        source = (root / command.split()[0]).read_text()
        assert not [flag for flag in re.findall(r"--[\w-]+", command) if f'"{flag}"' not in source], command


def test_nine_mutants_in_ten_are_caught_and_the_others_are_harmless() -> None:
    with (FOLDER / "mutation" / "results.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    survived = [row for row in rows if row["outcome"] == "survived"]
    assert len(rows) >= 200
    assert {row["outcome"] for row in rows} == {"caught", "survived"}
    assert len(survived) <= len(rows) / 10
    assert not [row for row in survived if len(row["why_harmless"]) < 20]
    assert not [row for row in rows if row["outcome"] == "caught" and not row["by"]]
    page = (FOLDER / "mutation" / "README.md").read_text()
    assert f"{len(rows) - len(survived)} of {len(rows)} were caught" in page
