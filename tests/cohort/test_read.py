"""The cell table of files of every age and maker."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.io import mmwrite

from aida_tools.cohort.cells import make_cells
from aida_tools.cohort.fetch import fetch
from aida_tools.cohort.read import INDEX, read_obs
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_cells
from tests.cohort.tiny import COHORT, make_anndata, make_obs, write_h5ad

TEXT = h5py.string_dtype()


def plain(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Forget how columns are stored."""
    return {c: [None if pd.isna(v) else v for v in table[c].tolist()] for c in table}


def write_old(obs: pd.DataFrame, path: Path, age: str) -> Path:
    """Write obs as anndata 0.6 (`compound`) or 0.7 (`categories`) did."""
    with h5py.File(path, "w") as handle:
        if age == "compound":
            fields: list[tuple[str, Any]] = [("index", TEXT)]
            columns: dict[str, Any] = {"index": obs.index.to_numpy(object)}
            for name in obs:
                if isinstance(obs[name].dtype, pd.CategoricalDtype):
                    fields.append((name, np.int8))
                    columns[name] = obs[name].cat.codes.to_numpy()
                    levels = obs[name].cat.categories.to_numpy(object)
                    handle.create_dataset(f"uns/{name}_categories", data=levels, dtype=TEXT)
                else:
                    fields.append((name, obs[name].to_numpy().dtype))
                    columns[name] = obs[name].to_numpy()
            table = np.empty(len(obs), dtype=fields)
            for name, values in columns.items():
                table[name] = values
            handle["obs"] = table
        else:
            group = handle.create_group("obs")
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "index"})
            group.attrs.create("column-order", list(obs.columns), dtype=TEXT)
            group.create_dataset("index", data=obs.index.to_numpy(object), dtype=TEXT)
            for name in obs:
                if isinstance(obs[name].dtype, pd.CategoricalDtype):
                    levels = obs[name].cat.categories.to_numpy(object)
                    group.create_dataset(f"__categories/{name}", data=levels, dtype=TEXT)
                    group[name] = obs[name].cat.codes.to_numpy()
                    group[name].attrs["categories"] = group[f"__categories/{name}"].ref
                else:
                    group[name] = obs[name].to_numpy()
        handle["X"] = np.ones((len(obs), 2), dtype=np.float32)
    return path


@pytest.mark.parametrize("age", ["compound", "categories"])
def test_files_of_early_anndata(tmp_path: Path, obs: pd.DataFrame, age: str) -> None:
    path = write_old(obs, tmp_path / "old.h5ad", age)
    expected = obs.rename_axis(INDEX).reset_index()
    assert plain(read_obs(path, "h5ad")) == plain(expected)
    some = read_obs(path, "h5ad", {"sex": "columns.sex", INDEX: "columns.batch"})
    assert list(some.columns) == [INDEX, "sex"]
    with pytest.raises(AidaError, match="Did you mean 'donor_id'"):
        read_obs(path, "h5ad", {"donor": "columns.donor_id"})


def test_nullable_and_plain_columns_of_todays_anndata(tmp_path: Path) -> None:
    obs = pd.DataFrame(
        {
            "donor": pd.array(["a", None, "b"], dtype="string"),
            "age": pd.array([30, None, 40], dtype="Int64"),
            "smoker": pd.array([True, None, False], dtype="boolean"),
            "bmi": [22.5, np.nan, 30.0],
            "level": pd.Categorical(["x", None, "x"], categories=["x", "y"]),
        },
        index=["c1", "c2", "c3"],
    )
    table = read_obs(write_h5ad(make_anndata(obs), tmp_path / "new.h5ad"), "h5ad")
    assert plain(table) == {
        INDEX: ["c1", "c2", "c3"], "donor": ["a", None, "b"], "age": [30, None, 40], "smoker": [True, None, False],
        "bmi": [22.5, None, 30.0], "level": ["x", None, "x"],
    }  # fmt: skip
    assert table["level"].cat.categories.tolist() == ["x", "y"]


def test_only_the_wanted_columns_are_read(h5ad: Path) -> None:
    with h5py.File(h5ad, "a") as handle:
        del handle["obs/sex/codes"]  # reading it would fail
        del handle["X"]
    assert list(read_obs(h5ad, "h5ad", {"donor_id": "columns.donor_id"}).columns) == [INDEX, "donor_id"]


def test_a_file_without_cells_table(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5ad", "w") as handle:
        handle["matrix"] = 1
    with pytest.raises(AidaError, match=r"x.h5ad: the file has no cell table \(/obs\).*Found: matrix"):
        read_obs(tmp_path / "x.h5ad", "h5ad")


def ethnicity_as_of(obs: pd.DataFrame, schema: str) -> ad.AnnData:
    """Make the file of one version of the CELLxGENE schema."""
    column = "self_reported_ethnicity_ontology_term_id"
    if schema == "5.0.0":
        obs[column] = obs[column].astype(str).replace("unknown", "HANCESTRO:0005").astype("category")
        obs["development_stage"] = obs["development_stage"].cat.rename_categories(
            lambda s: s.replace("old", "old human")
        )
        obs["organism_ontology_term_id"] = pd.Categorical(["NCBITaxon:9606"] * len(obs))
    data = make_anndata(obs)
    data.uns["schema_version"] = schema
    if schema != "5.0.0":
        data.uns["organism_ontology_term_id"] = "NCBITaxon:9606"
    data.raw = data.copy()
    return data


@pytest.mark.parametrize(("schema", "controls"), [("5.0.0", "European"), ("6.0.0", "unknown"), ("7.1.0", "unknown")])
def test_versions_of_the_cellxgene_schema_give_the_same_cells(
    tmp_path: Path, root: Path, obs: pd.DataFrame, write_cohort: Callable[..., Path], schema: str, controls: str
) -> None:
    write_h5ad(ethnicity_as_of(obs, schema), tmp_path / "tiny.h5ad")
    cohort = write_cohort(counts_layer="raw")
    fetch(cohort, tmp_path / "fetch")
    make_cells(cohort, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    assert set(cells.loc[cells["is_control"], "population"]) == {controls}
    assert cells["is_control"].sum() == 24
    assert cells.groupby("donor_id", observed=True)["age"].first().to_dict() == {
        "SG_HEL_H001": 37, "SG_HEL_H07a": 41, "KR_SGI_H001": 28, "LONZA3038016": 21,
    }  # fmt: skip
    assert cells.groupby("author_label", observed=True).size()["Treg"] == 10


BARCODES = ["AAAC-1", "AAAG-1", "AAAT-1"]
NOTES = "barcode\twho\tlabel\nAAAT-1\td2\tTreg\nAAAC-1\td1\tT\nAAAG-1\td1\tTreg\nEXTRA-1\td9\tT\n"


def write_10x_h5(path: Path, version: int) -> Path:
    """Write a 10x `.h5` of Cell Ranger 2 (one group a genome) or 3."""
    counts = sparse.csc_matrix(np.array([[1, 0, 2], [0, 3, 0]]))
    with h5py.File(path, "w") as handle:
        group = handle.create_group("matrix" if version == 3 else "GRCh38")
        group["barcodes"] = np.array(BARCODES, dtype="S")
        for name in ("data", "indices", "indptr", "shape"):
            group[name] = np.asarray(getattr(counts, name))
        if version == 3:
            for name, values in (("id", ["ENSG1", "ENSG2"]), ("name", ["FOXP3", "CD4"])):
                group[f"features/{name}"] = np.array(values, dtype="S")
    return path


def write_10x_mtx(path: Path, version: int) -> Path:
    """Write a 10x folder of Cell Ranger 2 (plain files) or 3 (compressed)."""
    path.mkdir()
    end = ".gz" if version == 3 else ""
    opener: Any = gzip.open if version == 3 else open
    with opener(path / f"matrix.mtx{end}", "wb") as file:
        mmwrite(file, sparse.coo_matrix(np.array([[1, 0, 2], [0, 3, 0]])))
    with opener(path / f"barcodes.tsv{end}", "wb") as file:
        file.write("".join(f"{b}\n" for b in BARCODES).encode())
    with opener(path / f"{'features' if version == 3 else 'genes'}.tsv{end}", "wb") as file:
        file.write(b"ENSG1\tFOXP3\nENSG2\tCD4\n")
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("kind", "write"), [("10x-h5", write_10x_h5), ("10x-mtx", write_10x_mtx)])
def test_10x_input_with_annotations_goes_to_cells(
    tmp_path: Path, root: Path, write_cohort: Callable[..., Path], kind: str, write: Any, version: int
) -> None:
    write(tmp_path / "input", version)
    (tmp_path / "notes.tsv").write_text(NOTES)
    cohort = write_cohort(
        source={"kind": kind, "path": "input", "obs": "notes.tsv"},
        columns={
            "donor_id": "who",
            "population": {"value": "Korean"},
            "batch": {"column": "_index", "pattern": "-(.)$"},
        },
        labels={"column": "label", "sets": {"T": ["T", "Treg"]}},
        covariates=None,
        controls=None,
    )
    fetch(cohort, tmp_path / "fetch")
    make_cells(cohort, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    assert cells["cell_id"].tolist() == BARCODES
    assert cells["sample_id"].tolist() == ["d1|1", "d1|1", "d2|1"]
    assert cells["author_label"].tolist() == ["T", "Treg", "Treg"]


def test_10x_input_without_annotations(tmp_path: Path, root: Path, write_cohort: Callable[..., Path]) -> None:
    write_10x_h5(tmp_path / "m.h5", 3)
    columns: dict[str, Any] = {"donor_id": {"value": "d1"}, "population": {"value": "unknown"}}
    empty = {"source": {"kind": "10x-h5", "path": "m.h5"}, "labels": None, "covariates": None, "controls": None}
    cohort = write_cohort(columns=columns, **empty)
    fetch(cohort, tmp_path / "fetch")
    make_cells(cohort, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    assert read_cells(tmp_path / "cells" / "cells.parquet")["donor_id"].tolist() == ["d1"] * 3
    cohort = write_cohort(columns={**columns, "donor_id": "who"}, **empty)
    with pytest.raises(AidaError, match=r"'source.obs'.*'who'.*columns.donor_id"):
        make_cells(cohort, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells2")


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ("barcode\twho\nAAAC-1\td1\nAAAT-1\td1\n", r"lacks barcode 'AAAG-1' .*\(1 of 3 cells\)"),
        ("barcode\twho\nAAAC-1\td1\nAAAC-1\td2\n", r"column 'barcode', row 2: barcode 'AAAC-1' occurs twice"),
        ("", "not a readable table"),
        (None, "no such file .key 'source.obs'"),
    ],
)
def test_annotations_that_do_not_fit_the_barcodes(tmp_path: Path, notes: str | None, words: str) -> None:
    path = write_10x_h5(tmp_path / "m.h5", 3)
    if notes is not None:
        (tmp_path / "notes.tsv").write_text(notes)
    with pytest.raises(AidaError, match=words):
        read_obs(path, "10x-h5", None, tmp_path / "notes.tsv")


def test_what_is_no_10x_input(tmp_path: Path, h5ad: Path) -> None:
    with pytest.raises(AidaError, match=r"not a 10x .h5 matrix of one genome: it holds no barcodes"):
        read_obs(h5ad, "10x-h5")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AidaError, match=r"folder without barcodes.tsv.gz"):
        read_obs(tmp_path / "folder", "10x-mtx")
    with pytest.raises(AidaError, match=r"tiny.h5ad: not a folder"):
        read_obs(h5ad, "10x-mtx")


def test_a_folder_that_came_only_in_part(tmp_path: Path) -> None:
    file = write_10x_mtx(tmp_path / "folder", 3) / "barcodes.tsv.gz"
    for damaged in (file.read_bytes()[:-9], b"no gzip"):
        file.write_bytes(damaged)
        with pytest.raises(AidaError, match=r"barcodes.tsv.gz: cannot be read .*get it again"):
            read_obs(tmp_path / "folder", "10x-mtx")


def test_a_plain_scanpy_file(tmp_path: Path, root: Path, write_cohort: Callable[..., Path]) -> None:
    obs = make_obs()[["donor_id", "sex"]].assign(age=37, leiden="3").astype({"donor_id": str})
    obs.index = [f"cell{i}" for i in range(len(obs))]
    write_h5ad(make_anndata(obs), tmp_path / "tiny.h5ad")
    cohort = write_cohort(
        columns={"donor_id": "donor_id", "population": {"value": "unknown"}, "sex": "sex", "age": "age"},
        labels={"column": "leiden", "merge": {"Treg": ["3"]}},
        covariates=None,
    )
    fetch(cohort, tmp_path / "fetch")
    make_cells(cohort, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    assert set(cells["age"]) == {37.0}
    assert set(cells["author_label"]) == {"3"}
    assert COHORT["controls"]["pattern"] == "^LONZA"
    assert cells["is_control"].sum() == 24


def test_annotations_of_no_cell_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = pd.DataFrame({"barcode": [*BARCODES, "TTTT-1", "TTTC-1"], "who": "d1"})
    notes.to_csv(tmp_path / "notes.tsv", sep="\t", index=False)
    table = read_obs(write_10x_h5(tmp_path / "m.h5", 3), "10x-h5", None, tmp_path / "notes.tsv")
    assert table["_index"].tolist() == BARCODES
    assert "notes.tsv: not used: 2 of 5 rows (barcode not in the matrix: 2)" in capsys.readouterr().err
