"""One small run of the sample cohort, made once for all tests that need the tables of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.core.schema import TABLES


def aida_tools(*arguments: object) -> None:
    """Run a command, which must succeed."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


def as_declared(path: Path) -> pd.DataFrame:
    """Read a table, which must be what its declaration says, column by column."""
    table = TABLES[path.name]
    found = table.check(table.read(path.parent), path)
    columns = pd.read_parquet(path).columns if table.form == "parquet" else pd.read_csv(path, sep="\t").columns
    assert columns.tolist()[: len(table.names)] == table.names, path
    assert table.open or len(columns) == len(table.names), path
    return found


def make_small_run(root: Path, base: Path) -> Path:
    """Make `results/sample` of a small cohort, step by step as the workflow does; the cohort file lies beside it."""
    results, cohort = base / "results" / "sample", base / "sample.yaml"
    results.mkdir(parents=True)
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
