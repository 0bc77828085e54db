"""Real input: four blood samples without labels, from a file to a report; tables of counts through the other door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.compare.tables import read_estimates
from aida_tools.core.tables import read_counts

from .conftest import Run

pytestmark = [pytest.mark.workflow, pytest.mark.shared]


def test_four_real_samples_run_from_file_to_report(root: Path, shared: Path, snakemake: Run, tmp_path: Path) -> None:
    # The published models would be downloaded; their accuracy on these cells is tested in tests/annotate.
    config = yaml.safe_load((root / "config" / "pbmc_10x.yaml").read_text()) | {"annotators": ["gate", "gate-thinned"]}
    done = snakemake(config, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    cohort = tmp_path / "pbmc_10x"
    table = read_counts(cohort / "counts" / "counts.tsv").query("annotator == 'gate'")
    counts = table.pivot(index="sample_id", columns="cell_type", values="n_cells")
    assert counts.to_numpy().sum() == 5756
    members = [line.split("\t") for line in (cohort / "counts" / "denominators.tsv").read_text().splitlines()]
    cd4 = [cell_type for denominator, who, cell_type in members if (denominator, who) == ("CD4_T", "gate")]
    share = counts["Treg"] / counts[cd4].sum(axis=1)
    # Flow cytometry of healthy adults: 2.2 to 7.9 % of CD4 T cells (PMC7397677); a cell-local gate is coarser.
    assert ((share > 0.01) & (share < 0.08)).all(), share
    estimates = read_estimates(cohort / "compare" / "estimates.tsv")
    assert estimates["estimate"].isna().all()
    page = (cohort / "report" / "report.html").read_text()
    assert "no comparison" in page.lower()
    assert "SYNTHETIC" not in page
    assert "no classifier is installed" in page, "labels by the gate alone: the report says so"
    thinned = pd.read_csv(cohort / "agreement" / "thinned.tsv", sep="\t")
    assert set(thinned.loc[thinned["stratum"] == "batch", "level"]) >= set(counts.index.str.split("|").str[-1])
    assert list((cohort / "figures").glob("*.pdf"))


def run(*arguments: object) -> None:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


def test_speckle_counts_through_the_door_agree_with_r(shared: Path, tmp_path: Path) -> None:
    """The numbers are speckle's own (limma 3.54.1): see docs/design/statistics.md."""
    run("import-counts", shared / "oracles" / "speckle_counts.tsv", "--column", "population=group", "--out", tmp_path)
    options = ["--formula", "~ population", "--contrast", "population: a - b", "--min-cells", 0]
    for exclude in ("c",):
        options += ["--exclude-population", exclude]
    tables = [tmp_path / "counts.tsv", tmp_path / "samples.tsv"]
    run("compare", *tables, *options, "--model", "propeller-asin", "--no-robust", "--out", tmp_path / "asin")
    asin = read_estimates(tmp_path / "asin" / "estimates.tsv").set_index("cell_type")
    np.testing.assert_allclose(
        asin.loc[["c0", "c1", "c2"], "statistic"], [3.0817862, -0.7954297, -2.8302040], atol=1e-6
    )
    np.testing.assert_allclose(asin.loc[["c0", "c1", "c2"], "p_value"], [0.02161359, 0.45666872, 0.02994974], atol=1e-6)
    run("compare", *tables, *options, "--model", "propeller-logit", "--robust", "--out", tmp_path / "logit")
    logit = read_estimates(tmp_path / "logit" / "estimates.tsv").set_index("cell_type")
    np.testing.assert_allclose(
        logit.loc[["c0", "c1", "c2"], "statistic"], [2.6088578, -0.6949368, -2.9701280], atol=1e-6
    )


def test_a_paired_real_design_runs(shared: Path, tmp_path: Path) -> None:
    run(
        "import-counts", shared / "data" / "kang2018_counts.csv", "--out", tmp_path,
        "--id-pattern", r"(?P<population>ctrl|stim)SNG-(?P<donor_id>\d+)",
    )  # fmt: skip
    run(
        "compare", tmp_path / "counts.tsv", tmp_path / "samples.tsv", "--formula", "~ population + donor_id",
        "--contrast", "population: stim - ctrl", "--min-cells", 0, "--out", tmp_path / "compare",
    )  # fmt: skip
    estimates = read_estimates(tmp_path / "compare" / "estimates.tsv")
    assert set(estimates["contrast"]) == {"population: stim - ctrl"}
    # Donors are in no batch that is known, so only models of batches have nothing to say.
    of_batches = {"betabinomial-batch", "betabinomial-cluster"}
    assert set(estimates.loc[estimates["estimate"].isna(), "model"]) <= of_batches
    # Least squares of a paired design is the paired t test on the same scale.
    ols = estimates.query("model == 'log10-ols' and cell_type == 'NK cells'").iloc[0]
    counts = read_counts(tmp_path / "counts.tsv").pivot(index="sample_id", columns="cell_type", values="n_cells")
    log_share = np.log10(counts["NK cells"] / counts.sum(axis=1))
    stim = log_share.filter(regex="^stim").sort_index().to_numpy()
    ctrl = log_share.filter(regex="^ctrl").sort_index().to_numpy()
    difference = stim - ctrl
    assert ols["estimate"] == pytest.approx(difference.mean(), abs=1e-9)
    assert ols["std_error"] == pytest.approx(difference.std(ddof=1) / np.sqrt(8), abs=1e-9)
