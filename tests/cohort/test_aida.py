"""The real run, from a loopback server: `config/cohorts/aida_v2.yaml` on a SYNTHETIC file of AIDA's shape."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.cohort.fetch import fetch
from aida_tools.cohort.labels import resolve_labels
from aida_tools.cohort.ontology import check_cell_type, is_deprecated, term_label
from aida_tools.cohort.source import read_source
from aida_tools.core.cohort_file import CellxgeneSource, load_cohort
from aida_tools.core.populations import load_populations
from aida_tools.core.tables import read_cells
from aida_tools.sample.run import write_sample
from tests.cohort.server import COLLECTION, DATASET, NEW, Discover, serve


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, seed=5, donors_per_batch=3, cells_per_donor=100)
    return folder / "sample.h5ad"


def test_the_published_ids_are_those_of_freeze_v2(root: Path) -> None:
    source = load_cohort(root / "config/cohorts/aida_v2.yaml").source
    assert isinstance(source, CellxgeneSource)
    assert (source.collection_id, source.dataset_id, source.route) == (COLLECTION, DATASET, "obs")
    assert source.api == "https://api.cellxgene.cziscience.com/curation/v1"


def test_every_population_has_an_id_of_the_ontology_and_its_name(root: Path) -> None:
    for row in load_populations(root / "config/populations.tsv").to_dict("records"):
        if row["code"] != "unknown":
            assert term_label(row["hancestro_id"]) in (row["label"], f"{row['label']} ancestry")
            assert not is_deprecated(row["hancestro_id"])


def test_fetch_and_cells_of_the_real_cohort_file(root: Path, sample: Path, tmp_path: Path) -> None:
    with serve(Discover({NEW: sample})) as discover:
        values = yaml.safe_load((root / "config/cohorts/aida_v2.yaml").read_text(encoding="utf-8"))
        values["source"]["api"] = discover.api
        cohort = tmp_path / "aida_v2.yaml"
        cohort.write_text(yaml.safe_dump(values), encoding="utf-8")
        # Small blocks, as this file is small; with the default block a 375 MB file of this shape takes 37 MB.
        fetch(cohort, tmp_path / "fetch", block=2**16)
    details = read_source(tmp_path / "fetch").details
    size = sample.stat().st_size
    assert details["bytes"] == size
    assert details["bytes_read"] < 0.3 * size
    assert discover.bytes_sent() < 0.3 * size

    arguments = [str(cohort), str(tmp_path / "fetch"), "--populations", str(root / "config/populations.tsv")]
    result = CliRunner().invoke(main, ["cells", *arguments, "--out", str(tmp_path / "cells")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.output, "library, site, CD4 T and T agree with the columns they are checked against"

    cells = read_cells(tmp_path / "cells" / "cells.parquet")
    truth = pd.read_parquet(tmp_path / "fetch" / "obs.parquet")
    assert (cells["author_label"] == "Treg").equals(truth["cell_type_ontology_term_id"] == "CL:0000815")
    assert (truth["cell_type_ontology_term_id"] == "CL:0011024").any(), "the trap is there"
    assert (cells["is_control"] == truth["donor_id"].str.startswith("LONZA")).all()
    assert (cells["site"] == truth["Country"]).all()
    assert set(cells.loc[~cells["is_control"], "population"]) == {
        "SG_Chinese", "SG_Malay", "SG_Indian", "Japanese", "Korean", "Thai", "Indian",
    }  # fmt: skip
    assert set(cells.loc[cells["is_control"], "population"]) == {"unknown"}
    per_donor = cells[cells["is_control"]].groupby("donor_id", observed=True)["sample_id"].nunique()
    assert (per_donor > 1).any(), "a control run in several batches is several samples"
    assert cells.groupby("sample_id", observed=True)[["donor_id", "batch"]].nunique().eq(1).all(axis=None)
    assert "SG_HEL_H07a" in set(cells["donor_id"])
    assert {"bmi", "smoking", "introns", "aligner"} < set(cells.columns)

    labels = load_cohort(cohort).labels
    _, sets = resolve_labels(labels, cells["author_label"], cells["cell_type_id"])
    by_id = {"CL:0000895", "CL:0000904", "CL:0000905", "CL:0000934", "CL:0000624", "CL:0000815"}
    inside = cells["author_label"].isin(sets["CD4_T"])
    assert set(cells.loc[inside, "cell_type_id"]) == by_id
    assert not set(cells.loc[~inside, "cell_type_id"]) & by_id
    assert "dnT" not in sets["CD4_T"]
    for term in by_id:
        check_cell_type(term, "AIDA")
