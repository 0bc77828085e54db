"""`import aida_tools as aida`: what is listed exists, is described alike, stays light, and does what the files do."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aida_tools as aida

FUNCTIONS = {n: getattr(aida, n) for n in aida.__all__ if inspect.isfunction(getattr(aida, n))}
FUNCTIONS |= {
    f"figures.{n}": getattr(aida.figures, n)
    for n in aida.figures.__all__
    if inspect.isfunction(getattr(aida.figures, n))
}


def sections(docstring: str) -> dict[str, str]:
    parts = re.split(r"\n(\w[\w ]*)\n-{3,}\n", docstring)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_described_alike(name: str) -> None:
    function: Callable[..., Any] = FUNCTIONS[name]
    docstring, signature = inspect.getdoc(function) or "", inspect.signature(function)
    described = sections(docstring)
    assert docstring.partition("\n")[0].endswith("."), "a one-line summary"
    assert "Returns" in described
    if "raise " in inspect.getsource(function):
        assert "AidaError" in described["Raises"]
    named = {
        n.strip() for line in re.findall(r"^(\w.*)$", described.get("Parameters", ""), re.M) for n in line.split(",")
    }
    assert set(signature.parameters) == named
    positional = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 3
    assert all(p.default is p.empty for p in positional), "options are keyword-only"
    assert all(p.annotation is not p.empty for p in signature.parameters.values())
    assert signature.return_annotation is not signature.empty


def test_every_listed_name_is_there_and_no_other() -> None:
    assert set(dir(aida)) == set(aida.__all__)
    for name in aida.__all__:
        assert getattr(aida, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'compare_population'"):
        _ = aida.compare_population


def test_the_import_is_light() -> None:
    heavy = "{'numpy', 'pandas', 'scipy', 'matplotlib', 'anndata', 'scanpy'}"
    code = f"import sys, aida_tools; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def two_groups() -> tuple[pd.DataFrame, pd.DataFrame]:
    ids = list("abcdefgh")
    samples = pd.DataFrame({"sample_id": ids, "population": ["Korean"] * 4 + ["Thai"] * 4, "site": "X"})
    samples["batch"] = ["1", "2"] * 4
    treg = np.array([12, 9, 15, 11, 20, 24, 18, 22])
    counts = pd.DataFrame({"sample_id": ids * 2, "cell_type": ["Treg"] * 8 + ["other"] * 8})
    return counts.assign(n_cells=[*treg, *(np.arange(400, 480, 10) - treg)]), samples


def test_two_groups_of_a_binomial_model_differ_by_their_pooled_log_odds() -> None:
    counts, samples = two_groups()
    before = counts.copy(), samples.copy()
    results = aida.compare_populations(counts, samples, formula="~ population", models=["quasibinomial"])
    pooled = counts.merge(samples).pivot_table(index="population", columns="cell_type", values="n_cells", aggfunc="sum")
    log_odds = np.log(pooled["Treg"] / pooled["other"])
    [row] = results.focus_estimates().to_dict("records")
    assert row["estimate"] == pytest.approx(log_odds["Korean"] - log_odds["Thai"], abs=1e-8)
    assert row["status"] == "within-site"
    pd.testing.assert_frame_equal(counts, before[0])
    pd.testing.assert_frame_equal(samples, before[1])


def test_a_list_of_denominators_is_that_of_the_command_line() -> None:
    counts, samples = two_groups()
    both = aida.compare_populations(counts, samples, formula="~ population", denominators={"T": ["Treg", "other"]})
    assert list(both.options["denominators"]) == ["T", "all"]
    alone = aida.compare_populations(counts, samples, formula="~ population", denominators=["T=Treg,other"])
    assert list(alone.options["denominators"]) == ["T"]


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(aida.AidaError, match=r"unknown option 'model'\. Did you mean 'models'"):
        aida.compare_populations(*two_groups(), model="betabinomial")


def test_a_wrong_count_is_named() -> None:
    counts, samples = two_groups()
    counts = counts.assign(n_cells=counts["n_cells"] - 12)
    with pytest.raises(aida.AidaError, match=r"column 'n_cells', row 2: value '-3\.0' must be a number of 0 or more"):
        aida.compare_populations(counts, samples, formula="~ population")


@pytest.fixture(scope="module")
def adata(small_run: Path) -> Any:
    import anndata

    return anndata.read_h5ad(small_run / "fetch" / "data.h5ad")


def test_an_anndata_object_takes_the_same_way_as_its_file(root: Path, small_run: Path, adata: Any) -> None:
    cohort = aida.load_cohort(small_run.parents[1] / "sample.yaml")
    populations = aida.load_populations(root / "config" / "populations.tsv")
    cells = aida.cells_table(adata, cohort, populations=populations)
    written = aida.read_cells(small_run / "cells" / "cells.parquet")
    pd.testing.assert_frame_equal(cells.astype(str), written.astype(str))
    labels, sets = aida.author_labels(cells, cohort)
    counts, samples = aida.count_cells(cells, labels, annotator="author")
    table = counts.pivot(index="sample_id", columns="cell_type", values="n_cells")
    by_pandas = pd.crosstab(cells["sample_id"].astype(str), labels.to_numpy().astype(str))
    assert (table.loc[by_pandas.index, by_pandas.columns] == by_pandas).all(axis=None)
    assert table.to_numpy().sum() == by_pandas.to_numpy().sum() == labels.notna().sum()
    options = {"exclude_populations": ["Indian"], "min_cells": 40, "one_vs_rest": True, "models": ["quasibinomial"]}
    found = aida.compare_populations(counts, samples, denominators=sets, cohort=cohort, **options)
    filed = aida.load_results(small_run / "compare").focus_estimates().query("model == 'quasibinomial'")
    mine = found.focus_estimates().set_index("contrast")
    assert found.synthetic
    np.testing.assert_allclose(mine.loc[filed["contrast"], "estimate"].astype(float), filed["estimate"], rtol=1e-9)
    assert mine.loc[filed["contrast"], "status"].tolist() == filed["status"].tolist()


def test_the_gate_of_an_anndata_object_is_that_of_the_scan(root: Path, small_run: Path, adata: Any) -> None:
    gated = aida.gate_cells(adata.raw.to_adata(), root / "config" / "annotators" / "gate.tsv")
    scan = pd.read_parquet(small_run / "scan" / "scan.parquet")
    assert gated.index.tolist() == scan["cell_id"].tolist()
    assert gated["label"].astype(str).tolist() == scan["gate:label"].astype(str).tolist()
    assert {"Treg", "B"} <= set(gated["label"])
    with pytest.raises(aida.AidaError, match="holds no raw counts"):
        aida.gate_cells(adata, root / "config" / "annotators" / "gate.tsv")
