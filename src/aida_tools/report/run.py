"""Write the report: one page with everything in it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aida_tools import __version__, rooms
from aida_tools.core.errors import AidaError
from aida_tools.core.files import staged
from aida_tools.core.schema import TABLES
from aida_tools.core.words import cell, labelled, listed
from aida_tools.design.contrasts import POPULATION
from aida_tools.figures.style import DOUBLE
from aida_tools.report.answer import make_answer
from aida_tools.report.methods import methods_paragraphs, references
from aida_tools.results.page import Block, Card, Labels, page_order
from aida_tools.results.results import Results, load_results, of_what
from aida_tools.results.words import compared

_HERE = Path(__file__).parent
#: A vector picture larger than this is put into the page as PNG, if that is smaller, bytes.
_LARGE = 300_000
#: Columns of declared tables that hold sentences, which have codes of populations in the files.
_PROSE = {"note", "sentence", "aliased_with"}
_REFERENCE = re.compile(r"\[figure:([^\]]*)\]")


class _Cell(NamedTuple):
    text: str
    number: float | None


class _Shown(NamedTuple):
    """A table ready for the template."""

    key: str
    title: str
    note: str
    is_open: bool
    table: pd.DataFrame
    numeric: set[str]
    rows: list[list[_Cell]]


def _show(block: Block) -> _Shown:
    table = block.table
    numeric = {c for c in table.columns if pd.api.types.is_numeric_dtype(table[c]) and table[c].dtype != bool}
    rows = [
        [
            _Cell(cell(value), float(value) if column in numeric and pd.notna(value) else None)
            for column, value in zip(table.columns, row, strict=True)
        ]
        for row in table.astype(object).itertuples(index=False, name=None)
    ]
    return _Shown(block.key, block.title, block.note, block.is_open, table, numeric, rows)


def _read_json(path: Path, made_by: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file. {made_by}") from error
    except (OSError, ValueError) as error:
        raise AidaError(f"{path}: not valid JSON ({error}). {made_by}") from error


def _picture(folder: Path, stem: str) -> dict[str, Any]:
    """Return a figure as a data URI (SVG, or PNG where smaller) and its greatest width, rem: one scale for all."""
    svg, png = folder / f"{stem}.svg", folder / f"{stem}.png"
    for path in (svg, png):
        if not path.is_file():
            raise AidaError(
                f"{path}: there is no such file, but figures.json lists it. Run `aida-tools figures` again."
            )
    as_png = svg.stat().st_size > max(_LARGE, png.stat().st_size)
    path, kind = (png, "image/png") if as_png else (svg, "image/svg+xml")
    points = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg.read_text(encoding="utf-8"))
    width = 64 * float(points[1]) / (DOUBLE / 25.4 * 72) if points else 64
    uri = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    return {"uri": uri, "width": round(width, 1)}


def _steps(paths: Iterable[Path]) -> list[dict[str, Any]]:
    steps = []
    for path in paths:
        record = _read_json(path, "Name the provenance.json of an earlier step.")
        if not isinstance(record, dict) or "step" not in record:
            raise AidaError(f"{path}: key 'step' is missing. Name a provenance.json that aida-tools wrote.")
        steps.append(
            {
                **{key: record.get(key) or "" for key in ("step", "command", "started", "ended")},
                "inputs": _files(record.get("inputs") or []),
                "details": json.dumps(record["details"], indent=2, ensure_ascii=False) if record.get("details") else "",
                "packages": {**(record.get("packages") or {}), "python": record.get("python", "")},
            }
        )
    return sorted(steps, key=lambda s: s["started"])


def _files(inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Flatten folders into their files."""
    return [file for entry in inputs for file in entry.get("files", [entry])]


def _facts(results: Results) -> list[tuple[str, str]]:
    after = results.options.get("after") or {}
    design = results.design
    facts = [
        ("Share", f"{results.primary['focus']} of {of_what(results.primary['denominator'])}"),
        ("Labels", results.primary["annotator"]),
        ("Populations", f"{design['population'].nunique():,}"),
        ("Sites", f"{design['site'].nunique():,}"),
        ("Batches", f"{design['batch'].nunique():,}"),
        ("Donors", f"{after.get('donors', 0):,}"),
        ("Cells", f"{after.get('cells', 0):,}"),
    ]
    if results.estimated:
        facts.append(("Model", results.primary["model"]))
    return [(name, value) for name, value in facts if value != "0"]


def _named(column: str, values: pd.Series, results: Results, labels: Labels) -> pd.Series:
    """Write a column of a declared table for readers: contrasts in words, populations by name."""
    known = values.dropna()
    if column == "contrast":
        return known.map(lambda text: results.contrast(text).words(labels))
    if column == POPULATION:
        return known.map(lambda code: labels.get(code, code))
    if column in _PROSE:
        return known.map(lambda text: labelled(text, labels))
    return values


def _declared(results: Results, labels: Labels) -> list[tuple[str, Block]]:
    """Return the tables that name a section of the page, as their steps wrote them, each with that section."""
    found = []
    for declared in TABLES.values():
        if not declared.title:
            continue
        table = results.of_focus(results[declared])
        table = table[list(declared.shown)] if declared.shown else table
        table = table.assign(**{str(c): _named(str(c), table[c], results, labels) for c in table.columns})
        table = table.dropna(axis="columns", how="all")
        block = Block(declared.name.replace("_", "-"), declared.title, declared.note, table)
        found.append((declared.section, block))
    return found


class _Part(NamedTuple):
    """A section ready for the template."""

    key: str
    title: str
    sentences: list[str]
    cards: list[Card]
    figures: list[dict[str, Any]]
    blocks: list[_Shown]


def _parts(results: Results, labels: Labels, figures: list[dict[str, Any]]) -> list[_Part]:
    """Return the sections that have anything to show, in the order of the page."""
    declared = _declared(results, labels)
    found = []
    for section in page_order([*(f["section"] for f in figures), *(key for key, _ in declared)]):
        blocks = [*section.blocks(results, labels), *(block for key, block in declared if key == section.key)]
        part = _Part(
            section.key,
            section.title,
            section.sentences(results, labels),
            section.cards(results, labels),
            [f for f in figures if f["section"] == section.key],
            [_show(b) for b in blocks if len(b.table)],
        )
        found += [part] if any(part[2:]) else []
    return found


def _absent(text: str, key: str) -> str:
    """Take out what refers to a figure that was not drawn: the parenthesis around it, or else its sentence."""
    mark = re.escape(f"[figure:{key}]")
    text = re.sub(rf"\s*\([^()]*{mark}[^()]*\)", "", text)
    return " ".join(s for s in re.split(r"(?<=[.!?])\s+", text) if f"[figure:{key}]" not in s)


def _prose(text: str, numbers: Mapping[str, int]) -> Markup:
    """Turn plain text into that of the page: `code` in backticks, `[figure:KEY]` as a link to the figure."""
    for key in _REFERENCE.findall(text):
        text = text if key in numbers else _absent(text, key)
    safe = re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text)))
    return Markup(_REFERENCE.sub(lambda m: f'<a href="#figure-{m[1]}">Figure {numbers[m[1]]}</a>', safe))


def write_report(
    compare: Path, figures: Path, out: Path, *, provenance: Iterable[Path] = (), also: Iterable[Path] = ()
) -> Path:
    """Write `report.html`: self-contained, readable offline, with every value from the data escaped.

    Parameters
    ----------
    compare
        Folder that `aida-tools compare` wrote.
    figures
        Folder that `aida-tools figures` wrote.
    out
        Folder for `report.html`.
    provenance
        `provenance.json` files of earlier steps, shown besides those of `compare` and `figures`.
    also
        Folders of later steps (`robustness`, `power`, `claims` ...), whose tables are shown as well.

    Returns
    -------
    Path of the page.

    Raises
    ------
    AidaError
        If a table or picture is missing or is not what the earlier steps write.
    """
    rooms.load("tables")
    rooms.load("section")
    compare, figures, out = Path(compare), Path(figures), Path(out)
    later = list(map(Path, also))
    results = load_results(compare, also=later)
    drawn = _read_json(figures / "figures.json", "Name the folder that `aida-tools figures` wrote.")
    labels = {str(k): str(v) for k, v in drawn["populations"].items()}
    known = [p for p in (f / "provenance.json" for f in (compare, *later, figures)) if p.is_file()]
    steps = _steps([*map(Path, provenance), *known])
    packages: dict[str, str] = next((s["packages"] for s in steps if s["step"] == "compare"), {})
    shown = [{**figure, **_picture(figures, figure["stem"])} for figure in drawn["figures"]]
    numbers = {figure["key"]: figure["number"] for figure in shown}
    cohort = results.options.get("cohort") or {}
    title = cohort.get("title") or cohort.get("name") or "Cell type shares"
    by = listed(compared(results))
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters["prose"] = partial(_prose, numbers=numbers)
    page = environment.get_template("page.html.j2").render(
        title=f"{title}: {results.share_words} by {by}",
        by=by,
        cohort_title=title,
        synthetic=results.synthetic,
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        js=(_HERE / "page.js").read_text(encoding="utf-8"),
        answer=make_answer(results, labels),
        facts=_facts(results),
        parts=_parts(results, labels, shown),
        methods=methods_paragraphs(results, labels, packages),
        references=references(results, labels),
        steps=steps,
        options=json.dumps(results.options, indent=2, ensure_ascii=False),
        version=__version__,
    )
    with staged(out, step="report", inputs=[compare / "compare.json", figures / "figures.json"]) as folder:
        (folder / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"
