"""A comparison asked again gives the very rows of its table; what counts are of makes no difference to the fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.core.schema import write_tsv
from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.models.fitting import fit_all
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs
from aida_tools.results.refit import Comparison, load_comparison
from tests.robustness.conftest import CD4, make_cohort

NUMBERS = [
    "estimate", "std_error", "statistic", "df", "p_value", "ci_low", "ci_high", "share_a", "share_b", "n_samples_a",
    "n_samples_b", "n_batches", "n_zero",
]  # fmt: skip


COUNTED = [m for m in MODELS.values() if m.of_counts]
#: Models that let types borrow from one another.
ALL_TYPES = tuple(m.name for m in COUNTED if not m.one_type)


def compared(folder: Path, **options: object) -> Comparison:
    samples, counts = make_cohort(5, donors=8)
    samples["age"] += np.linspace(0, 0.9, len(samples)).round(7)
    samples["year"] = np.where(np.arange(len(samples)) % 2, 2019, 2020)
    write_tsv(counts, folder / "counts.tsv")
    write_tsv(samples, folder / "samples.tsv")
    given: dict[str, object] = {
        "focus": "Treg", "one_vs_rest": True, "denominators": (f"CD4_T={','.join(CD4)}", "all"), "min_cells": 400,
        "formula": "~ population + age + sex + C(year)",
    }  # fmt: skip
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=Options(**(given | options)))  # type: ignore[arg-type]
    return load_comparison(folder / "compare")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("refit"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """As `asked`, but without robust empirical Bayes, which only models that see all types have."""
    return compared(tmp_path_factory.mktemp("plain"), robust=False, models=ALL_TYPES)


def assert_same(row: dict[str, object], written: dict[str, object]) -> None:
    for name in ("annotator", "cell_type", "denominator", "model", "contrast", "status", "aliased_with", "note"):
        here, there = row.get(name), written[name]
        assert here == there or (pd.isna(here) and pd.isna(there)), name
    for name in NUMBERS:
        here, there = (np.nan if pd.isna(v) else float(v) for v in (row.get(name), written[name]))  # type: ignore[arg-type]
        assert here == there or (np.isnan(here) and np.isnan(there)), (name, here, there)


def assert_all_same(asked: Comparison, table: pd.DataFrame) -> None:
    assert len(table) > 30
    for (denominator, cell_type, model), part in table.groupby(["denominator", "cell_type", "model"]):
        contrasts = [asked.results.contrast(text) for text in part["contrast"]]
        counts = asked.denominators["author", str(denominator)]
        rows = asked.refit(contrasts, denominator=counts, cell_type=str(cell_type), model=str(model))
        for row, written in zip(rows, part.to_dict("records"), strict=True):
            assert_same(row, {str(k): v for k, v in written.items()})


@pytest.mark.parametrize("model", [m.name for m in COUNTED])
def test_an_unchanged_question_returns_the_very_row(asked: Comparison, model: str) -> None:
    table = asked.results.estimates.query("model == @model")
    if MODELS[model].one_type:
        # It is given one type at a time: the focus, and one more to see that it is not always the focus.
        table = table.query("cell_type == 'Treg' or (cell_type == 'NK' and denominator == 'all')")
    assert_all_same(asked, table)


@pytest.mark.parametrize("model", ALL_TYPES)
def test_an_unchanged_question_without_robust_moderation_does_too(plain: Comparison, model: str) -> None:
    assert_all_same(plain, plain.results.estimates.query("model == @model"))


def test_shares_without_counts_are_asked_again_the_same_way(tmp_path: Path) -> None:
    samples, counts = make_cohort(5, donors=8)
    totals = counts.groupby("sample_id")["n_cells"].transform("sum")
    shares = counts.assign(percent=100 * counts["n_cells"] / totals).drop(columns="n_cells")
    write_tsv(shares.iloc[3:], tmp_path / "counts.tsv")
    write_tsv(samples, tmp_path / "samples.tsv")
    options = Options(focus="Treg")
    compare(tmp_path / "counts.tsv", tmp_path / "samples.tsv", tmp_path / "compare", options=options)
    asked = load_comparison(tmp_path / "compare")
    table = asked.results.focus_estimates()
    for model, part in table.groupby("model"):
        contrasts = [asked.results.contrast(text) for text in part["contrast"]]
        for row, written in zip(asked.refit(contrasts, model=str(model)), part.to_dict("records"), strict=True):
            assert_same(row, {str(k): v for k, v in written.items()})
    assert set(table["model"]) == {"log10-ols", "quasi-share"}


def test_types_added_up_leave_the_others_of_their_denominator_as_they_are(asked: Comparison) -> None:
    """Models that let types borrow from one another see the same table but for the sum."""
    counts = asked.denominators["author", "all"]
    united = counts.united("both", ["Treg", "NK"])
    assert united.types == ["both", "CD4_naive", "CD4+_T", "T"]
    np.testing.assert_array_equal(united.counts.sum(axis=1), counts.counts.sum(axis=1))
    alone = counts.united("Treg", ["Treg"])
    contrast = Contrast("population", "Korean", "Japanese")
    for model in ("propeller-logit", "propeller-asin", "clr", "clr-2class"):
        [one] = asked.refit([contrast], denominator=alone, cell_type="Treg", model=model)
        [other] = asked.refit([contrast], denominator=counts, cell_type="Treg", model=model)
        # The same types in another order: equal but for rounding.
        assert one["estimate"] == pytest.approx(other["estimate"], abs=1e-10)
        assert one["std_error"] == pytest.approx(other["std_error"], abs=1e-10)


def test_a_denominator_of_molecules_is_fitted_as_one_of_cells_and_called_by_its_name(asked: Comparison) -> None:
    """Shares of UMIs: totals of millions, a type that nobody has, and sentences that say UMI."""
    rng = np.random.default_rng(2)
    samples = asked.selection.samples
    n = len(samples)
    totals = rng.integers(200_000, 5_000_000, n).astype(float)
    share = 2e-4 * np.exp(rng.normal(0, 0.3, n) - 0.8 * (samples["population"] == "Korean"))
    counts = np.column_stack([rng.binomial(totals.astype(int), share), np.zeros(n), np.zeros(n)]).astype(float)
    counts[:, 2] = totals - counts[:, 0]
    umis = Denominator("author", "Treg", ["programme", "nothing", "other"], counts, totals, unit="UMI")
    cells = Denominator("author", "Treg", ["programme", "nothing", "other"], counts, totals)
    contrasts = [Contrast("population", "Korean", "SG_Chinese")]
    names = ["betabinomial-mixed", "quasibinomial", "propeller-logit", "log10-ols"]
    told = {}
    for unit, d in (("UMI", umis), ("cell", cells)):
        designs = Designs(samples, asked.formula, contrasts, tests=True)
        settings = [(s, name) for name in names for s in designs.settings(d, MODELS[name])]
        told[unit] = pd.DataFrame(fit_all(settings, robust=True, primary=names[0]).estimates)
    pd.testing.assert_frame_equal(told["UMI"].drop(columns="note"), told["cell"].drop(columns="note"))
    found = told["UMI"].query("cell_type == 'programme' and model == 'betabinomial-mixed'").iloc[0]
    assert found["estimate"] == pytest.approx(-0.8, abs=4 * found["std_error"])
    assert found["std_error"] < 0.2
    notes = told["UMI"].query("cell_type == 'nothing'")["note"]
    assert set(notes) == {"no sample has a UMI of this type"}
    assert not told["UMI"]["note"].dropna().str.contains("cell").any()
