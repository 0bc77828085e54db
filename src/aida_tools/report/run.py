"""Write the report: one page with everything in it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aida_tools import __version__
from aida_tools.compare.results import Results, load_results, of_what
from aida_tools.errors import AidaError
from aida_tools.figures.style import DOUBLE
from aida_tools.files import staged
from aida_tools.report.answer import make_answer
from aida_tools.report.labels import label_blocks, label_sentences
from aida_tools.report.methods import methods_paragraphs, references
from aida_tools.report.tables import Block, blocks, claim_rows
from aida_tools.report.words import cell

_HERE = Path(__file__).parent
#: A vector picture larger than this is put into the page as PNG, if that is smaller, bytes.
_LARGE = 300_000


#: Sections of the page that hold figures: key, heading, numbers of the figures.
_GROUPS = (
    ("figures", "What was measured", (1, 2, 4, 6)),
    ("labels", "How sure are the labels?", (16, 7, 17, 18, 19)),
    ("robustness", "How sure is the comparison?", (9, 11, 13, 14)),
    ("context", "The rest of the picture", (3, 5, 8, 10, 12, 15)),
)


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
        msg = f"{path}: there is no such file. {made_by}"
        raise AidaError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path}: not valid JSON ({error}). {made_by}"
        raise AidaError(msg) from error


def _picture(folder: Path, stem: str) -> dict[str, Any]:
    """Return a figure as a data URI (SVG, or PNG where smaller) and its greatest width, rem: one scale for all."""
    svg, png = folder / f"{stem}.svg", folder / f"{stem}.png"
    for path in (svg, png):
        if not path.is_file():
            msg = f"{path}: there is no such file, but figures.json lists it. Run `aida-tools figures` again."
            raise AidaError(msg)
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
            msg = f"{path}: key 'step' is missing. Name a provenance.json that aida-tools wrote."
            raise AidaError(msg)
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


def _aliases(results: Results) -> list[str]:
    if results.design["population"].nunique() < 2:
        return []
    aliased = results.design.dropna(subset=["aliased_with"])["aliased_with"].drop_duplicates()
    return [f"{'Cannot be told apart: ' if ' = ' in text else ''}{text.rstrip('.')}." for text in aliased]


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
    compare, figures, out = Path(compare), Path(figures), Path(out)
    later = list(map(Path, also))
    results = load_results(compare, also=later)
    drawn = _read_json(figures / "figures.json", "Name the folder that `aida-tools figures` wrote.")
    labels = {str(k): str(v) for k, v in drawn["populations"].items()}
    known = [p for p in (f / "provenance.json" for f in (compare, *later, figures)) if p.is_file()]
    steps = _steps([*map(Path, provenance), *known])
    packages: dict[str, str] = next((s["packages"] for s in steps if s["step"] == "compare"), {})
    answer = make_answer(results, labels)
    found = blocks(results, labels) | {"labels": label_blocks(results)}
    tables = {section: [_show(b) for b in some] for section, some in found.items()}
    intros = {"labels": label_sentences(results)}
    shown = [{**figure, **_picture(figures, figure["stem"])} for figure in drawn["figures"]]
    groups = [(key, name, [f for f in shown if f["number"] in numbers]) for key, name, numbers in _GROUPS]
    sections = [
        ("answer", "Answer"),
        *([("claims", "Claims")] if "claims" in results.extra else []),
        *((key, name) for key, name, some in groups if some or tables.get(key) or intros.get(key)),
        *([("contrasts", "Contrasts")] if tables["contrasts"] else []),
        *([("samples", "Samples")] if tables["samples"] else []),
        ("missing", "Not estimable"),
        ("methods", "Methods"),
        ("provenance", "Provenance"),
    ]
    cohort = results.options.get("cohort") or {}
    title = cohort.get("title") or cohort.get("name") or "Cell type shares"
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("page.html.j2").render(
        title=f"{title}: {results.share_words} by population",
        cohort_title=title,
        synthetic=results.synthetic,
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        js=(_HERE / "page.js").read_text(encoding="utf-8"),
        answer=answer,
        facts=_facts(results),
        sections=sections,
        groups=groups,
        intros=intros,
        claims=claim_rows(results),
        blocks=tables,
        aliases=_aliases(results),
        exclusions=sorted((results.options.get("excluded") or {}).items(), key=lambda kv: -kv[1]),
        methods=methods_paragraphs(results, labels, packages),
        references=references(results),
        steps=steps,
        options=json.dumps(results.options, indent=2, ensure_ascii=False),
        version=__version__,
    )
    with staged(out, step="report", inputs=[compare / "compare.json", figures / "figures.json"]) as folder:
        (folder / "report.html").write_text(page, encoding="utf-8")
    return out / "report.html"
