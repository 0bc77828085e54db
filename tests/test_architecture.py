"""Data flows one way: a room imports itself, the core, and rooms to its left; the counts are the narrow waist.

Why the rooms stand as they do is in docs/design.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

#: Room -> the rooms it may know beside the core. Right of the counts nothing knows where labels or cells come from.
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "sample": set(),
    "cohort": {"sample"},
    "scan": {"cohort"},
    "annotate": {"cohort", "scan"},
    "agreement": {"annotate", "scan", "results", "figures"},
    "atlas": {"annotate", "cohort", "scan", "results", "figures"},
    "compose": set(),
    "design": set(),
    "models": {"design"},
    "compare": {"design", "models"},
    "results": {"compare", "design", "models"},
    "figures": {"compare", "design", "models", "results"},
    "robustness": {"compare", "design", "models", "results", "figures"},
    "power": {"compare", "design", "models", "results", "figures"},
    "claims": {"compare", "design", "models", "results", "figures", "power", "robustness"},
    "report": {"compare", "design", "models", "results", "figures"},
}  # fmt: skip
#: Modules that stand beside the rooms, and know them all.
BESIDE = {"__init__", "api", "cli", "reference", "rooms", "runs"}
WAIST = (
    "compose", "design", "models", "compare", "results", "figures", "robustness", "power", "claims", "report",
)  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """Return every module of the package by its dotted name inside it."""
    package = root / "src" / "aida_tools"
    return {".".join(p.relative_to(package).with_suffix("").parts): p for p in sorted(package.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Return the modules imported anywhere in a file, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def known_modules(name: str, all_of_them: dict[str, Path]) -> set[str]:
    """Return the modules of the package that a module imports."""
    inside = {n.removeprefix("aida_tools.") for n in imports(all_of_them[name]) if n.startswith("aida_tools.")}
    return {n for n in inside if n in all_of_them}


def test_every_module_is_in_a_room_or_beside_them(root: Path) -> None:
    tops = {name.split(".")[0] for name in modules(root)}
    assert tops == set(ROOMS) | BESIDE


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_right_only(root: Path, room: str) -> None:
    every = modules(root)
    known = {k.split(".")[0] for name in every if name.split(".")[0] == room for k in known_modules(name, every)}
    # `rooms` lists names and imports none of them: what is declared is loaded through it.
    assert known - {"core", "rooms", room} <= ROOMS[room]


def test_no_module_knows_itself_by_way_of_others(root: Path) -> None:
    """Every module of the package, core included: imports inside functions count."""
    every = modules(root)
    edges = {name: known_modules(name, every) for name in every}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in edges[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in every:
        visit(name, ())


@pytest.mark.parametrize("room", WAIST)
def test_right_of_the_counts_nothing_knows_of_files_of_cells(root: Path, room: str) -> None:
    for name, path in modules(root).items():
        if name.split(".")[0] == room:
            libraries = {n.split(".")[0] for n in imports(path)}
            assert not libraries & {"anndata", "scanpy", "h5py", "snakemake"}, name
            if room != "report" and "figures" not in name.split("."):
                assert "matplotlib" not in libraries, name
