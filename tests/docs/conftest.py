"""One small run of the sample cohort, made once, for the notebooks and the functions of the public interface."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from aida_tools.cli import main


def aida_tools(*arguments: object) -> None:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="session")
def small_run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`results/sample` of a small cohort, step by step as the workflow makes it; the cohort file lies beside it."""
    base = tmp_path_factory.mktemp("small")
    results, cohort = base / "results" / "sample", base / "sample.yaml"
    config = yaml.safe_load((root / "config" / "cohorts" / "sample.yaml").read_text())
    config["source"] |= {"donors_per_batch": 8, "cells_per_donor": 100, "batches": {"SG": 4, "KR": 2, "JP": 2}}
    cohort.write_text(yaml.safe_dump(config))
    gate = root / "config" / "annotators" / "gate.tsv"
    populations = ("--populations", root / "config" / "populations.tsv")
    cells = results / "cells" / "cells.parquet"
    aida_tools("fetch", cohort, "--out", results / "fetch")
    aida_tools("cells", cohort, results / "fetch", *populations, "--out", results / "cells")
    aida_tools("scan", cohort, results / "fetch", "--gate", gate, "--out", results / "scan")
    labelled = [results / "annotate" / name for name in ("author", "gate")]
    aida_tools("annotate", cohort, cells, "--annotator", "author", "--out", labelled[0])
    aida_tools(
        "annotate", cohort, cells, results / "scan", "--annotator", "gate", "--out", labelled[1],
        "--label-map", gate.with_name("gate.labels.tsv"),
    )  # fmt: skip
    aida_tools("agreement", cells, *labelled, "--within", "CD4_T", "--out", results / "agreement")
    aida_tools("counts", cells, *labelled, "--out", results / "counts")
    tables = [results / "counts" / f"{name}.tsv" for name in ("counts", "samples", "denominators")]
    aida_tools(
        "compare", *tables[:2], "--denominators", tables[2], "--cohort", cohort, "--min-cells", 40, "--one-vs-rest",
        "--model", "betabinomial-mixed", "--model", "quasibinomial", "--model", "log10-ols",
        "--exclude-population", "Indian", "--primary-denominator", "CD4_T", "--out", results / "compare",
    )  # fmt: skip
    return results
