"""The file as a stranger's tools see it: AIDA's shape and vocabularies, real-looking counts, and the traps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from cellxgene_ontology_guide.ontology_parser import OntologyParser

from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.populations import load_populations
from aida_tools.core.schema import read_tsv
from aida_tools.sample.run import write_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample")
    write_sample(
        out, seed=3, donors_per_batch=6, cells_per_donor=500, batches={"SG": 2, "KR": 1, "JP": 1, "TH": 1, "IN": 1}
    )
    return out


@pytest.fixture(scope="module")
def data(folder: Path) -> ad.AnnData:
    return ad.read_h5ad(folder / "sample.h5ad")


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict:
    return json.loads((folder / "truth.json").read_text())


def detection(data: ad.AnnData, gene: str) -> pd.Series:
    """Share of cells with the gene, by type."""
    column = data.var["feature_name"].astype(str).tolist().index(gene)
    seen = data.raw.X[:, [column]].toarray().ravel() > 0
    return pd.Series(seen).groupby(data.obs["Annotation_Level3"].to_numpy()).mean()


def test_raw_holds_integers_and_x_their_log(data: ad.AnnData) -> None:
    raw = data.raw.X
    assert raw.dtype == np.float32
    assert (raw.data == np.rint(raw.data)).all()
    assert (raw.data > 0).all()
    expected = np.log1p(raw.toarray() / raw.sum(axis=1).A1[:, None] * 1e4)
    np.testing.assert_allclose(data.X.toarray(), expected, atol=1e-5)
    assert data.X.nnz == raw.nnz
    np.testing.assert_array_equal(data.obs["nCount_RNA"], raw.sum(axis=1).A1)
    np.testing.assert_array_equal(data.obs["nFeature_RNA"], raw.getnnz(axis=1))
    assert data.var_names.str.fullmatch(r"ENSG\d{11}").all()
    assert data.raw.var_names.equals(data.var_names)
    assert data.var["feature_name"].is_unique


def test_it_is_small(folder: Path, data: ad.AnnData) -> None:
    # The default has about 38,400 cells, and 40 MB to put them in.
    assert (folder / "sample.h5ad").stat().st_size / data.n_obs < 1000


def places(node: h5py.Dataset) -> list[int]:
    """Return where the pieces of a dataset lie in its file, bytes."""
    if node.chunks is None:
        return [node.id.get_offset()] if node.id.get_offset() is not None else []
    return [node.id.get_chunk_info(i).byte_offset for i in range(node.id.get_num_chunks())]


def test_the_cell_table_lies_in_one_place(folder: Path) -> None:
    """Whoever reads obs alone over HTTP ranges need not fetch the matrices around it."""
    with h5py.File(folder / "sample.h5ad") as file:
        matrices = [
            place for name in ("X", "raw/X") for place in places(file[name]["data"]) + places(file[name]["indices"])
        ]
        table: list[int] = []
        file["obs"].visititems(lambda _, node: table.extend(places(node)) if isinstance(node, h5py.Dataset) else None)
    assert len(table) > 40
    assert min(table) > max(matrices)


def test_it_says_synthetic(data: ad.AnnData, truth: dict) -> None:
    assert "SYNTHETIC" in data.uns["title"]
    assert "SYNTHETIC" in data.uns["citation"]
    assert "SYNTHETIC" in truth["notice"]


def test_vocabularies_are_those_of_the_ontologies(data: ad.AnnData) -> None:
    ontology = OntologyParser()
    for name in ("cell_type", "sex", "development_stage", "self_reported_ethnicity", "assay", "disease", "tissue"):
        for term, label in data.obs[[f"{name}_ontology_term_id", name]].drop_duplicates().itertuples(index=False):
            assert (term == label == "unknown") or ontology.get_term_label(term) == label
    assert data.obs["development_stage"].astype(str).str.fullmatch(r"\d\d-year-old stage").all()
    assert all(isinstance(data.obs[c].dtype, pd.CategoricalDtype) for c in ("donor_id", "Country", "author_cell_type"))


def test_ethnicities_are_those_of_the_populations_table(data: ad.AnnData, root: Path) -> None:
    known = load_populations(root / "config" / "populations.tsv").set_index("hancestro_id")["label"]
    pairs = data.obs[["self_reported_ethnicity_ontology_term_id", "self_reported_ethnicity"]].drop_duplicates()
    for term, label in pairs.itertuples(index=False):
        assert known[term].casefold() == label.casefold()


def test_cell_ids_carry_library_and_batch(data: ad.AnnData) -> None:
    assert data.obs_names.is_unique
    parts = data.obs_names.str.extract(r"^([ACGT]{16})-(([A-Z]{2})_[A-Z]{3}_B\d{3})_(L00[12])$")
    assert parts.notna().all().all()
    assert (parts[2].to_numpy() == data.obs["Country"].astype(str).to_numpy()).all()
    suffix = data.obs_names.str.slice(17)
    pairs = set(zip(suffix, data.obs["library_id"].astype(str), strict=True))
    assert len(pairs) == suffix.nunique() == data.obs["library_id"].nunique() == 12
    assert data.obs["observation_joinid"].is_unique


def test_the_cohort_file_fits(data: ad.AnnData, root: Path) -> None:
    cohort = load_cohort(root / "config" / "cohorts" / "sample.yaml")
    for column in ("site", "batch", "library"):
        pattern = getattr(cohort.columns, column).pattern
        assert all(re.search(pattern, name) for name in data.obs_names[::50])
    labels = data.obs["Annotation_Level3"].astype(str)
    assert set(labels[data.obs["Annotation_Level2"] == "CD4+_T"]) == set(cohort.labels.sets["CD4_T"])
    assert set(labels[data.obs["Annotation_Level1"] == "T"]) <= set(cohort.labels.sets["T"])


def test_the_mix_is_near_the_published_one(data: ad.AnnData, truth: dict) -> None:
    published = pd.Series(truth["base"]["cells"], dtype=float)
    found = data.obs["Annotation_Level3"].value_counts().reindex(published.index, fill_value=0)
    assert (found / found.sum() - published / published.sum()).abs().max() < 0.03


def test_detection_is_that_of_10x_data(data: ad.AnnData) -> None:
    foxp3 = detection(data, "FOXP3")
    assert 0.13 < foxp3["Treg"] < 0.27
    assert foxp3.drop("Treg")[["CD4+_T_naive", "CD4+_T_cm", "CD8+_T_naive", "CD16+_NK", "CD14+_Monocyte"]].max() < 0.02
    for gene, high, low in (
        ("CD3D", "CD4+_T_naive", "CD14+_Monocyte"),
        ("LYZ", "CD14+_Monocyte", "naive_B"),
        ("MS4A1", "naive_B", "CD16+_NK"),
        ("NKG7", "CD16+_NK", "naive_B"),
        ("CD8B", "CD8+_T_naive", "CD4+_T_naive"),
        ("FCGR3A", "CD16+_Monocyte", "CD14+_Monocyte"),
        ("PPBP", "Platelet", "CD8+_T_naive"),
        ("IL7R", "CD4+_T_cm", "Treg"),
        ("IL2RA", "Treg", "CD4+_T_cm"),
    ):
        seen = detection(data, gene)
        assert seen[high] > 2 * seen[low], gene
    # CD4 transcripts drop out in most CD4 T cells.
    assert 0.2 < detection(data, "CD4")["CD4+_T_cm"] < 0.5
    mito = data.obs["pMito"]
    assert 0.02 < mito.median() < 0.07
    assert (mito < 0.2).all()


def test_sex_genes_follow_sex(data: ad.AnnData) -> None:
    genes = data.var["feature_name"].astype(str).tolist()
    for gene, other in (("XIST", "male"), ("RPS4Y1", "female")):
        assert data.raw.X[:, genes.index(gene)].toarray().ravel()[data.obs["sex"] == other].sum() == 0


def test_sites_differ_in_depth_and_introns(data: ad.AnnData) -> None:
    cells = data.obs[data.obs["Annotation_Level3"] == "CD4+_T_naive"]
    depth = cells.groupby("Country", observed=True)["nCount_RNA"].median()
    assert depth["TH"] > depth["KR"] > depth["JP"] > depth["IN"]
    introns = data.obs.groupby("Country", observed=True)["intronic_reads_counted"].unique().map(set)
    assert introns["TH"] == {"yes"}
    assert introns["KR"] == introns["JP"] == introns["IN"] == {"no"}


def test_the_traps_are_there(data: ad.AnnData, truth: dict) -> None:
    obs, traps = data.obs, truth["traps"]
    control = obs["donor_id"].astype(str).str.startswith("LONZA")
    assert set(obs.loc[control, "donor_id"]) == set(traps["controls"])
    assert set(obs.loc[control, "self_reported_ethnicity_ontology_term_id"]) == {"unknown"}
    assert "unknown" not in set(obs.loc[~control, "self_reported_ethnicity"])
    assert (obs[control].groupby("donor_id", observed=True)["Country"].nunique() > 1).any()
    assert (obs[control].groupby("donor_id", observed=True)["sample_id"].nunique() == 1).all()
    assert set(obs.loc[control, "suspension_derivation_process"]) == {"leukapheresis"}

    assert re.fullmatch(r"SG_HEL_H\d\da", traps["id_with_letter"])
    assert traps["id_with_letter"] in set(obs["donor_id"])
    assert obs.loc[obs["Country"] == "KR", "donor_BMI_at_collection"].isna().all()
    assert obs.loc[obs["Country"] == "JP", "donor_BMI_at_collection"].notna().any()

    per_donor = obs["donor_id"].value_counts()
    assert per_donor[traps["below_minimum"]] == per_donor.min() == 50
    labels = obs.loc[obs["donor_id"] == traps["no_treg"], "Annotation_Level3"].value_counts()
    assert labels.get("Treg", 0) == 0
    assert labels.sum() >= 500
    assert labels["dnT"] > 0

    lookalike = obs["cell_type_ontology_term_id"] == "CL:0011024"
    assert set(obs.loc[lookalike, "Annotation_Level3"]) == {"dnT"}
    assert obs.loc[lookalike, "cell_type"].str.contains("regulatory").all()
    assert {"CD4+_T", "T"} <= set(obs["Annotation_Level3"])
    assert {"CD4+_T_unknown", "T_unknown"} <= set(obs["author_cell_type"])
    assert set(obs["Smoking Status"].dropna()) == {"0", "1"}


def test_the_same_seed_gives_the_same_cohort_in_another_process(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", seed=7, donors_per_batch=2, cells_per_donor=30, batches={"SG": 1})
    write_sample(tmp_path / "c", seed=8, donors_per_batch=2, cells_per_donor=30, batches={"SG": 1})
    command = [sys.executable, "-m", "aida_tools.cli", "sample", "--out", str(tmp_path / "b"), "--seed", "7"]
    sizes = ["--donors-per-batch", "2", "--cells-per-donor", "30", "--batches", "SG=1"]
    hashing = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    subprocess.run([*command, *sizes], check=True, env={**os.environ, "PYTHONHASHSEED": hashing})

    def content(folder: Path) -> dict[str, list[object] | bytes]:
        found = {}
        with h5py.File(folder / "sample.h5ad") as file:
            file.visititems(lambda n, o: found.update({n: o[()]}) if isinstance(o, h5py.Dataset) else None)
        # By their bytes, where a missing value equals itself; names are objects.
        values = {name: np.asarray(value) for name, value in found.items()}
        content = {name: v.tolist() if v.dtype.hasobject else v.tobytes() for name, v in values.items()}
        return content | {"truth": (folder / "truth.json").read_bytes()}

    first = content(tmp_path / "a")
    again = content(tmp_path / "b")
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []
    other = content(tmp_path / "c")
    assert first["raw/X/data"] != other["raw/X/data"]
    assert first["obs/_index"] != other["obs/_index"]


def test_marker_genes_and_types_name_each_other() -> None:
    here = Path(write_sample.__code__.co_filename).parent
    types, genes, markers = (read_tsv(here / f"{name}.tsv") for name in ("types", "genes", "markers"))
    names = set(types[["level1", "level2", "label", "author_cell_type"]].to_numpy().ravel())
    for where in markers["where"].dropna():
        assert {change.split("=")[0] for change in where.split(";")} <= names
    assert set(markers["symbol"]) <= set(genes["symbol"])
    assert markers["symbol"].is_unique
    assert genes["symbol"].is_unique
