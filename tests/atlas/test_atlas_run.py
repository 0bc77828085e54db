"""The files of `aida-tools atlas`: what they hold, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from aida_tools.atlas.embed import integrate
from aida_tools.atlas.h5ad import organism_of
from aida_tools.atlas.run import atlas
from aida_tools.atlas.step import Options
from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.core.options import make
from aida_tools.core.tables import CELLS
from aida_tools.scan.blocks import Genes
from tests.atlas.conftest import COHORT, N_RARE, Cohort, plant, write_cohort
from tests.small import as_declared


def run(cohort: Cohort, out: Path, **options: object) -> ad.AnnData:
    asked = make(Options, {"threads": 1} | options, "the test")
    atlas(cohort.cohort, cohort.fetched, cohort.cells, cohort.labels, out, options=asked)
    return read(out)


def read(out: Path) -> ad.AnnData:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The 'future.infer_string'")
        return ad.read_h5ad(out / "atlas.h5ad")


@pytest.fixture(scope="module")
def drawn(planted: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[ad.AnnData, Path]:
    out = tmp_path_factory.mktemp("atlas")
    return run(planted, out, cells=600, genes=100), out


def test_the_sketch_holds_the_counts_of_its_cells(planted: Cohort, drawn: tuple[ad.AnnData, Path]) -> None:
    data, _ = drawn
    assert data.n_obs == 600
    rows = np.searchsorted(planted.ids, data.obs_names)
    raw = data.raw.X
    assert (raw != planted.counts[rows]).nnz == 0
    expected = np.log1p(raw.toarray() / raw.sum(axis=1).A1[:, None] * 1e4)
    np.testing.assert_allclose(data.X.toarray(), expected, rtol=1e-5)
    assert {10, 2000} & set(rows) == set()  # cells without counts


def test_all_rare_cells_are_there_with_weight_one(planted: Cohort, drawn: tuple[ad.AnnData, Path]) -> None:
    data, _ = drawn
    rare = data.obs["cell_type:gate"] == "rare"
    assert rare.sum() == N_RARE
    assert (data.obs.loc[rare, "sketch_weight"] == 1).all()
    # The others are drawn less than all, and their weights say so: they sum to about the cohort.
    assert data.obs["sketch_weight"].sum() == pytest.approx(2998, rel=0.15)
    assert data.obs["sketch_weight"].min() >= 1


def test_the_embedding_tells_the_planted_types_apart(drawn: tuple[ad.AnnData, Path]) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data, _ = drawn
    types = data.obs["cell_type:gate"].astype(str)
    for name in ("X_pca", "X_umap"):
        assert np.isfinite(data.obsm[name]).all()
        # Of one's nearest cells most are of one's own type.
        guess = KNeighborsClassifier(6).fit(data.obsm[name], types).predict(data.obsm[name])
        assert (guess == types).mean() > 0.95, name


def test_the_file_has_the_structure_cellxgene_asks_for(drawn: tuple[ad.AnnData, Path]) -> None:
    data, _ = drawn
    reserved = {"assay", "cell_type", "development_stage", "disease", "sex", "self_reported_ethnicity", "tissue"}
    assert not reserved & set(data.obs)
    assert data.obs["is_primary_data"].dtype == bool
    assert not data.obs["is_primary_data"].any()
    assert set(data.obs["assay_ontology_term_id"]) == {"EFO:0009900"}
    assert set(data.obs["sex_ontology_term_id"]) == {"PATO:0000383", "PATO:0000384"}
    assert set(data.obs["cell_type_ontology_term_id"]) == {"CL:0000236", "unknown"}
    assert all(isinstance(data.obs[c].dtype, pd.CategoricalDtype) for c in data.obs if c.endswith("_id"))
    assert {"tissue_type", "suspension_type", "reported_sex", "reported_disease"} <= set(data.obs)
    assert not data.var["feature_is_filtered"].any()
    assert "feature_is_filtered" not in data.raw.var
    assert data.obs_names.is_unique
    assert data.var_names.is_unique
    assert data.var_names.equals(data.raw.var_names)
    assert data.var["gene_symbol"].iloc[0] == "FOXP3"
    for matrix in (data.X, data.raw.X):
        assert matrix.format == "csr"
        assert matrix.dtype == np.float32
        assert matrix.has_canonical_format
    assert (data.raw.X.data == np.round(data.raw.X.data)).all()
    assert (data.raw.X.getnnz(axis=1) > 0).all()
    assert all(k.startswith("X_") and v.shape[0] == data.n_obs for k, v in data.obsm.items())
    assert data.uns["default_embedding"] in data.obsm
    assert data.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert not {"schema_version", "schema_reference", "citation"} & set(data.uns)


def test_the_file_says_what_it_is(drawn: tuple[ad.AnnData, Path]) -> None:
    data, out = drawn
    assert data.uns["title"] == "SYNTHETIC: small counts, a sketch of 600 of 3,000 cells"
    said = data.uns["aida_tools"]
    assert "do not compute shares" in said["sketch"]
    assert "sketch_weight" in said["sketch"]
    assert bool(said["synthetic"])
    details = json.loads((out / "provenance.json").read_text())["details"]
    assert details["n_cells"] == 600
    assert details["quota_of_a_type"] == 60
    about = as_declared(out / "sketch_about.tsv").set_index("key")["value"]
    assert about[["annotator", "harmony", "n_cells_of_cohort"]].tolist() == ["author", "False", "3000"]


def test_human_genes_are_told_by_their_ids() -> None:
    def genes(*ids: str) -> Genes:
        return Genes(np.array(ids, dtype=object), np.array(ids, dtype=object))

    assert organism_of(genes("ENSG00000049768", "ENSG00000010610", "extra")) == {
        "organism_ontology_term_id": "NCBITaxon:9606"
    }
    assert organism_of(genes("FOXP3", "CD4")) == {}
    assert organism_of(genes("ENSMUSG00000039521")) == {}


def test_the_table_is_the_file_shuffled(drawn: tuple[ad.AnnData, Path]) -> None:
    data, out = drawn
    table = as_declared(out / "sketch.tsv")
    assert list(table) == ["x", "y", "cell_type", "site", "batch", "expr:FOXP3", "expr:CD3E", "expr:LYZ"]
    np.testing.assert_allclose(np.sort(table["x"]), np.sort(data.obsm["X_umap"][:, 0]), atol=1e-3)
    label = data.obs["cell_type:author"].astype(object).fillna("none").to_numpy()
    expected = pd.Series(data.X[:, 0].toarray().ravel()).groupby(label).mean()
    got = table.groupby(table["cell_type"].fillna("none"))["expr:FOXP3"].mean()
    np.testing.assert_allclose(got.reindex(expected.index), expected, atol=1e-3)
    assert abs(np.corrcoef(np.arange(600), table["site"] == "KR")[0, 1]) < 0.2


def test_the_same_seed_gives_the_same_picture(planted: Cohort, drawn: tuple[ad.AnnData, Path], tmp_path: Path) -> None:
    data, out = drawn
    run(planted, tmp_path / "again", cells=600, genes=100)
    assert (tmp_path / "again" / "sketch.tsv").read_bytes() == (out / "sketch.tsv").read_bytes()
    other = run(planted, tmp_path / "other", cells=600, genes=100, seed=2)
    assert set(other.obs_names) != set(data.obs_names)


def test_few_cells_are_all_taken(tmp_path: Path) -> None:
    counts, kind = plant(100)
    data = run(write_cohort(tmp_path, counts, kind), tmp_path / "out")
    assert data.n_obs == 100
    assert (data.obs["sketch_weight"] == 1).all()
    assert data.uns["aida_tools"]["rule"] == "all cells with counts"
    assert data.uns["title"] == "SYNTHETIC: small counts, 100 cells"


def test_too_few_cells_are_refused(tmp_path: Path) -> None:
    counts, kind = plant(30)
    counts = counts.multiply(np.arange(30)[:, None] < 15).tocsr().astype(np.float32)
    with pytest.raises(AidaError, match="15 cells with counts"):
        run(write_cohort(tmp_path, counts, kind), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cells", [50, 500])
def test_a_file_without_counts_is_refused(tmp_path: Path, cells: int) -> None:
    counts, kind = plant(100)
    counts.data[:] = 0
    with pytest.raises(AidaError, match="0 cells with counts and 0 genes"):
        run(write_cohort(tmp_path, counts, kind), tmp_path / "out", cells=cells)


def test_cells_without_any_label_are_drawn_by_leverage(tmp_path: Path) -> None:
    counts = plant(300)[0]
    data = run(write_cohort(tmp_path, counts, np.full(300, -1)), tmp_path / "out", cells=60)
    assert data.n_obs == 60
    assert data.obs["cell_type:author"].isna().all()


@pytest.mark.shared
def test_sorted_cells_lie_with_their_like(shared: Path, tmp_path: Path) -> None:
    """Cells sorted by protein into B, CD4 and CD8 T cells: RNA alone brings them together."""
    from sklearn.neighbors import KNeighborsClassifier

    path = shared / "data" / "sorted_b_cd4_cd8_800.h5ad"
    with h5py.File(path) as handle:
        sorted_as = ad.io.read_elem(handle["obs"])
    kind = pd.Categorical(sorted_as["FACS_type"])
    n, folder = len(kind), tmp_path / "author"
    for name in ("author", "fetch"):
        (tmp_path / name).mkdir()
    (tmp_path / "cohort.yaml").write_text(COHORT.format(path=path.name))
    (tmp_path / "fetch" / "source.json").write_text(json.dumps({"path": str(path.resolve()), "format": "h5ad"}))
    cells = pd.DataFrame({"cell_id": sorted_as.index.astype(str), "is_control": False, "age": np.nan})
    cells = cells.assign(**dict.fromkeys(set(CELLS.names) - set(cells), "x")).assign(sex="unknown", cell_type_id=None)
    cells.to_parquet(tmp_path / "cells.parquet", index=False)
    pd.DataFrame({"cell_id": cells["cell_id"], "cell_type": kind}).to_parquet(folder / "labels.parquet", index=False)
    cohort = Cohort(
        tmp_path / "cohort.yaml", tmp_path / "fetch", tmp_path / "cells.parquet", [folder], None, None, None
    )
    data = run(cohort, tmp_path / "out")
    assert data.n_obs == n
    is_b = (data.obs["cell_type:author"] == "B cells").to_numpy()
    assert 0.4 < is_b.mean() < 0.6
    for name, least in (("X_pca", 0.98), ("X_umap", 0.95)):
        nearest = KNeighborsClassifier(16).fit(data.obsm[name], is_b).predict(data.obsm[name])
        assert (nearest == is_b).mean() >= least, name


def test_labels_of_other_cells_are_refused(planted: Cohort, tmp_path: Path) -> None:
    labels = pd.read_parquet(planted.labels[0] / "labels.parquet")
    labels.iloc[::-1].to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(AidaError, match="its cells are not those of"):
        run(dataclasses.replace(planted, labels=[tmp_path]), tmp_path / "out")


def test_cells_of_another_file_are_refused(planted: Cohort, tmp_path: Path) -> None:
    cells = pd.read_parquet(planted.cells).iloc[:2999]
    cells.to_parquet(tmp_path / "cells.parquet")
    (tmp_path / "author").mkdir()
    labels = pd.read_parquet(planted.labels[0] / "labels.parquet").iloc[:2999]
    labels.to_parquet(tmp_path / "author" / "labels.parquet")
    other = dataclasses.replace(planted, cells=tmp_path / "cells.parquet", labels=[tmp_path / "author"])
    with pytest.raises(AidaError, match=r"3000 cells, but .* has 2999"):
        run(other, tmp_path / "out")


def test_harmony_that_is_not_installed_is_named(planted: Cohort, tmp_path: Path) -> None:
    command = ["atlas", *map(str, (planted.cohort, planted.fetched, planted.cells, planted.labels[0]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out"), "--harmony"])
    assert result.exit_code == 1
    assert "pip install harmonypy" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("transposed", [False, True])
def test_harmony_is_asked_for_batches_and_turned_the_right_way(
    monkeypatch: pytest.MonkeyPatch, transposed: bool
) -> None:
    """A stand-in with the two orientations of harmonypy's versions; it takes each batch's mean away."""
    fake = types.ModuleType("harmonypy")

    def run_harmony(pcs: np.ndarray, table: pd.DataFrame, column: str, **options: object) -> types.SimpleNamespace:
        assert options["random_state"] == 3
        centred = pcs - pd.DataFrame(pcs).groupby(table[column].to_numpy()).transform("mean").to_numpy()
        return types.SimpleNamespace(Z_corr=centred.T if transposed else centred)

    fake.run_harmony = run_harmony  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "harmonypy", fake)
    batch = pd.Series(["a"] * 30 + ["b"] * 20)
    pcs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) + (batch == "b").to_numpy()[:, None]
    corrected = integrate(pcs, batch, 3)
    assert corrected.shape == pcs.shape
    np.testing.assert_allclose(corrected[:30].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(corrected[30:].std(axis=0), pcs[30:].std(axis=0), rtol=1e-4)
