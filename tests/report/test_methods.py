"""The methods say what was done under the model that was used, whichever it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aida_tools.models.registry import MODELS
from aida_tools.report.methods import methods_paragraphs
from aida_tools.results.results import Results, load_results


@pytest.fixture(scope="module")
def results(made_up: Path) -> Results:
    return load_results(made_up)


def methods(results: Results, **options: object) -> str:
    return "\n".join(methods_paragraphs(dataclasses.replace(results, options=results.options | options), {}, {}))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_described_by_its_entry(results: Results, model: str) -> None:
    text, entry = methods(results, model=model, models=[model]), MODELS[model]
    assert f"Shares were compared by {entry.words} ({model}) with the formula" in text
    assert ("stayed in" in text) != entry.drops_zeros
    assert ("Effects are odds ratios" in text) == (entry.link == "logit")
    assert ("Effects are ratios of shares" in text) == (entry.link == "log10")
    assert (f"on the model's own scale ({entry.unit})" in text) == (entry.link not in ("logit", "log10"))
    assert ("Only donors of the same batch" in text) == entry.by_batch


def test_shares_are_averaged_over_the_columns_of_the_formula(results: Results) -> None:
    assert "predictions over the age and sex of all samples" in methods(results)
    assert "predictions over the sex of all samples" in methods(results, formula="~ population + sex")
    assert "predictions over" not in methods(results, formula="~ population")


def test_what_was_counted_is_said(results: Results) -> None:
    assert "the number of Treg cells among CD4 T cells and all cells in each sample" in methods(results)
    assert "the Treg share of CD4 T cells" in methods(results, has_counts=False)
    assert "the number of" not in methods(results, has_counts=False)
