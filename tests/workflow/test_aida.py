"""The real run, `config/aida.yaml`, against a loopback server that speaks the Discover API and HTTP ranges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from aida_tools.compare.tables import read_estimates
from aida_tools.sample.run import write_sample
from tests.cohort.server import NEW, OLD, Discover, serve

from .conftest import Run

pytestmark = pytest.mark.workflow


def test_aida_runs_on_the_cell_table_alone(root: Path, snakemake: Run, tmp_path: Path) -> None:
    write_sample(tmp_path, seed=3, donors_per_batch=6, cells_per_donor=60, batches={"SG": 3, "KR": 2, "JP": 2})
    published = tmp_path / "sample.h5ad"
    cohort = yaml.safe_load((root / "config" / "cohorts" / "aida_v2.yaml").read_text())
    run = yaml.safe_load((root / "config" / "aida.yaml").read_text())
    with serve(Discover({NEW: published, OLD: published})) as discover:
        cohort["source"]["api"] = discover.api
        (tmp_path / "aida_v2.yaml").write_text(yaml.safe_dump(cohort))
        # The stand-in has fewer cells a donor than AIDA; everything else is the committed run.
        run["cohorts"] = [str(tmp_path / "aida_v2.yaml")]
        run["compare"]["min_cells"] = 20
        done = snakemake(run, tmp_path / "results")
        assert done.returncode == 0, done.stdout + done.stderr
        sent = discover.bytes_sent()
    results = tmp_path / "results" / "aida_v2"
    assert not list(results.rglob("*.h5ad")), "the counts must not be fetched"
    source = json.loads((results / "fetch" / "source.json").read_text())
    assert source["version_id"] == NEW
    # How small a part of a large file is read is measured in tests/cohort; here the record covers all that was sent.
    assert source["bytes_read"] >= sent > 0
    estimates = read_estimates(results / "compare" / "estimates.tsv")
    korean = estimates[estimates["contrast"].str.contains("Korean") & (estimates["cell_type"] == "Treg")]
    assert set(korean["status"]) <= {"between-site", "not-estimable", "too-few", "not-converged"}
    assert (korean["status"] == "between-site").any()
    assert (results / "report" / "report.html").stat().st_size > 10_000
