"""The rooms, and the parts of them that declare something: what is listed here is found everywhere else.

A room may have a module `step` (its options and command), `tables` (what it writes), `figures` and `section` (what it
puts on the page). Importing such a module registers what it declares.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

_PACKAGE = Path(__file__).parent

#: In the order of the page.
ROOMS = (
    "sample", "cohort", "scan", "annotate", "compose", "compare", "figures", "agreement", "atlas", "robustness",
    "power", "claims",
)  # fmt: skip


def load(part: str) -> None:
    """Import one part of every room that has it: `step`, `tables`, `figures` or `section`."""
    # The core has the tables of rooms that may not know each other.
    for room in ("core", *ROOMS):
        if any((_PACKAGE / room / found).exists() for found in (f"{part}.py", part)):
            import_module(f"aida_tools.{room}.{part}")


def _named(tree: ast.AST) -> Iterator[str]:
    """Give the modules that a module imports anywhere, as dotted names; some are names inside a module instead.

    What is imported only when it is used is named in a string, such as `aida_tools.power.run:plan_power`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("aida_tools."):
            yield str(node.value).partition(":")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "rooms.load":
            part = ast.literal_eval(node.args[0])
            yield from (f"aida_tools.{room}.{part}" for room in ROOMS)


@cache
def _imports(package: Path, name: str) -> tuple[Path, frozenset[str]]:
    """Return the file of a module of the package, and the modules of the package that it imports."""
    path = package.joinpath(*name.split(".")).with_suffix(".py")
    path = path if path.is_file() else package.joinpath(*name.split("."), "__init__.py")
    if not path.is_file():
        return path, frozenset()
    inside = {n.removeprefix("aida_tools.") for n in _named(ast.parse(path.read_text(encoding="utf-8")))}
    return path, frozenset(n for n in inside if not n.startswith("aida_tools"))


def code(*modules: str, package: Path = _PACKAGE) -> str:
    """Digest the sources that modules of the package are made of, so that a change of them makes a step run again.

    Parameters
    ----------
    modules
        Names inside the package, such as `compare.run`; what they import, and what that imports, belongs to them. So
        do the tables and templates in the folders of these modules.
    package
        Folder of the package.

    Returns
    -------
    12 hexadecimal digits.
    """
    waiting, files, seen = list(modules), set(), set(modules)
    while waiting:
        path, imported = _imports(package, waiting.pop())
        if path.is_file():
            files |= {path, *(p for p in path.parent.iterdir() if p.is_file() and p.suffix != ".py")}
            waiting += imported - seen
            seen |= imported
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
