"""The page, its captions and the help of the commands are read for slips that were made before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import click
import pytest

from aida_tools.cli import main
from aida_tools.core.populations import load_populations
from aida_tools.core.words import labelled, units
from aida_tools.report.run import _prose

#: Sentences that had to be read twice; each has a plain one now.
READ_TWICE = (
    "none possible", "Nobody knows the truth", "the others are held against", "of equal numbers of cells",
    "is what it is", "the work of depth", "hardly enter", "told inside sites", "that only batches tell",
    "cannot be judged", "to whom it is one", "nobody of that name", "as the shallowest has", "is unseen by one",
    "Of each contrast.", "Leave it out.", "is not proportional", "is no truth of it", "by the other door", "promised",
    "promises", "measures population plus site", "feign",
)  # fmt: skip
#: What is counted is one or several.
ONE = re.compile(r"(?<![\d.,])1 (libraries|batches|samples|donors|sites|cells|contrasts|plans|claims|rows)\b")


def prose(page: Path) -> str:
    """Return the text of a page without provenance, code and tags, but with its alternative texts."""
    body = page.read_text(encoding="utf-8").split("<body>")[1].split('<section id="provenance"')[0]
    body = re.sub(r"<(code|pre)>.*?</\1>", " ", body, flags=re.DOTALL)
    body = re.sub(r'<img [^>]*?alt="([^"]*)"[^>]*>', r" \1 ", body)
    return unescape(re.sub(r"<[^>]+>", " ", body))


def helps(command: click.Command, name: str = "aida-tools") -> Iterator[tuple[str, str]]:
    """Return name and help of a command and of those below it."""
    yield name, command.get_help(click.Context(command, info_name=name, max_content_width=10_000))
    for below, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, f"{name} {below}")


@pytest.fixture(scope="module")
def texts(page: Path, root: Path) -> dict[str, str]:
    """Return all that a reader can meet by where it stands."""
    drawn = json.loads((page.parent / "figures" / "figures.json").read_text())["figures"]
    captions = {f"caption of {f['key']}": f"{f['title']}. {f['caption']} {f['alt']}" for f in drawn}
    written = {str(p): p.read_text(encoding="utf-8") for p in [root / "README.md", *(root / "docs").rglob("*.md")]}
    return {"page": prose(page)} | captions | dict(helps(main)) | written


def test_no_population_is_called_by_its_code(texts: dict[str, str], root: Path) -> None:
    table = load_populations(root / "config" / "populations.tsv")
    codes = "|".join(code for code, label in zip(table["code"], table["label"], strict=True) if code != label)
    read = {name: text for name, text in texts.items() if name == "page" or name.startswith("caption of ")}
    assert [f"{name}: {found}" for name, text in read.items() for found in re.findall(rf"\b(?:{codes})\b", text)] == []


@pytest.mark.parametrize("slip", [r"\bcells cells\b", ONE.pattern, *map(re.escape, READ_TWICE)])
def test_known_slips_stay_out(texts: dict[str, str], slip: str) -> None:
    assert [f"{name}: {m[0]}" for name, text in texts.items() for m in re.finditer(slip, text)] == []


def test_no_caption_repeats_its_title(page: Path) -> None:
    drawn = json.loads((page.parent / "figures" / "figures.json").read_text())["figures"]
    assert [f["key"] for f in drawn if f["title"].casefold() in f["caption"].casefold()] == []


def test_no_number_of_a_figure_is_typed_by_hand(page: Path, root: Path) -> None:
    text = re.sub(r'<a href="#figure-[^"]*">Figure \d+</a>|<b>Figure \d+\.', "", page.read_text(encoding="utf-8"))
    assert re.findall(r".{20}\bFigure \d", text) == []
    sources = [p for p in (root / "src").rglob("*.py") if re.search(r"\bFigure \d", p.read_text(encoding="utf-8"))]
    assert sources == []


def test_a_figure_is_named_by_its_number_or_not_at_all() -> None:
    text = "Controls were run at 2 sites ([figure:controls]). See [figure:forest]. It ends."
    numbers = {"controls": 5, "forest": 2}
    five, two = (f'<a href="#figure-{key}">Figure {n}</a>' for key, n in numbers.items())
    assert _prose(text, numbers) == f"Controls were run at 2 sites ({five}). See {two}. It ends."
    assert _prose(text, {}) == "Controls were run at 2 sites. It ends."
    assert _prose("a < `b`", {}) == "a &lt; <code>b</code>"


@pytest.mark.parametrize(
    ("name", "words"),
    [("Treg", "Treg cells"), ("Regulatory T cells", "Regulatory T cells"), ("B cell", "B cells"), ("HSC", "HSC cells")],
)
def test_cells_are_named_once(name: str, words: str) -> None:
    assert units(name) == words


def test_codes_become_names_as_whole_words_only() -> None:
    labels = {"SG_Malay": "Singaporean Malay", "SG": "Singapore", "unknown": "Unknown", "Thai": "Thai"}
    text = "no batch of SG holds both SG_Malay (SG_B001) and Thai; sex unknown"
    wanted = "no batch of Singapore holds both Singaporean Malay (SG_B001) and Thai; sex unknown"
    assert labelled(text, labels) == wanted
