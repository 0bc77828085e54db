"""pyproject.toml, environment.yml and the locks name the same dependencies; nothing of one machine is in them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: docutils (a dependency of snakemake) is public domain and BSD; the GPL covers one Emacs file that no wheel installs.
NOT_GPL = {"docutils"}
CONDA_NAMES = {"python-isal": "isal", "matplotlib-base": "matplotlib"}
#: What notebooks/execute.py imports or starts; pip users have it from the extra `dev`.
NOTEBOOK_TOOLS = {"ipykernel", "jupytext", "nbclient"}


def declared(root: Path, extra: str | None = None) -> dict[str, Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {canonicalize_name(r.name): r for r in map(Requirement, names)}


def locked(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", path.read_text(), flags=re.M)
    return {canonicalize_name(name): version for name, version in found}


def test_conda_environment_has_the_dependencies_of_pyproject(root: Path) -> None:
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    conda = [Requirement(e) for e in entries if isinstance(e, str)]
    pip = [Requirement(e) for group in entries if isinstance(group, dict) for e in group["pip"]]
    listed = {canonicalize_name(CONDA_NAMES.get(r.name, r.name)): r.specifier for r in [*conda, *pip]}
    python = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    assert str(listed.pop("python")) == python
    listed.pop("pip")
    tools = {name: r for name, r in declared(root, "dev").items() if name in NOTEBOOK_TOOLS}
    assert set(tools) == NOTEBOOK_TOOLS
    assert listed == {name: r.specifier for name, r in (declared(root) | tools).items()}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_satisfies_pyproject(root: Path, name: str) -> None:
    versions = locked(root / name)
    for package, requirement in declared(root).items():
        assert requirement.specifier.contains(versions[package]), package


def test_development_lock_extends_the_lock(root: Path) -> None:
    core, dev = locked(root / "requirements.lock"), locked(root / "requirements-dev.lock")
    assert {name: dev.get(name) for name in core} == core
    assert "pytest" in dev
    assert "pytest" not in core


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_is_hashed_and_names_no_address(root: Path, name: str) -> None:
    text = (root / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(-index-url|i|f|-find-links)", text, flags=re.M)
    entries = re.split(r"\n(?=[a-zA-Z])", text)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)


def test_default_install_has_no_gpl_package(root: Path) -> None:
    """The licence of every locked package, as its metadata states it, is neither GPL nor AGPL."""
    from importlib.metadata import PackageNotFoundError, metadata

    checked = 0
    for name in locked(root / "requirements.lock").keys() - NOT_GPL:
        try:
            fields = metadata(name)
        except PackageNotFoundError:  # for another platform
            continue
        licences = [fields.get("License-Expression") or ""]
        licences += [c for c in fields.get_all("Classifier") or [] if c.startswith("License")]
        short = fields.get("License") or ""
        licences += [short] if len(short) < 100 else []
        checked += 1
        for licence in licences:
            assert not re.search(r"(?<!L)(?<!Lesser )\bA?GPL|(?<!Lesser )General Public License", licence), (
                name,
                licence,
            )
    assert checked > 50


def test_every_import_is_a_declared_dependency(root: Path) -> None:
    imported: set[str] = set()
    for path in sorted((root / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    distributions = packages_distributions()
    known = {"aida_tools", *sys.stdlib_module_names}
    names = {m: {canonicalize_name(d) for d in distributions[m]} for m in imported - known}
    assert {m for m, d in names.items() if not d & declared(root).keys()} == set()
