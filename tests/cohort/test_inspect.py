"""What `inspect` says, and the cohort files it drafts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from scipy import sparse

from aida_tools.cli import main
from aida_tools.cohort.cells import make_cells
from aida_tools.cohort.fetch import fetch
from aida_tools.cohort.inspect import guess_columns, inspect
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_cells
from tests.cohort.test_read import write_10x_h5, write_10x_mtx
from tests.cohort.tiny import make_anndata, write_h5ad


@pytest.fixture
def normalised(tmp_path: Path, obs: pd.DataFrame) -> Path:
    """A file as CELLxGENE has them: counts in raw.X, logarithms in X."""
    data = make_anndata(obs)
    data.raw = data.copy()
    data.X = sparse.csr_matrix(data.X).log1p()
    data.uns["title"] = "SYNTHETIC tiny"
    return write_h5ad(data, tmp_path / "tiny.h5ad")


def test_the_summary_names_what_is_there(normalised: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(normalised)], catch_exceptions=False)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "tiny.h5ad: h5ad, 60 cells"
    assert "  title: SYNTHETIC tiny" in lines
    assert any(line.startswith("  X ") and "not whole numbers" in line for line in lines)
    assert any(line.startswith("  raw ") and "whole numbers: counts" in line for line in lines)
    assert any("Ensembl ids such as 'ENSG00000000000'" in line for line in lines)
    assert any(line.split()[:3] == ["Annotation_Level3", "6", "levels"] for line in lines)
    assert any(line.split() == ["population", "self_reported_ethnicity_ontology_term_id"] for line in lines)
    assert any("donor_BMI_at_collection" in line and "12 missing" in line for line in lines)


def test_the_draft_is_valid_and_runs(normalised: Path, tmp_path: Path, root: Path) -> None:
    draft = tmp_path / "draft.yaml"
    assert "check every line" in inspect(normalised, write_cohort=draft)
    cohort = load_cohort(draft)
    assert cohort.counts_layer == "raw"
    assert cohort.columns.donor_id.column == "donor_id"
    assert cohort.columns.batch.column == "library_id"
    assert cohort.labels.merge == {"Treg": ["Treg"]}
    assert cohort.labels.sets == {
        "CD4_T": ["CD4+_T", "CD4+_T_naive", "Treg"],
        "T": ["CD4+_T", "CD4+_T_naive", "T", "Treg", "dnT"],
    }
    fetch(draft, tmp_path / "fetch")
    make_cells(draft, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    assert len(read_cells(tmp_path / "cells" / "cells.parquet")) == 60
    with pytest.raises(AidaError, match="there is such a file already"):
        inspect(normalised, write_cohort=draft)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pbmc_10x_4samples.h5ad", {"donor_id": "sample"}),
        ("sorted_b_cd4_cd8_800.h5ad", {"labels.column": "FACS_type"}),
    ],
)
def test_real_files(shared: Path, tmp_path: Path, root: Path, name: str, found: dict[str, str]) -> None:
    draft = tmp_path / "draft.yaml"
    text = inspect(shared / "data" / name, write_cohort=draft)
    assert "whole numbers: counts" in text
    for column in found.values():
        assert f" {column}\n" in text
    assert load_cohort(draft).counts_layer == "X"
    fetch(draft, tmp_path / "fetch")
    make_cells(draft, tmp_path / "fetch", root / "config/populations.tsv", tmp_path / "cells")
    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    assert set(cells["population"]) == {"unknown"}


@pytest.mark.parametrize("kind", ["10x-h5", "10x-mtx"])
def test_10x_input(tmp_path: Path, kind: str) -> None:
    path = (write_10x_h5 if kind == "10x-h5" else write_10x_mtx)(tmp_path / "input", 3)
    text = inspect(path, write_cohort=tmp_path / "draft.yaml")
    assert f"input: {kind}, 3 cells" in text
    if kind == "10x-h5":
        assert "matrix       3 x 2, 3 values, int64, whole numbers: counts, up to 3" in text
    cohort = load_cohort(tmp_path / "draft.yaml")
    assert cohort.source.kind == kind
    assert cohort.columns.donor_id.value == "donor1"


@pytest.mark.parametrize("kind", ["10x-h5", "10x-mtx"])
def test_the_draft_for_10x_input_runs_as_it_is_and_says_what_to_fill_in(tmp_path: Path, root: Path, kind: str) -> None:
    path = (write_10x_h5 if kind == "10x-h5" else write_10x_mtx)(tmp_path / "input", 3)
    draft = tmp_path / "cohort.yaml"
    assert "'source.obs'" in inspect(path, write_cohort=draft)
    assert "# To say which donor each cell is from, write a TSV or CSV" in draft.read_text()

    def cells() -> pd.DataFrame:
        fetch(draft, tmp_path / "fetch")
        make_cells(draft, tmp_path / "fetch", root / "config" / "populations.tsv", tmp_path / "cells")
        return read_cells(tmp_path / "cells" / "cells.parquet")

    found = cells()
    assert found["donor_id"].eq("donor1").all()
    pd.DataFrame({"barcode": found["cell_id"], "who": ["a", "b", "b"]}).to_csv(tmp_path / "who.csv", index=False)
    filled = yaml.safe_load(draft.read_text())
    filled["source"]["obs"] = "who.csv"
    filled["columns"]["donor_id"] = "who"
    draft.write_text(yaml.safe_dump(filled))
    assert cells()["donor_id"].tolist() == ["a", "b", "b"]


def test_columns_are_guessed_by_whole_names_only() -> None:
    table = pd.DataFrame(columns=["_index", "Donor", "is_donor_id", "Cell_Type", "sexually", "Age"])
    assert guess_columns(table) == {"donor_id": "Donor", "labels.column": "Cell_Type", "age": "Age"}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").write_text("no")
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "x.h5ad")])
    assert result.exit_code == 1
    assert "x.h5ad: this is not an HDF5 file" in result.output
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "absent.h5ad")])
    assert result.exit_code == 1
    assert "absent.h5ad: there is no such file" in result.output
