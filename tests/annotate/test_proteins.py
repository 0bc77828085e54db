"""Protein gates: two populations or one, known truth found again, and the ways from a file to labels."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from scipy.io import mmwrite
from sklearn.mixture import GaussianMixture

from aida_tools.annotate.populations import (
    COFACTOR,
    FLOOR,
    LABELS,
    SURE,
    Populations,
    find_populations,
    fit_two_normals,
    gate_cells,
)
from aida_tools.annotate.tables import PROTEIN_GATES
from aida_tools.cli import main

NAMES = {"CD3": "CD3_TotalSeqB", "CD4": "CD4_TotalSeqB", "CD8": "CD8a", "CD25": "CD25", "CD127": "CD127"}
#: Mean counts by population; staining is some tens of molecules over a background of some.
MEANS = pd.DataFrame(
    {
        "CD3": [90, 90, 90, 5], "CD4": [120, 120, 6, 6], "CD8": [5, 5, 150, 5], "CD25": [110, 8, 5, 5],
        "CD127": [6, 70, 40, 6],
    },
    index=["Treg", "CD4_T_other", "CD8_T", "other"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet_anndata() -> Iterator[None]:
    """Let anndata 0.13 ask pandas 3 for an option that pandas 4 will not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string'")
        yield


def molecules(rng: np.random.Generator, mean: Any, size: float = 6.0) -> np.ndarray:
    """Negative binomial counts of cells that took up different amounts of antibody."""
    rate = np.asarray(mean) * rng.lognormal(0, 0.3, np.shape(mean))
    return rng.negative_binomial(size, size / (size + rate)).astype(float)


def simulate(n: int, seed: int, **factors: float) -> tuple[pd.Series, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    truth = pd.Series(rng.choice(MEANS.index, n, p=[0.025, 0.375, 0.2, 0.4]))
    means = MEANS.loc[truth]
    return truth, {m: molecules(rng, means[m] * factors.get(m, 1.0)) for m in MEANS}


def test_the_fit_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(2, 0.4, 900), rng.normal(4.2, 0.4, 100)])
    mean, variance, share, likelihood = fit_two_normals(x, (1.5, 4.0))
    theirs = GaussianMixture(
        2, covariance_type="tied", means_init=[[1.5], [4.0]], reg_covar=FLOOR, tol=1e-9, max_iter=1000
    ).fit(x[:, None])
    np.testing.assert_allclose(mean, theirs.means_[:, 0], atol=1e-3)
    assert variance == pytest.approx(theirs.covariances_[0, 0], rel=1e-3)
    assert share == pytest.approx(theirs.weights_[1], abs=1e-3)
    assert likelihood == pytest.approx(theirs.score(x[:, None]) * len(x), abs=0.1)
    # The log odds are those of its posterior, and the threshold is where they vanish.
    counts = COFACTOR * np.sinh(x)
    found = find_populations(counts)
    posterior = theirs.predict_proba(x[:, None])[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(-found.score(counts))), posterior, atol=1e-3)
    assert found.score(np.array([found.threshold]))[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("mean", "size"), [(0.2, 2.0), (1.0, 2.0), (5.0, 5.0), (20.0, 1.0), (50.0, 5.0), (300.0, 5.0)])
def test_one_skewed_population_is_not_two(mean: float, size: float, seed: int) -> None:
    counts = molecules(np.random.default_rng(seed), np.full(3000, mean), size)
    found = find_populations(counts)
    assert found.source == "one"
    assert np.isnan(found.threshold)
    assert not found.sign(counts).any()


@pytest.mark.parametrize(("share", "fold"), [(0.5, 10), (0.05, 12), (0.03, 16), (0.9, 12)])
def test_two_populations_of_any_share_are_found(share: float, fold: float) -> None:
    rng = np.random.default_rng(3)
    upper = rng.random(4000) < share
    counts = molecules(rng, np.where(upper, 8 * fold, 8))
    found = find_populations(counts)
    assert found.source == "mixture"
    assert found.share == pytest.approx(share, abs=0.02)
    assert 8 < found.threshold < 8 * fold
    sign = found.sign(counts)
    assert (sign[upper] == 1).mean() > 0.8
    assert (sign[~upper] == 1).mean() < 0.01


def test_too_few_cells_and_constant_counts_are_named_states() -> None:
    assert find_populations(np.arange(99.0)).source == "few"
    assert find_populations(np.zeros(500)).source == "one"
    assert find_populations(np.concatenate([np.full(2000, 3.0), np.full(5, 500.0)])).source == "one"


def test_a_fixed_threshold_leaves_nobody_out() -> None:
    fixed = Populations("fixed", threshold=20.0)
    assert fixed.sign(np.array([0, 19, 20, 21.0])).tolist() == [-1, -1, 1, 1]
    assert fixed.score(np.array([20.0])).tolist() == [0.0]


@pytest.mark.parametrize("left_out", [(), ("CD3",), ("CD3", "CD8")])
def test_gates_find_the_planted_tregs(left_out: tuple[str, ...]) -> None:
    truth, counts = simulate(20_000, 1)
    kept = {m: c for m, c in counts.items() if m not in left_out}
    code, margin, found = gate_cells(kept, {})
    label = pd.Series(np.array(LABELS)[code])
    treg, cd4 = truth == "Treg", truth.isin(["Treg", "CD4_T_other"])
    called = label.isin(["Treg", "CD4_T_other"])
    # Of those it calls, it is right; the others it leaves open.
    assert (label[treg & called] == "Treg").mean() > 0.95
    assert (label[~treg] == "Treg").mean() < 0.001
    assert called[treg].mean() > 0.7
    assert called[cd4 & ~treg].mean() > 0.95
    assert called[~cd4].mean() < 0.01
    assert (margin[label == "Treg"] >= SURE).all()
    assert (margin[label == "CD4_T_other"] <= -SURE).all()
    assert np.isnan(margin[label.isin(["CD8_T", "other"])]).all()
    assert {m: f[0] for m, f in found.items()} == {
        m: "CD4_T" if m in ("CD25", "CD127") else "all" if m == "CD3" or "CD3" in left_out else "T" for m in kept
    }


@pytest.mark.parametrize("marker", ["CD25", "CD127"])
def test_where_a_protein_does_not_separate_cd4_cells_are_unresolved(marker: str) -> None:
    """An antibody that failed: everybody has the background."""
    truth, counts = simulate(5000, 2)
    counts[marker] = molecules(np.random.default_rng(0), np.full(5000, 6.0))
    code, _, found = gate_cells(counts, {})
    label = pd.Series(np.array(LABELS)[code])
    assert found[marker][2].source == "one"
    assert not label.isin(["Treg", "CD4_T_other"]).any()
    assert (label[truth.isin(["Treg", "CD4_T_other"])] == "CD4_T_unresolved").mean() > 0.9
    # A threshold from elsewhere decides nevertheless.
    code, _, found = gate_cells(counts, {marker: 20.0})
    assert found[marker][2].source == "fixed"
    assert (np.array(LABELS)[code] == "CD4_T_other").any()


COHORT = """
name: cite
title: SYNTHETIC proteins
synthetic: true
source: {{ kind: {kind}, path: {path}, obs: {obs} }}
columns: {{ donor_id: donor, population: {{ value: unknown }} }}
counts_layer: X
proteins:
  {where}
  markers: {{ CD3: CD3_TotalSeqB, CD4: CD4_TotalSeqB, CD8: CD8a, CD25: CD25, CD127: CD127 }}
"""
KINDS = ("obsm table", "obsm array", "features", "features by id", "10x", "10x folder")


class Cite:
    """A file of two batches, the second stained three times as strongly, in one of several layouts."""

    def __init__(self, folder: Path, kind: str, root: Path):
        self.folder, self.root = folder, root
        parts = [simulate(3000, 5), simulate(3000, 6, **dict.fromkeys(MEANS, 3.0))]
        self.truth = pd.concat([t for t, _ in parts], ignore_index=True)
        proteins = pd.DataFrame({NAMES[m]: np.concatenate([c[m] for _, c in parts]) for m in MEANS})
        proteins.index = pd.Index([f"cell{i}" for i in range(len(proteins))])
        genes = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (len(proteins), 6)).astype(np.float32))
        # A gene of the same name as a protein must not be taken for it.
        gene_names = [*[f"GENE{i}" for i in range(5)], "CD25"]
        where, self.source, obs = "obsm: protein_expression", "data.h5ad", "null"
        cells = ad.AnnData(genes, obs=pd.DataFrame({"donor": "d1"}, index=proteins.index))
        cells.var_names = pd.Index(gene_names)
        if kind == "obsm table":
            cells.obsm["protein_expression"] = proteins
        elif kind == "obsm array":
            cells.obsm["protein_expression"] = proteins.to_numpy()
            cells.uns["protein_names"] = np.array(proteins.columns, dtype=object)
            where += "\n  names: protein_names"
        else:
            where = "feature_type: Antibody Capture"
            both = sp.hstack([genes, sp.csr_matrix(proteins.to_numpy(np.float32))]).tocsr()
            types = ["Gene Expression"] * 6 + ["Antibody Capture"] * 5
            names = [*gene_names, *proteins.columns]
            if kind.startswith("10x"):
                self.source, obs = ("data.h5" if kind == "10x" else "filtered"), "obs.tsv"
                write = self._write_10x if kind == "10x" else self._write_10x_folder
                write(both, names, types, proteins.index)
                pd.DataFrame({"donor": "d1"}, index=proteins.index).to_csv(folder / obs, sep="\t")
            # anndata asks for unique names, so a file from Cell Ranger has them made unique.
            unique = [*names[:5], "CD25-gene", *names[6:]]
            var = pd.DataFrame({"feature_types": types}, index=unique)
            if kind == "features by id":
                var = var.assign(feature_name=names).set_axis([f"ENSG{i:011d}" for i in range(11)])
            cells = ad.AnnData(both, obs=cells.obs, var=var)
        if not kind.startswith("10x"):
            cells.write_h5ad(folder / self.source)
        source_kind = {"10x": "10x-h5", "10x folder": "10x-mtx"}.get(kind, "h5ad")
        text = COHORT.format(kind=source_kind, path=self.source, obs=obs, where=where)
        (folder / "cohort.yaml").write_text(text.replace(", obs: null", ""))
        (folder / "fetch").mkdir()
        record = {"path": f"../{self.source}", "format": source_kind}
        (folder / "fetch" / "source.json").write_text(json.dumps(record))
        batch = np.repeat(["b1", "b2"], 3000)
        pd.DataFrame({"cell_id": proteins.index, "batch": batch}).to_parquet(folder / "cells.parquet")

    def _write_10x(self, matrix: sp.csr_matrix, names: list[str], types: list[str], barcodes: pd.Index) -> None:
        with h5py.File(self.folder / self.source, "w") as handle:
            group = handle.create_group("matrix")
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part).astype(np.int64)
            group["shape"] = np.array(matrix.shape[::-1])
            group["barcodes"] = barcodes.to_numpy().astype("S")
            for part, values in (("id", names), ("name", names), ("feature_type", types)):
                group[f"features/{part}"] = np.array(values).astype("S")

    def _write_10x_folder(self, matrix: sp.csr_matrix, names: list[str], types: list[str], barcodes: pd.Index) -> None:
        folder = self.folder / self.source
        folder.mkdir()
        mmwrite(folder / "matrix.mtx", matrix.T.astype(int))
        features = pd.DataFrame({"id": names, "name": names, "type": types})
        features.to_csv(folder / "features.tsv.gz", sep="\t", header=False, index=False)
        pd.Series(barcodes).to_csv(folder / "barcodes.tsv.gz", header=False, index=False)

    def run(self, *options: str) -> tuple[int, str]:
        arguments = ["annotate", "cohort.yaml", "cells.parquet", "--annotator", "protein", "--fetched", "fetch"]
        arguments = [str(self.folder / a) if a in ("cohort.yaml", "cells.parquet", "fetch") else a for a in arguments]
        label_map = str(self.root / "config" / "annotators" / "protein.labels.tsv")
        out = str(self.folder / "out" / "protein")
        result = CliRunner().invoke(main, [*arguments, "--label-map", label_map, "--out", out, *options])
        return result.exit_code, result.output


@pytest.fixture
def cite(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Cite:
    return Cite(tmp_path, getattr(request, "param", "obsm table"), root)


@pytest.mark.parametrize("cite", KINDS, indirect=True)
def test_from_a_file_to_labels(cite: Cite) -> None:
    code, output = cite.run()
    assert code == 0, output
    folder = cite.folder / "out" / "protein"
    labels = pd.read_parquet(folder / "labels.parquet")["cell_type"].astype(str)
    treg = cite.truth == "Treg"
    called = labels.isin(["Treg", "CD4_T_other"])
    assert (labels[treg & called] == "Treg").mean() > 0.9
    assert called[treg].mean() > 0.6
    assert (labels[~treg] == "Treg").mean() < 0.002
    gates = PROTEIN_GATES.read(folder)
    wide = gates.pivot(index="marker", columns="batch", values="threshold")
    assert (gates["source"] == "mixture").all()
    # The stronger stain has its own boundaries.
    assert (wide["b2"] / wide["b1"]).between(1.8, 4.5).all()
    sets = pd.read_csv(folder / "sets.tsv", sep="\t")
    assert set(sets.loc[sets["denominator"] == "CD4_T", "cell_type"]) == {"Treg", "CD4_T_other", "CD4_T_unresolved"}
    card = json.loads((folder / "annotator.json").read_text())
    assert (card["kind"], card["classifiers"]) == ("protein", [])
    assert "CD4_TotalSeqB" in card["description"]


def test_thresholds_of_the_cohort_file_are_kept(cite: Cite) -> None:
    path = cite.folder / "cohort.yaml"
    path.write_text(path.read_text() + "  thresholds: { CD25: 33, CD127: 25 }\n")
    assert cite.run()[0] == 0
    gates = PROTEIN_GATES.read(cite.folder / "out" / "protein").set_index(["batch", "marker"])
    assert gates.loc[("b1", "CD25"), ["source", "threshold"]].tolist() == ["fixed", 33]
    labels = pd.read_parquet(cite.folder / "out" / "protein" / "labels.parquet")["cell_type"]
    assert "CD4_T_unresolved" not in set(labels)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "CD8: CD8a",
            "CD8: CD8",
            "there is no protein 'CD8' (key 'proteins.markers.CD8' of the cohort file). Did you mean 'CD8a'",
        ),
        ("protein_expression", "proteins", "there is no obsm entry 'proteins'"),
        ("obsm: protein_expression", "feature_type: Antibody Capture", "no column 'feature_types'"),
        ("counts_layer", "title", "cohort.yaml"),
    ],
)
def test_what_is_not_there_is_named(cite: Cite, old: str, new: str, message: str) -> None:
    path = cite.folder / "cohort.yaml"
    path.write_text(path.read_text().replace(old, new))
    if old == "counts_layer":
        path.write_text(path.read_text().split("proteins:")[0].replace("title: X", "counts_layer: X"))
        message = "key 'proteins' is missing"
    code, output = cite.run()
    assert code == 1
    assert message in output
    assert not (cite.folder / "out").exists()


def test_normalised_proteins_are_refused(cite: Cite) -> None:
    with h5py.File(cite.folder / cite.source, "r+") as handle:
        handle["obsm/protein_expression/CD25"][7] = 1.25
    code, output = cite.run()
    assert code == 1
    assert "protein 'CD25', cell 8: value 1.25 is not a count" in output


def test_the_folder_of_fetch_is_asked_for(cite: Cite) -> None:
    result = CliRunner().invoke(
        main,
        ["annotate", str(cite.folder / "cohort.yaml"), str(cite.folder / "cells.parquet"), "--annotator", "protein",
         "--out", str(cite.folder / "out")],
    )  # fmt: skip
    assert result.exit_code == 1
    assert "--fetched" in result.output
