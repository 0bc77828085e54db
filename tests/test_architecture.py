"""Data flows one way: a room imports itself, the core, and rooms to its left; the counts are the narrow waist."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CORE = {"errors", "files", "tables", "config", "defaults"}
#: Room -> the rooms it may know. Right of the counts nothing knows where labels or cells come from.
ROOMS = {
    "sample": set(),
    "cohort": {"sample"},
    "scan": {"cohort"},
    "annotate": {"cohort", "scan"},
    "agreement": {"annotate", "scan"},
    "atlas": {"annotate", "cohort", "scan"},
    "compose": set(),
    "compare": set(),
    "robustness": {"compare"},
    "power": {"compare"},
    "claims": {"compare", "power", "robustness"},
    "figures": {"compare"},
    "report": {"compare", "figures"},
}  # fmt: skip
WAIST = ("compose", "compare", "robustness", "power", "claims", "figures", "report")


def imports(folder: Path) -> set[str]:
    """Return the modules imported anywhere below a folder, as dotted names."""
    found: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return found


def test_every_room_is_listed(root: Path) -> None:
    assert {p.parent.name for p in (root / "src" / "aida_tools").glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_right_only(root: Path, room: str) -> None:
    inside = [name.split(".") for name in imports(root / "src" / "aida_tools" / room)]
    known = {parts[1] for parts in inside if parts[0] == "aida_tools" and len(parts) > 1}
    assert known - CORE - {room} <= ROOMS[room]


@pytest.mark.parametrize("room", WAIST)
def test_right_of_the_counts_nothing_knows_of_files_of_cells(root: Path, room: str) -> None:
    libraries = {name.split(".")[0] for name in imports(root / "src" / "aida_tools" / room)}
    assert not libraries & {"anndata", "scanpy", "h5py", "snakemake"}
    if room not in ("figures", "report"):
        assert "matplotlib" not in libraries
