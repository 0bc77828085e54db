"""Snakemake's own report: each figure kind has a caption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aida_tools import reference
from aida_tools.core.populations import load_populations
from aida_tools.core.schema import TABLES
from aida_tools.figures.registry import FIGURES
from aida_tools.figures.run import plates
from aida_tools.figures.style import Palette
from aida_tools.results.results import load_results
from tests.figures import made_extra as made
from tests.figures import made_labels


def caption(root: Path, file: str, **wildcards: str) -> str:
    folder = FileSystemLoader(root / "workflow" / "report")
    environment = Environment(loader=folder, undefined=StrictUndefined, autoescape=False)
    return environment.get_template(file).render(snakemake=SimpleNamespace(wildcards=SimpleNamespace(**wildcards)))


@pytest.fixture(scope="module")
def stems(page: Path, root: Path) -> list[str]:
    """Return the names of all figures that there can be."""
    tests, null = made.permutation()
    extra = {
        "specification": made.specification(), "site_bound": made.site_bound(), "permutation": tests,
        "permutation_null": null, "confusion": made.agreement(), "claims": made.claims()[0],
        "claim_contrasts": made.claims()[1], "power_curves": made.power_curves(),
        "recalibrated": made.recalibrated(), "leave_one_out": made.leave_one_out(),
        "agreement": made_labels.agreement(), "curves": made_labels.curves(), "thinned": made_labels.thinned(),
    }  # fmt: skip
    results = load_results(page.parent / "compare")
    tables = {name: TABLES[f"{name}.tsv"].frame(rows) for name, rows in extra.items()}
    results = dataclasses.replace(results, tables=results.tables | tables)
    palette = Palette(load_populations(root / "config" / "populations.tsv"))
    return [*(p.stem for p in plates(results, palette).values()), "share_by_sample"]


def test_each_figure_has_a_caption_of_its_own(stems: list[str], root: Path) -> None:
    """workflow/report/figures.rst is written by `python -m aida_tools.reference`."""
    assert (root / "workflow" / "report" / "figures.rst").read_text(encoding="utf-8") == reference.captions()
    texts = {stem: caption(root, "figures.rst", name=stem, cohort="sample") for stem in stems}
    assert len({entry.short for entry in FIGURES.values()}) == len(FIGURES)
    for stem, text in texts.items():
        (entry,) = [e for key, e in FIGURES.items() if stem.startswith(key)]
        assert text == f"{entry.short} The captions with this run's numbers are in ``figures.json`` and in the report."


def test_the_page_and_the_workflow_are_described(root: Path) -> None:
    assert "cohort *sample*" in caption(root, "report.rst", cohort="sample")
    assert "between-site" in caption(root, "workflow.rst")
