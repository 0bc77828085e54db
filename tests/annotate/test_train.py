"""Training: what is learnt from whom, and whether its figures and probabilities are honest."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import precision_recall_fscore_support

from aida_tools.annotate import learn
from aida_tools.annotate.train import choose_genes, gather_expression, train_model
from aida_tools.errors import AidaError
from aida_tools.scan.model import load_model
from aida_tools.scan.run import SCAN, scan
from aida_tools.scan.stores import open_counts

COHORT = """
name: small
title: SYNTHETIC cohort to learn from
synthetic: true
licence: none
source: { kind: h5ad, path: data.h5ad }
columns: { donor_id: donor, population: { value: unknown } }
"""
N_CELLS, N_GENES = 3000, 120


@pytest.fixture(autouse=True)
def _quiet_anndata() -> Iterator[None]:
    """Let anndata 0.13 ask pandas 3 for an option that pandas 4 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string'")
        yield


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    """Three types with 8 marker genes each, the rare one 6 % of cells; 10 donors."""
    rng = np.random.default_rng(7)
    types = rng.choice(3, N_CELLS, p=[0.5, 0.44, 0.06])
    rates = np.tile(rng.gamma(2, 0.5, N_GENES), (3, 1))
    for k in range(3):
        rates[k, 30 + 10 * k : 38 + 10 * k] *= 3
    counts = rng.poisson(rates[types] * rng.gamma(5, 0.2, (N_CELLS, 1)))
    names = np.array(["naive", "B", "Treg"])
    return {"counts": counts, "label": names[types], "donor": rng.choice([f"d{i}" for i in range(10)], N_CELLS)}


@pytest.fixture
def cohort(tmp_path: Path, truth: dict[str, Any], root: Path) -> Path:
    gate = pd.read_csv(root / "config" / "annotators" / "gate.tsv", sep="\t")["gene"].tolist()
    names = [*gate, *[f"GENE{i}" for i in range(N_GENES - len(gate))]]
    ids = [f"cell{i}" for i in range(N_CELLS)]
    obs = pd.DataFrame({"donor": truth["donor"]}, index=ids)
    ad.AnnData(sp.csr_matrix(truth["counts"]), obs=obs, var=pd.DataFrame(index=names)).write_h5ad(
        tmp_path / "data.h5ad"
    )
    (tmp_path / "cohort.yaml").write_text(COHORT)
    for folder in ("fetch", "cells", "author"):
        (tmp_path / folder).mkdir()
    (tmp_path / "fetch" / "source.json").write_text(json.dumps({"path": "../data.h5ad", "format": "h5ad"}))
    cl = pd.Series(truth["label"]).map({"Treg": "CL:0000815", "B": "CL:0000236"})
    cells = pd.DataFrame({"cell_id": ids, "donor_id": truth["donor"], "cell_type_id": cl})
    cells.to_parquet(tmp_path / "cells" / "cells.parquet")
    labels = pd.DataFrame({"cell_id": ids, "cell_type": truth["label"], "label": truth["label"]})
    labels.loc[:20, ["cell_type", "label"]] = None
    labels.to_parquet(tmp_path / "author" / "labels.parquet")
    (tmp_path / "author" / "sets.tsv").write_text(
        "denominator\tannotator\tcell_type\nCD4_T\tauthor\tTreg\nCD4_T\tauthor\tnaive\nT\tauthor\tTreg\n"
    )
    return tmp_path


@pytest.fixture
def train(cohort: Path) -> Callable[..., Path]:
    def go(**options: Any) -> Path:
        folders = [cohort / name for name in ("cohort.yaml", "fetch", "cells", "author", "models")]
        train_model(*folders, **({"name": "m", "genes_per_class": 12, "cells_per_class": 300} | options))
        return cohort / "models" / "m"

    return go


def test_a_trained_model_labels_the_cohort_through_the_scan(
    train: Callable[..., Path], cohort: Path, root: Path, truth: dict[str, Any]
) -> None:
    folder = train()
    scan(
        cohort / "cohort.yaml", cohort / "fetch", cohort / "scan", models=["m"], model_folder=cohort / "models",
        gate_path=root / "config" / "annotators" / "gate.tsv",
    )  # fmt: skip
    table = pd.read_parquet(cohort / "scan" / SCAN)
    right = table["m:label"].astype(str) == truth["label"]
    assert right.mean() > 0.9
    # Probabilities are those of the composition as it is, although rare types were learnt from in excess.
    assert table["m:probability"].mean() == pytest.approx(right.mean(), abs=0.02)
    treg = table["m:label"] == "Treg"
    assert treg.mean() == pytest.approx((truth["label"] == "Treg").mean(), abs=0.015)
    label_map = pd.read_csv(folder / "labels.tsv", sep="\t")
    row = label_map.set_index("label").loc["Treg"]
    assert (row["cell_type"], row["cell_type_id"], row["sets"]) == ("Treg", "CL:0000815", "CD4_T,T")
    assert label_map.set_index("label")["treg"].dropna().to_dict() == {"Treg": "in", "naive": "out"}
    # Told apart from the other CD4 T cells only: B cells do not count.
    odds = table.loc[treg, "m:margin_Treg"]
    assert (odds > 0).mean() > 0.99


def test_the_figures_are_of_donors_it_has_not_seen(train: Callable[..., Path], cohort: Path) -> None:
    folder = train(seed=3, cells_per_class=3000)
    model = load_model(folder)
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    donors, names = pd.factorize(cells["donor_id"])
    roles = learn.split_donors(donors, len(names), np.random.default_rng(3))
    labels = pd.read_parquet(cohort / "author" / "labels.parquet")["label"]
    known = labels.notna().to_numpy()
    by_class = pd.read_csv(folder / "evaluation.tsv", sep="\t").set_index("label")
    assert by_class["n"].to_dict() == labels[known & (roles == learn.TEST)].value_counts().to_dict()
    assert "6 to learn from, 2 to calibrate, 2 to test" in model.about["donors"]
    assert by_class["f1"].min() > 0.7
    assert by_class["n_expected"].sum() == pytest.approx(by_class["n"].sum())


def test_the_same_seed_gives_the_same_model(train: Callable[..., Path]) -> None:
    first = (train() / "model.npz").read_bytes()
    assert (train() / "model.npz").read_bytes() == first
    assert (train(seed=2) / "model.npz").read_bytes() != first


def test_too_few_donors_are_refused(train: Callable[..., Path], cohort: Path) -> None:
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    cells.assign(donor_id="d1").to_parquet(cohort / "cells" / "cells.parquet")
    with pytest.raises(AidaError, match="1 donors and 3 classes"):
        train()
    assert not (cohort / "models").exists()


def test_chosen_genes_are_the_markers(cohort: Path, truth: dict[str, Any]) -> None:
    rows = np.arange(0, N_CELLS, 2)
    codes = pd.factorize(truth["label"], sort=True)[0][rows]
    with open_counts(cohort / "data.h5ad") as counts:
        genes = choose_genes(counts, rows, codes, 8)
        expression = gather_expression(counts, rows, genes)
    markers = {30 + 10 * k + i for k in range(3) for i in range(8)}
    # Chance would find five of them; those of faint genes may lose to it.
    assert len(markers & set(genes.tolist())) >= 16
    logged = np.log1p(1e4 * truth["counts"] / truth["counts"].sum(axis=1, keepdims=True))
    np.testing.assert_allclose(expression.toarray(), logged[rows][:, genes])


def test_selection_takes_the_largest_standardised_differences() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.gamma(1, 1, (200, 30)), rng.integers(0, 3, 200)
    x[labels == 1, 4] += 5
    sums = np.array([x[labels == k].sum(axis=0) for k in range(3)])
    squares = np.array([(x[labels == k] ** 2).sum(axis=0) for k in range(3)])
    chosen = learn.select_genes(sums, squares, np.bincount(labels), 3)
    effects = []
    for k in range(3):
        a, b = x[labels == k], x[labels != k]
        within = np.sqrt((((a - a.mean(0)) ** 2).sum(0) + ((b - b.mean(0)) ** 2).sum(0)) / 200)
        effects.append(np.abs(a.mean(0) - b.mean(0)) / (within + 0.1))
    expected = {int(g) for e in effects for g in np.argsort(-e)[:3]}
    assert set(chosen.tolist()) == expected
    assert 4 in expected


def test_donors_are_not_shared_between_roles() -> None:
    donors = np.random.default_rng(0).integers(0, 20, 1000)
    roles = learn.split_donors(donors, 20, np.random.default_rng(1))
    table = pd.crosstab(donors, roles) > 0
    assert (table.sum(axis=1) == 1).all()
    assert table.sum().tolist() == [12, 4, 4]
    assert set(learn.split_donors(np.arange(3), 3, np.random.default_rng(0))) == {0, 1, 2}


def test_weights_restore_the_composition() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 10_000, p=[0.7, 0.2, 0.09, 0.01])
    labels[:50] = -1
    roles = rng.choice(3, 10_000).astype(np.int8)
    rows, weights = learn.draw_cells(labels, roles, 100, rng)
    assert (np.diff(rows) > 0).all()
    assert (labels[rows] >= 0).all()
    learning = roles[rows] == learn.TRAIN
    assert np.bincount(labels[rows][learning]).max() == 100
    share = np.bincount(labels[rows][learning], weights[learning]) / weights[learning].sum()
    expected = np.bincount(labels[(roles == learn.TRAIN) & (labels >= 0)])
    np.testing.assert_allclose(share, expected / expected.sum())
    assert weights[learning].mean() == pytest.approx(1)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert learn.fit_temperature(3 * scores, labels) == pytest.approx(3, rel=0.05)
    assert learn.fit_temperature(scores / 2, labels) == pytest.approx(0.5, rel=0.05)


def test_evaluation_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([1, 1, 1], 500)
    truth = rng.integers(0, 2, 500)
    by_class, reliability = learn.evaluate(truth, probability, ["a", "b", "c"])
    precision, recall, f1, n = precision_recall_fscore_support(
        truth, probability.argmax(axis=1), labels=[0, 1, 2], zero_division=np.nan
    )
    np.testing.assert_allclose(by_class["precision"], precision)
    np.testing.assert_allclose(by_class["recall"], recall)
    np.testing.assert_allclose(by_class["f1"].fillna(0), np.nan_to_num(f1))
    np.testing.assert_array_equal(by_class["n"], n)
    assert reliability["n"].sum() == 500
    share = (reliability["accuracy"] * reliability["n"]).sum() / 500
    assert share == pytest.approx((probability.argmax(axis=1) == truth).mean())
