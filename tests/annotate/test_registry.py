"""Annotators are entries: one that a test registers is known everywhere, and labels cells like the others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools import runs
from aida_tools.agreement.run import agreement
from aida_tools.annotate import registry
from aida_tools.annotate.annotation import SCORES, Annotation
from aida_tools.annotate.asked import SCAN, Asked
from aida_tools.annotate.card import Card
from aida_tools.annotate.inputs import Inputs
from aida_tools.annotate.run import annotate
from aida_tools.compose.run import compose
from aida_tools.core.cohort_file import CohortConfig, load_cohort
from aida_tools.core.config import parse
from aida_tools.core.errors import AidaError

COHORT = """
name: small
title: SYNTHETIC cells
synthetic: true
source: { kind: h5ad, path: data.h5ad }
columns: { donor_id: donor, population: { value: unknown } }
"""


def label_by_coin(inputs: Inputs) -> Annotation:
    """Label every second cell Treg."""
    ids = pd.read_parquet(inputs.cells_path, columns=["cell_id"])["cell_id"]
    types = pd.Categorical(np.where(np.arange(len(ids)) % 2, "CD4_T_other", "Treg"))
    labels = pd.DataFrame({"cell_id": ids, "cell_type": types, "label": types})
    sets = pd.DataFrame({"denominator": "CD4_T", "cell_type": ["CD4_T_other", "Treg"]})
    card = Card(inputs.annotator, "A coin was thrown for every cell")
    return Annotation(labels.assign(**dict.fromkeys(SCORES, np.nan)), sets, card)


@pytest.fixture
def coin() -> Iterator[registry.Annotator]:
    yield registry.register(registry.Annotator("coin", "toy", "the toss of a coin", label_by_coin, taught=False))
    del registry.ANNOTATORS["coin"]


def settle(names: str, cohort: Path) -> runs.RunConfig:
    run = parse({"cohorts": [str(cohort)], "annotators": names.split()}, runs.RunConfig, "run.yaml")
    return runs.settle(run, {str(cohort): load_cohort(cohort)}, "run.yaml")


def test_a_new_annotator_is_checked_labels_counts_and_is_described(coin: registry.Annotator, tmp_path: Path) -> None:
    cohort, cells = tmp_path / "cohort.yaml", tmp_path / "cells" / "cells.parquet"
    cohort.write_text(COHORT)
    table = pd.DataFrame({"cell_id": [f"c{i}" for i in range(8)], "author_label": None, "cell_type_id": None})
    table = table.assign(sample_id=["s1", "s2"] * 4, donor_id=["d1", "d2"] * 4, population="unknown", site="x")
    table = table.assign(batch="b", library="l", sex="unknown", age=40.0, is_control=False)
    cells.parent.mkdir()
    table.to_parquet(cells)

    # The run file: known by name, and asked about its variants.
    assert settle("coin", cohort).annotators == ["coin"]
    with pytest.raises(AidaError, match=r"no classifier 'coyn' in classifiers\. Did you mean 'coin'\?"):
        settle("coyn", cohort)
    with pytest.raises(AidaError, match=r"'coin:soft': only an annotator that reads a scan"):
        settle("coin:soft", cohort)

    annotate(cohort, cells, None, "coin", tmp_path / "coin")
    labels = pd.read_parquet(tmp_path / "coin" / "labels.parquet")
    assert labels["cell_type"].tolist() == ["Treg", "CD4_T_other"] * 4
    card = json.loads((tmp_path / "coin" / "annotator.json").read_text())
    assert (card["kind"], card["words"], card["taught"]) == ("toy", "the toss of a coin", False)

    compose(cells, [tmp_path / "coin"], tmp_path / "counts")
    counts = pd.read_csv(tmp_path / "counts" / "counts.tsv", sep="\t")
    found = counts.set_index(["annotator", "sample_id", "cell_type"])["n_cells"].to_dict()
    assert found[("coin", "s1", "Treg")] == 4
    assert found[("coin", "s2", "Treg")] == 0

    agreement(cells, [tmp_path / "coin"], tmp_path / "agreement")
    described = pd.read_csv(tmp_path / "agreement" / "annotators.tsv", sep="\t").iloc[0]
    assert (described["annotator"], described["words"]) == ("coin", "the toss of a coin")
    assert not described["taught"]
    assert described["description"] == "A coin was thrown for every cell."


def test_what_an_entry_needs_is_asked_of_the_cohort(coin: registry.Annotator) -> None:
    only_cells = {"kind": "cellxgene", "collection_id": "c", "dataset_id": "d"}
    columns = {"donor_id": "donor", "population": {"value": "Korean"}}
    cohort = parse({"name": "m", "title": "t", "source": only_cells, "columns": columns}, CohortConfig, "c.yaml")
    Asked(["coin"]).check_cohort("c.yaml", cohort, "run.yaml")
    registry.register(registry.Annotator("coin", "toy", "the toss of a coin", label_by_coin, ("scan",)))
    with pytest.raises(AidaError, match=r"'coin' \(the toss of a coin\) cannot label .*'source\.route: full'"):
        Asked(["coin"]).check_cohort("c.yaml", cohort, "run.yaml")
    assert Asked(["coin-thinned"]).classifiers_of_scan(SCAN) == []


def test_a_name_nobody_registered_is_a_classifiers() -> None:
    one, folds = registry.find("mine-thinned:soft"), registry.find("mine", folds=2)
    assert (one.name, one.kind, one.classifiers, one.soft) == ("mine", "classifier", ("mine",), True)
    assert (folds.kind, folds.classifiers) == ("folds", ("mine.1", "mine.2"))
    # Their probabilities are not calibrated.
    assert not any(registry.find(name).soft for name in registry.PUBLISHED)


def test_the_functions_that_entries_name_are_there() -> None:
    for entry in (*registry.ANNOTATORS.values(), registry.find("mine")):
        if isinstance(entry.run, str):
            module, _, name = entry.run.partition(":")
            __import__(module)
            assert callable(getattr(sys.modules[module], name))


def test_a_run_file_is_checked_without_loading_what_reads_cells() -> None:
    code = "import sys, aida_tools.annotate.asked; print({'pandas', 'anndata', 'numba', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
