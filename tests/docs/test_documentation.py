"""The documentation builds without a warning and without a network, and lists what it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aida_tools as aida
from aida_tools.cli import main
from aida_tools.core.names import STATUSES


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(out / "trees"), "docs", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built_and_in_the_contents(root: Path, built: Path) -> None:
    pages = [p.relative_to(root / "docs").with_suffix("") for p in (root / "docs").rglob("*.md")]
    assert len(pages) >= 12
    assert not [p for p in pages if not (built / f"{p}.html").is_file()]
    contents = (built / "index.html").read_text()
    assert all(f'href="{p.as_posix()}.html"' in contents for p in pages if p.name != "index")


def test_pages_load_nothing_from_elsewhere(built: Path) -> None:
    loaded = [
        address
        for page in built.rglob("*.html")
        for address in re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text())
    ]
    assert not loaded


def test_formulas_are_drawn_by_the_browser_itself(built: Path) -> None:
    page = (built / "explanation" / "treg_label.html").read_text()
    [block] = re.findall(r'<math [^>]*display="block">.*?</math>', page, re.S)
    assert re.sub(r"\s|<[^>]+>", "", block) == "p=sπ+(1−c)(1−π)."
    assert not [p for p in built.rglob("*.html") if 'class="math notranslate' in p.read_text()]


def test_the_reference_lists_the_public_interface(root: Path) -> None:
    page = (root / "docs" / "reference" / "api.md").read_text()
    listed = set(re.findall(r"aida_tools\.(\w+)", page))
    assert set(aida.__all__) - {"__version__"} <= listed


def test_the_reference_lists_every_command(built: Path) -> None:
    page = (built / "reference" / "cli.html").read_text()
    assert all(f"aida-tools {name}" in page or f"aida-tools-{name}" in page for name in main.commands)
    assert "PosixPath" not in page


def test_a_returns_section_in_prose_is_shown_in_one_piece(built: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (built / "reference" / "api.html").read_text())
    assert re.search(r"One row a cell, in the order of the data, with the columns cell_id, sample_id, donor_id,", page)


def test_the_pages_explain_every_status(root: Path) -> None:
    page = (root / "docs" / "explanation" / "statuses.md").read_text()
    assert all(f"| `{status}` |" in page for status in STATUSES)


def test_false_positive_rates_are_credited(root: Path) -> None:
    page = (root / "docs" / "explanation" / "site.md").read_text()
    assert "imulated for this project" in page
