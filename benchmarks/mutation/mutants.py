"""Change one token of the statistical rooms at a time, and see whether the tests notice.

    python benchmarks/mutation/mutants.py

A mutant that the tests caught is not run again, nor one that is known to be harmless, so the run can be stopped and
taken up at any time. Which tokens are changed follows from the seed and from the lines themselves: a change of the
code draws anew only where it changes a line.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

import click
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

#: What the tests load, so that it need not be loaded again for every mutant; nothing of the package.
LIBRARIES = (
    "formulaic", "matplotlib.pyplot", "pandera.pandas", "pyarrow", "pydantic", "scipy.optimize", "scipy.stats",
    "statsmodels.api", "yaml",
)  # fmt: skip
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = Path("src/aida_tools")
#: Room -> the folders of tests that are to notice, the nearest first.
ROOMS = {
    "design": ("design", "models", "statuses", "compare"),
    "models": ("models", "statuses", "compare"),
    "compare": ("compare",),
    "robustness": ("robustness",),
    "power": ("power",),
    "claims": ("claims",),
}
#: Drawing is tested by what is drawn, not by where.
NOT_DRAWN = re.compile(r"figures(/|\.py)")
#: Keywords that only guard: of `zip` and of `dataclass`.
GUARDS = {"strict", "frozen", "eq", "repr"}
COLUMNS = ["file", "line", "code", "change", "outcome", "by", "why_harmless"]
KEY = ["file", "code", "change"]


class Mutant(NamedTuple):
    """One changed token: the line before and after, and the whole file with it."""

    file: str
    line: int
    code: str
    change: str
    source: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is known by: the values of `KEY`."""
        return self.file, self.code, self.change

    @property
    def room(self) -> str:
        """The room of its file."""
        return Path(self.file).relative_to(PACKAGE).parts[0]


def _idle(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the spans, from (line, column) to (line, column), on which no result depends: annotations and guards."""
    spans: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            spans.append(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            spans.append(node.returns)
        elif isinstance(node, ast.keyword) and node.arg in GUARDS:
            spans.append(node.value)
    return [((s.lineno, s.col_offset), (s.end_lineno or 0, s.end_col_offset or 0)) for s in spans]


def _rank(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _changes(source: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Return, for every token that can be changed, by its line and column, the operators and their occurrences."""
    tree, idle = get_ast(source), _idle(source)
    found = defaultdict(list)
    operators = {name: get_operator(name) for name in operator_names()}
    for name, operator in operators.items():
        if operator.arguments():
            continue
        places = (start for node in ast_nodes(tree) for start, _ in operator().mutation_positions(node))
        for occurrence, place in enumerate(places):
            if not any(low <= place < high for low, high in idle):
                found[place].append((name, occurrence))
    return found


def _mutant(file: str, source: str, place: tuple[int, int], change: tuple[str, int]) -> Mutant | None:
    """Make one change; None if it is none."""
    changed = mutate_code(source, get_operator(change[0])(), change[1])
    try:
        if changed is None or ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
            return None
    except SyntaxError:
        return None
    old, new = source.splitlines(), changed.splitlines()
    after = next(b.strip() for a, b in zip(old, new, strict=False) if a != b)
    return Mutant(file, place[0], old[place[0] - 1].strip(), after or "(nothing)", changed)


def draw(root: Path, n: int, seed: int) -> list[Mutant]:
    """Draw tokens of the rooms, each as likely as any other, and one change of each.

    Parameters
    ----------
    root
        Folder with the package's sources.
    n
        How many mutants, no two of them alike.
    seed
        Another seed draws other tokens.
    """
    ranked = []
    for path in sorted(p for room in ROOMS for p in (root / PACKAGE / room).rglob("*.py")):
        file, source = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if NOT_DRAWN.search(file):
            continue
        lines, seen = source.splitlines(), Counter[tuple[str, int]]()
        for place, changes in sorted(_changes(source).items()):
            line = lines[place[0] - 1], place[1]
            seen[line] += 1
            ranked.append((_rank(seed, file, *line, seen[line]), file, source, place, changes))
    drawn: dict[tuple[str, ...], Mutant] = {}
    for token in sorted(ranked, key=lambda token: token[0]):
        if len(drawn) < n and (made := _first(*token)) is not None:
            drawn.setdefault(made.key, made)
    return list(drawn.values())


def _first(rank: str, file: str, source: str, place: tuple[int, int], changes: list[tuple[str, int]]) -> Mutant | None:
    """Return the first change of a token that is one, in an order that is as good as chance."""
    ordered = sorted(changes, key=lambda change: _rank(rank, *change))
    return next(filter(None, (_mutant(file, source, place, change) for change in ordered)), None)


def tests_of(mutant_file: str, room: str) -> list[str]:
    """Return the files of tests, those named after the module first."""
    stem = "schema" if mutant_file.endswith("tables.py") else Path(mutant_file).stem
    every = [p for folder in ROOMS[room] for p in sorted((ROOT / "tests" / folder).glob("test_*.py"))]
    every.append(ROOT / "tests" / "test_schema.py")
    return [p.relative_to(ROOT).as_posix() for p in sorted(every, key=lambda p: not stem or stem not in p.stem)]


def run_tests(tests: list[str], source: Path, cache: Path, limit: float) -> str:
    """Run tests with the package of a folder, in a process that has the libraries loaded already.

    Returns
    -------
    The first test that fails, `timeout` after `limit` seconds, or nothing if all pass.
    """
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            _become(said.fileno(), tests, source, cache)
        deadline = time.monotonic() + limit
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "timeout"
            time.sleep(0.05)
        if ended[1] == 0:
            return ""
        said.seek(0)
        text = said.read()
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.M)
    return failed[1] if failed else (text.strip().splitlines() or ["nothing said"])[-1]


def _become(said: int, tests: list[str], source: Path, cache: Path) -> NoReturn:
    """Run tests in this process, as the leader of whatever they start, and end."""
    code = 1
    try:
        os.setsid()
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(ROOT)
        os.environ |= {"PYTHONPATH": str(source), "NUMBA_CACHE_DIR": str(cache)}
        sys.dont_write_bytecode = False
        import_module("numba").config.reload_config()
        sys.path.insert(0, str(source))
        # Some libraries are plugins of pytest, which wants to rewrite the assertions of what is loaded already.
        code = int(pytest.main(["-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", "--assert=plain", *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


@click.command()
@click.option("--mutants", default=200, show_default=True, help="How many, over all rooms.")
@click.option("--room", "rooms", multiple=True, type=click.Choice(list(ROOMS)), help="Only those of these rooms.")
@click.option("--seed", default=1, show_default=True, help="Another seed draws other tokens.")
@click.option("--out", default=HERE / "results.tsv", type=click.Path(path_type=Path), help="The table.")
def main(mutants: int, rooms: tuple[str, ...], seed: int, out: Path) -> None:
    """Run the tests of the statistical rooms on mutants of them."""
    os.nice(10)
    # A process with threads is not to be forked.
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for library in LIBRARIES:
        import_module(library)
    rows = {tuple(row[k] for k in KEY): row for row in _read(out)}
    drawn = [mutant for mutant in draw(ROOT, mutants, seed) if mutant.room in (rooms or ROOMS)]
    limits: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, click.progressbar(drawn, label="mutants", show_pos=True) as shown:
        source, cache = Path(folder) / "src", Path(folder) / "cache"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        for number, mutant in enumerate(shown, start=1):
            row = rows.setdefault(mutant.key, {**dict.fromkeys(COLUMNS, ""), **dict(zip(KEY, mutant.key, strict=True))})
            row["line"] = str(mutant.line)
            if row["outcome"] == "caught" or row["why_harmless"]:
                continue
            if mutant.room not in limits:
                start = time.monotonic()
                if failed := run_tests(tests_of("", mutant.room), source, cache, 3600):
                    raise click.ClickException(f"the tests fail without any change: {failed}")
                limits[mutant.room] = 4 * (time.monotonic() - start) + 30
            row["by"] = _try(mutant, Path(folder), number, limits[mutant.room])
            row["outcome"] = "caught" if row["by"] else "survived"
            _write(rows.values(), out)
    found = sorted((rows[mutant.key] for mutant in drawn), key=lambda row: (row["file"], int(row["line"])))
    _write(found, out)
    for room in dict.fromkeys(mutant.room for mutant in drawn):
        own = [row["outcome"] for row in found if f"/{room}/" in row["file"]]
        click.echo(f"{room}: {own.count('caught')} of {len(own)} caught")
    caught = sum(row["outcome"] == "caught" for row in found)
    click.echo(f"{caught} of {len(found)} caught ({caught / len(found):.1%})")


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _write(rows: Iterable[dict[str, str]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _try(mutant: Mutant, folder: Path, number: int, limit: float) -> str:
    """Run the tests on a mutant in a copy of the sources; return the first test that fails."""
    path, source = folder / mutant.file, folder / "src"
    path.write_text(mutant.source, encoding="utf-8")
    # Python and numba take a file of the same time and size for the same file.
    os.utime(path, (number, number))
    compiled = "numba" in mutant.source
    cache = folder / (f"cache-{number}" if compiled else "cache")
    by = run_tests(tests_of(mutant.file, mutant.room), source, cache, limit)
    shutil.copy2(ROOT / mutant.file, path)
    if compiled:
        shutil.rmtree(cache, ignore_errors=True)
    return by


if __name__ == "__main__":
    main()
