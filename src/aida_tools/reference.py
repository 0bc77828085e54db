"""What is made from the code: JSON schemas, descriptions of a user's files and of a run's tables, captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aida_tools import rooms, runs
from aida_tools.annotate.registry import ANNOTATORS
from aida_tools.claims.model import Claims
from aida_tools.core.cohort_file import (
    CellxgeneSource,
    CohortConfig,
    Column,
    Columns,
    Controls,
    FileSource,
    Labels,
    Proteins,
    SampleSource,
)
from aida_tools.core.options import COMMAND_LINE, default_words, fields
from aida_tools.core.schema import TABLES, Table
from aida_tools.figures.registry import FIGURES
from aida_tools.models.registry import MODELS

#: What follows this line in config/README.md is made from the classes.
REFERENCE_MARK = "<!-- made by `python -m aida_tools.reference`; do not edit below -->"


def _run_schema() -> dict[str, Any]:
    """Return the JSON schema of a run file, whose blocks lack what stands at its top."""
    kind = runs.run_class()
    schema = kind.model_json_schema()
    for found in schema["$defs"].values():
        kept = {name: key for name, key in found["properties"].items() if name not in runs.ELSEWHERE}
        # How an option is written on a command line is no business of a run file.
        found["properties"] = {
            name: {k: v for k, v in key.items() if k not in COMMAND_LINE} for name, key in kept.items()
        }
    # Pydantic tells classes of one name apart by their modules; the key of the block says it better.
    text = json.dumps(schema)
    for name, block in runs.blocks().items():
        text = text.replace(f"{block.__module__}.{block.__qualname__}".replace(".", "__"), name)
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def schemas() -> dict[str, str]:
    """Return the JSON schemas of the files a user writes: file name -> text."""
    made = {"cohort": CohortConfig.model_json_schema(), "run": _run_schema(), "claims": Claims.model_json_schema()}
    return {
        f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in made.items()
    }


def _describe(field: FieldInfo) -> str:
    texts = [field.description, *(getattr(m, "description", None) for m in field.metadata)]
    return next((text for text in texts if text), "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if hasattr(value, "__pydantic_fields__"):
        value = value.model_dump(exclude_defaults=True) if isinstance(value, BaseModel) else None
    if isinstance(value, Path):
        return default_words(field)
    return f"`{json.dumps(value)}`" if value not in (None, {}, [], (), "") else ""


def _table(
    title: str, summary: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, mark: str = "##"
) -> str:
    lines = [" | ".join(row).join(("| ", " |")) for row in (header, ["---"] * len(header), *rows)]
    return "\n".join([f"{mark} {title}", "", summary, "", *lines])


def reference() -> str:
    """Return what a run may name as Markdown: every key, one table a block, and the statistical models."""
    run: list[tuple[str, type]] = [
        ("A run file", runs.run_class()),
        ("`train`, one classifier", runs.Training),
        *((f"`{name}`", kind) for name, kind in runs.blocks().items()),
    ]
    cohort: list[tuple[str, type]] = [
        ("A cohort file", CohortConfig),
        ("`source`, kind `cellxgene`", CellxgeneSource),
        ("`source`, kind `h5ad`, `10x-h5` or `10x-mtx`", FileSource),
        ("`source`, kind `sample`", SampleSource),
        ("`columns`", Columns),
        ("One column, in full", Column),
        ("`controls`", Controls),
        ("`labels`", Labels),
        ("`proteins`", Proteins),
    ]
    models = _table(
        "Statistical models",
        "What `models` of the block `compare` may name.",
        ("model", "what", "estimate", "source"),
        [(f"`{name}`", model.words, model.unit, model.reference) for name, model in MODELS.items()],
    )
    annotators = _table(
        "Annotators",
        "What `annotators` may name, beside the classifiers of `train` and `classifier_folder`.",
        ("annotator", "who labels", "needs"),
        [(f"`{name}`", entry.words, ", ".join(entry.needs)) for name, entry in ANNOTATORS.items()],
    )
    return (
        "\n\n".join([*(_keys(*block) for block in run), models, annotators, *(_keys(*block) for block in cohort)])
        + "\n"
    )


def _keys(title: str, kind: type) -> str:
    hidden = {"kind", *(runs.ELSEWHERE if kind in (runs.Training, *runs.blocks().values()) else ())}
    rows = [
        (f"`{name}`", _describe(field), _default(field)) for name, field in fields(kind).items() if name not in hidden
    ]
    return _table(title, (kind.__doc__ or "").strip(), ("key", "what", "default"), rows)


_TABLES_HEAD = """# Tables

Every table that a step writes, by the name of its step. TSV files are UTF-8, with a header and without an index; a
missing value is an empty field. Parquet files are compressed with zstd. Whoever reads a table checks it by what stands
here and names file, column, row and value of the first mistake. Beside every figure lies a table of what it shows;
it has the columns of the tables it was drawn from, and those that its caption names.

<!-- made by `python -m aida_tools.reference`; do not edit -->"""


def tables() -> str:
    """Return the tables that the steps write as Markdown, the columns of each with kind, unit and range."""
    rooms.load("tables")
    steps: dict[str, list[Table]] = {}
    for table in TABLES.values():
        steps.setdefault(table.step, []).append(table)
    parts = [_TABLES_HEAD]
    for step in sorted(steps):
        parts += [f"## `{step}`", *(_columns(table) for table in steps[step])]
    return "\n\n".join(parts) + "\n"


def _columns(table: Table) -> str:
    rows = [(f"`{c.name}`", c.range, "yes" if c.empty else "", c.what.replace("|", "\\|")) for c in table.columns]
    rows += [("...", "", "yes", f"further columns: {table.open}")] if table.open else []
    header = ("column", "holds", "may be empty", "what")
    return _table(f"`{table.file}`", f"A row is {table.what}.", header, rows, mark="###")


def captions() -> str:
    """Return the template of the captions in Snakemake's own report, which knows a figure by the stem of its files."""
    rooms.load("figures")
    entries = sorted(FIGURES.values(), key=lambda e: (e.section, e.place, e.key))
    return "\n".join(
        (
            "{#- made by `python -m aida_tools.reference`; do not edit -#}",
            *(f'{{%- if snakemake.wildcards.name.startswith("{e.key}") %}}{e.short}{{% endif %}}' for e in entries),
            "{#- #} The captions with this run's numbers are in ``figures.json`` and in the report.",
            "",
        )
    )


def main() -> None:
    """Write what is made from the code: in workflow/schemas, workflow/report, config/README.md, docs/reference."""
    Path("workflow/report/figures.rst").write_text(captions(), encoding="utf-8")
    Path("docs/reference/tables.md").write_text(tables(), encoding="utf-8")
    for name, text in schemas().items():
        Path("workflow/schemas", name).write_text(text, encoding="utf-8")
    readme = Path("config/README.md")
    head, mark, _ = readme.read_text(encoding="utf-8").partition(REFERENCE_MARK)
    readme.write_text(head + mark + "\n\n" + reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
