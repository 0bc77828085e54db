"""Snakemake's own report: each figure kind has a caption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from aida_tools.compare.results import load_results
from aida_tools.config import load_populations
from aida_tools.figures.plates import plates
from aida_tools.figures.style import Palette
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
    results = dataclasses.replace(load_results(page.parent / "compare"), extra=extra)
    palette = Palette(load_populations(root / "config" / "populations.tsv"))
    return [*(p.stem for p in plates(results, palette)), "share_by_sample"]


def test_each_figure_has_a_caption_of_its_own(stems: list[str], root: Path) -> None:
    texts = [caption(root, "figures.rst", name=stem, cohort="sample") for stem in stems]
    assert len(set(texts)) == len(stems) == 19
    assert not [text for text in texts if text.strip().startswith("A figure of the comparison.")]


def test_the_page_and_the_workflow_are_described(root: Path) -> None:
    assert "cohort *sample*" in caption(root, "report.rst", cohort="sample")
    assert "between-site" in caption(root, "workflow.rst")
