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
from aida_tools.annotate.expression import choose_genes, gather_expression
from aida_tools.annotate.run import annotate
from aida_tools.annotate.tables import DONORS, EVALUATION, EVALUATION_BY_SITE, RELIABILITY
from aida_tools.annotate.train import train_classifier
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import EXPECTED
from aida_tools.scan.classifier import load_linear
from aida_tools.scan.run import scan
from aida_tools.scan.stores import open_counts
from aida_tools.scan.tables import LABEL_MAP, SCAN

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
    cells = pd.DataFrame({"cell_id": ids, "donor_id": truth["donor"], "cell_type_id": cl, "is_control": False})
    cells["site"] = np.where(cells["donor_id"] < "d4", "KR", "JP")
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
        folders = [cohort / name for name in ("cohort.yaml", "fetch", "cells", "author", "classifiers")]
        train_classifier(*folders, **({"name": "m", "genes_per_class": 12, "cells_per_class": 300} | options))
        return cohort / "classifiers" / "m"

    return go


def test_a_trained_classifier_labels_the_cohort_through_the_scan(
    train: Callable[..., Path], cohort: Path, root: Path, truth: dict[str, Any]
) -> None:
    folder = train()
    scan(
        cohort / "cohort.yaml", cohort / "fetch", cohort / "scan", classifiers=["m"],
        classifier_folder=cohort / "classifiers",
        gate_path=root / "config" / "annotators" / "gate.tsv",
    )  # fmt: skip
    table = pd.read_parquet(cohort / "scan" / SCAN.file)
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


def test_folds_label_their_own_cohort_with_expected_counts(
    train: Callable[..., Path], cohort: Path, root: Path, truth: dict[str, Any]
) -> None:
    """From training in folds through the scan to labels and expected counts, each by a classifier new to its donor."""
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    cells.assign(sample_id=cells["donor_id"] + "|b1", author_label=truth["label"]).to_parquet(
        cohort / "cells" / "cells.parquet"
    )
    train(folds=2)
    classifiers = ["m.1", "m.2"]
    scan(
        cohort / "cohort.yaml", cohort / "fetch", cohort / "scan", classifiers=classifiers,
        classifier_folder=cohort / "classifiers",
        gate_path=root / "config" / "annotators" / "gate.tsv", samples_path=cohort / "cells", expected=classifiers,
    )  # fmt: skip
    annotate(
        cohort / "cohort.yaml",
        cohort / "cells",
        cohort / "scan",
        "m",
        cohort / "m",
        classifier_folder=cohort / "classifiers",
    )
    labels = pd.read_parquet(cohort / "m" / "labels.parquet")
    assert (labels["cell_type"].astype(str) == truth["label"]).mean() > 0.9
    table = EXPECTED.read(cohort / "m")
    expected = table.pivot(index="sample_id", columns="cell_type", values="n_expected")
    n_cells = cells.groupby(cells["donor_id"] + "|b1").size()
    np.testing.assert_allclose(expected.sum(axis=1), n_cells[expected.index], atol=1e-6)
    # Calibrated on other donors: together the probabilities find as many Tregs as there are.
    assert expected["Treg"].sum() == pytest.approx((truth["label"] == "Treg").sum(), rel=0.2)


def test_the_figures_are_of_donors_it_has_not_seen(train: Callable[..., Path], cohort: Path) -> None:
    folder = train(seed=3, cells_per_class=3000)
    classifier = load_linear(folder)
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    roles = DONORS.read(folder).set_index("donor_id")["role"]
    assert sorted(roles.index) == sorted(cells["donor_id"].unique())
    test = (cells["donor_id"].map(roles) == "test").to_numpy()
    labels = pd.read_parquet(cohort / "author" / "labels.parquet")["label"]
    known = labels.notna().to_numpy()
    by_class = EVALUATION.read(folder).set_index("label")
    assert by_class["n"].to_dict() == labels[known & test].value_counts().to_dict()
    assert "6 to learn from, 2 to calibrate, 2 to test" in classifier.about["donors"]
    assert by_class["f1"].min() > 0.7
    assert by_class["n_expected"].sum() == pytest.approx(by_class["n"].sum())
    assert RELIABILITY.read(folder)["n"].sum() == by_class["n"].sum()
    assert LABEL_MAP.read(folder)["label"].tolist() == classifier.classes.tolist()


def test_the_same_seed_gives_the_same_classifier(train: Callable[..., Path]) -> None:
    first = (train() / "classifier.npz").read_bytes()
    assert (train() / "classifier.npz").read_bytes() == first
    assert (train(seed=2) / "classifier.npz").read_bytes() != first


def test_every_donor_is_unseen_by_one_fold(train: Callable[..., Path], cohort: Path) -> None:
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    control = cells["donor_id"] == "d9"
    cells.assign(is_control=control).to_parquet(cohort / "cells" / "cells.parquet")
    train(folds=3, cells_per_class=3000)
    folders = [cohort / "classifiers" / f"m.{k}" for k in (1, 2, 3)]
    roles = pd.concat([DONORS.read(f).set_index("donor_id")["role"].rename(f.name) for f in folders], axis=1)
    people = roles.drop("d9")
    assert (people == "test").sum(axis=1).tolist() == [1] * 9
    assert people.notna().all(axis=None)
    assert (people == "calibrate").sum().gt(0).all()
    # A control is nobody's teacher, and yet someone may label it.
    assert roles.loc["d9"].dropna().to_dict() == {"m.1": "test"}
    labels = pd.read_parquet(cohort / "author" / "labels.parquet")["label"]
    judged = cells[labels.notna() & ~control]
    tables = [EVALUATION_BY_SITE.read(f) for f in folders]
    assert sum(t["n"].sum() for t in tables) == len(judged)
    by_site = pd.concat(tables).groupby(["site", "label"])["n"].sum()
    expected = pd.crosstab(judged["site"], labels[judged.index]).stack()
    assert by_site.to_dict() == expected.to_dict()
    assert load_linear(folders[1]).name == "m.2"


def test_a_fold_learns_nothing_from_its_test_donors(
    train: Callable[..., Path], cohort: Path, truth: dict[str, Any]
) -> None:
    """Scrambling the labels of a fold's test donors leaves its classifier, its genes included, as it is."""
    train(folds=2, cells_per_class=3000)
    folders = [cohort / "classifiers" / f"m.{k}" for k in (1, 2)]
    before = [(f / "classifier.npz").read_bytes() for f in folders]
    roles = DONORS.read(folders[0]).set_index("donor_id")["role"]
    unseen = pd.Series(truth["donor"]).map(roles) == "test"
    path = cohort / "author" / "labels.parquet"
    labels = pd.read_parquet(path)
    scrambled = labels.loc[unseen, ["cell_type", "label"]].sample(frac=1, random_state=0)
    labels.loc[unseen, ["cell_type", "label"]] = scrambled.to_numpy()
    labels.to_parquet(path)
    train(folds=2, cells_per_class=3000)
    after = [(f / "classifier.npz").read_bytes() for f in folders]
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_class_without_a_donor_to_learn_from_is_left_out_and_said(
    train: Callable[..., Path], cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    path = cohort / "author" / "labels.parquet"
    labels = pd.read_parquet(path)
    labels.loc[(cells["donor_id"] == "d3") & (labels["label"] == "B"), ["label", "cell_type"]] = "rare"
    labels.loc[:6, ["label", "cell_type"]] = None
    labels.to_parquet(path)
    train(folds=2)
    folders = [cohort / "classifiers" / f"m.{k}" for k in (1, 2)]
    seen = [set(load_linear(f).classes.tolist()) for f in folders]
    assert sorted(map(len, seen)) in ([3, 3], [3, 4])
    k = next(k for k, f in enumerate(folders) if "rare" not in seen[k] and "d3\ttest" in (f / "donors.tsv").read_text())
    said = capsys.readouterr().err
    assert f"classifier 'm.{k + 1}' will not know rare" in said
    n = labels["cell_type"].isna().sum()
    assert f"not learnt from: {n} of {len(labels):,} cells (no label: {n})" in said
    table = EVALUATION.read(folders[k]).set_index("label")
    assert table.loc["rare", "n"] > 0
    assert table.loc["rare", "recall"] == 0
    assert "rare" not in (folders[k] / "labels.tsv").read_text()


def test_too_few_donors_are_refused(train: Callable[..., Path], cohort: Path) -> None:
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    few = cells.assign(donor_id=np.where(cells["donor_id"] < "d5", "d1", "d2"))
    few.to_parquet(cohort / "cells" / "cells.parquet")
    with pytest.raises(AidaError, match=r"2 donors \(controls aside\) and 3 classes, for 1 fold"):
        train()
    few.loc[few["donor_id"] == "d1", "donor_id"] = few["cell_id"].str[-1].map(lambda c: "d1" if c < "5" else "d3")
    few.to_parquet(cohort / "cells" / "cells.parquet")
    with pytest.raises(AidaError, match=r"3 donors .* for 2 fold"):
        train(folds=2)
    assert not (cohort / "classifiers").exists()


def test_donors_without_labels_cannot_test(train: Callable[..., Path], cohort: Path) -> None:
    cells = pd.read_parquet(cohort / "cells" / "cells.parquet")
    train(folds=1)
    roles = pd.read_csv(cohort / "classifiers" / "m" / "donors.tsv", sep="\t").set_index("donor_id")["role"]
    path = cohort / "author" / "labels.parquet"
    labels = pd.read_parquet(path)
    labels.loc[(cells["donor_id"].map(roles) == "calibrate").to_numpy(), ["label", "cell_type"]] = None
    labels.to_parquet(path)
    with pytest.raises(AidaError, match="its donors to calibrate have no cell of a class it knows"):
        train()


def test_chosen_genes_are_the_markers(cohort: Path, truth: dict[str, Any]) -> None:
    rows = np.arange(0, N_CELLS, 2)
    codes = pd.factorize(truth["label"], sort=True)[0][rows]
    with open_counts(cohort / "data.h5ad") as counts:
        genes, shuffled = choose_genes(counts, rows, np.array([codes, codes[::-1]]), 3, 8)
        expression = gather_expression(counts, rows, genes)
    markers = {30 + 10 * k + i for k in range(3) for i in range(8)}
    # Chance would find five of them; those of faint genes may lose to it.
    assert len(markers & set(genes.tolist())) >= 16
    logged = np.log1p(1e4 * truth["counts"] / truth["counts"].sum(axis=1, keepdims=True))
    np.testing.assert_allclose(expression.toarray(), logged[rows][:, genes], rtol=1e-6)
    # Each fold has its own labels, and chooses by them.
    assert len(markers & set(shuffled.tolist())) < 12


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


@pytest.mark.parametrize("n_folds", [1, 2, 3, 5])
def test_every_stratum_has_its_share_of_every_role(n_folds: int) -> None:
    strata = np.random.default_rng(0).choice(3, 200, p=[0.6, 0.3, 0.1])
    roles = learn.split_donors(strata, n_folds, np.random.default_rng(1))
    shares = {1: (0.6, 0.2, 0.2)}.get(n_folds, (0.8 * (1 - 1 / n_folds), 0.2 * (1 - 1 / n_folds), 1 / n_folds))
    for role in roles:
        for which, share in enumerate(shares):
            expected = np.bincount(strata) * share
            assert (np.abs(np.bincount(strata[role == which], minlength=3) - expected) < 2).all()
    if n_folds > 1:
        assert ((roles == learn.TEST).sum(axis=0) == 1).all()
    other = learn.split_donors(strata, n_folds, np.random.default_rng(2))
    assert (other != roles).any()


@pytest.mark.parametrize(("n_donors", "n_folds"), [(3, 1), (4, 2), (3, 3), (5, 2)])
def test_the_fewest_donors_fill_every_role(n_donors: int, n_folds: int) -> None:
    for role in learn.split_donors(np.arange(n_donors), n_folds, np.random.default_rng(0)):
        assert set(role) == {learn.LEARN, learn.CALIBRATE, learn.TEST}


def test_drawn_cells_serve_all_folds() -> None:
    rng = np.random.default_rng(0)
    donor, labels = rng.integers(0, 40, 20_000), rng.choice(4, 20_000, p=[0.7, 0.2, 0.09, 0.01])
    labels[:50] = -1
    roles = learn.split_donors(np.zeros(40, dtype=int), 4, rng)[:, donor]
    roles[:, donor == 7] = learn.UNUSED
    rows, in_pool, in_natural = learn.draw_cells(labels, roles, 300, rng)
    assert (np.diff(rows) > 0).all()
    assert (labels[rows] >= 0).all()
    assert 7 not in donor[rows]
    assert in_natural.sum() == 4 * 300
    for role in roles:
        drawn = np.bincount(labels[rows][(role[rows] == learn.LEARN) & in_pool], minlength=4)
        there = np.bincount(labels[(role == learn.LEARN) & (labels >= 0)], minlength=4)
        assert drawn[:3] == pytest.approx(300, rel=0.15)
        assert drawn[3] == there[3]
    share = np.bincount(labels[rows][in_natural], minlength=4) / in_natural.sum()
    assert share == pytest.approx([0.7, 0.2, 0.09, 0.01], abs=0.04)


def test_weights_restore_the_composition() -> None:
    drawn, sizes = np.repeat([0, 1, 2], [100, 100, 9]), np.array([7000, 2000, 9])
    weights = learn.class_weights(drawn, sizes)
    np.testing.assert_allclose(np.bincount(drawn, weights) / weights.sum(), sizes / sizes.sum())
    assert weights.mean() == pytest.approx(1)


def test_the_fit_is_the_weighted_penalised_optimum() -> None:
    """At the optimum the gradient of the stated criterion vanishes, whatever found it."""
    rng = np.random.default_rng(0)
    x = sp.csr_matrix(rng.gamma(1, 1, (600, 5)) * (rng.random((600, 5)) < 0.5))
    y, weights = rng.integers(0, 3, 600), rng.gamma(2, 0.5, 600)
    coef, intercept, mean, scale = learn.fit(x, y, weights, 2.0, 0.01)
    np.testing.assert_allclose(mean, x.toarray().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, x.toarray().std(axis=0), rtol=1e-5)
    z = np.minimum((x.toarray() - mean) / scale, 2.0)
    scores = z @ coef.T + intercept
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    residual = weights[:, None] * (p - np.eye(3)[y])
    gradient = residual.T @ z / weights.sum() + 0.01 * len(y) / weights.sum() * coef
    assert np.abs(gradient).max() < 2e-3
    assert np.abs(residual.sum(axis=0) / weights.sum()).max() < 2e-3


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
