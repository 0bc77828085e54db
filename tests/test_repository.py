"""What stands around the code agrees with it: hooks, workflow files, templates, release metadata, cited pages."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml


def targets(root: Path) -> dict[str, list[str]]:
    """Return target -> its commands as a shell sees them, of the targets that a person runs."""
    text = (root / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    found = re.findall(r"^([a-z]+):.*\n((?:\t.*\n)*)", text, flags=re.M)
    return {name: [line.strip().lstrip("@") for line in recipe.splitlines()] for name, recipe in found}


def jobs_of(workflow: Path) -> list[str]:
    """Return the commands that a workflow file runs, a matrix written out."""
    out = []
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        steps = [step["run"] for step in job["steps"] if "run" in step]
        for cell in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
            out += [re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda m, cell=cell: cell[m[1]], step) for step in steps]
    return out


def test_every_job_is_a_target_of_the_makefile(root: Path) -> None:
    commands = [c for path in (root / ".github" / "workflows").glob("*.yml") for c in jobs_of(path)]
    assert {"make lint", "make test", "make docs", "make demo", "make wheel"} <= set(commands)
    assert set(commands) <= {f"make {target}" for target in targets(root)}


def test_make_help_lists_every_target(root: Path) -> None:
    text = (root / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, flags=re.M)
    assert set(re.findall(r"^([a-z]+):.*## ", text, flags=re.M)) == set(phony.split()) == set(targets(root))


def test_the_hooks_are_the_commands_of_make_lint(root: Path) -> None:
    [repository] = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert hooks == [command for command in targets(root)["lint"] if "/snakemake " not in command]


@pytest.mark.parametrize("name", ["bug", "cohort", "status"])
def test_issue_forms_ask_each_thing_once(root: Path, name: str) -> None:
    form = yaml.safe_load((root / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 3
    assert form["name"]
    assert form["description"]


def test_citation_archive_and_package_say_the_same(root: Path) -> None:
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    archive = json.loads((root / ".zenodo.json").read_text())
    authors = [{"name": "aida_tools developers"}]
    assert project["authors"] == citation["authors"] == archive["creators"] == authors
    assert citation["version"] == project["version"]
    assert project["license"] == citation["license"] == archive["license"]
    assert project["description"] + "." == citation["abstract"] == archive["description"]
    assert project["keywords"] == citation["keywords"] == archive["keywords"]
    assert citation["references"][0]["doi"] == archive["related_identifiers"][0]["identifier"]


def test_every_fragment_is_of_a_kind_that_a_release_collects(root: Path) -> None:
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in settings["type"])
    names = [path.name for path in (root / settings["directory"]).iterdir() if not path.name.startswith(".")]
    assert not [name for name in names if not re.fullmatch(rf"\d+\.({kinds})\.md", name)]
    assert settings["start_string"] in (root / settings["filename"]).read_text()


def test_cited_pages_exist(root: Path) -> None:
    files = [p for d in ("src", "tests", "benchmarks", "workflow", ".github") for p in (root / d).rglob("*")]
    texts = [p.read_text() for p in files if p.suffix in {".py", ".R", ".smk", ".yml", ".md"}]
    cited = {page for text in texts for page in re.findall(r"\bdocs/[\w/-]+\.md", text)}
    assert "docs/design/statistics.md" in cited
    assert not [page for page in cited if not (root / page).is_file()]
