"""The embedded run, as `make demo` does it: the planted truth is recovered and the site is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from aida_tools.compare.tables import read_estimates
from aida_tools.core.tables import read_counts, read_samples

from .conftest import Run

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def demo(root: Path, snakemake: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("demo")
    done = snakemake(root / "config" / "config.yaml", results)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report.html" in done.stdout + done.stderr
    return results / "sample"


@pytest.fixture(scope="module")
def focus(demo: Path) -> pd.DataFrame:
    table = read_estimates(demo / "compare" / "estimates.tsv")
    return table.query("annotator == 'author' and cell_type == 'Treg' and denominator == 'CD4_T'")


def test_planted_odds_ratios_are_recovered(demo: Path, focus: pd.DataFrame) -> None:
    """Within one site the intervals are of the populations alone: they must hold the planted log odds ratios."""
    planted = json.loads((demo / "fetch" / "truth.json").read_text())["populations"]
    rows = focus.query("model in ['betabinomial', 'betabinomial-mixed'] and status == 'within-site'")
    rows = rows[rows["contrast"].str.startswith("population")]
    assert {"population: SG_Malay - SG_Chinese", "population: SG_Chinese - SG_Malay"} & set(rows["contrast"])
    for row in rows.itertuples():
        a, b = str(row.contrast).removeprefix("population: ").split(" - ")
        assert (
            row.ci_low <= math.log(planted[a]["odds_ratio"]["CD4_T"] / planted[b]["odds_ratio"]["CD4_T"]) <= row.ci_high
        ), row.contrast


def test_korea_is_never_told_apart_from_its_site(focus: pd.DataFrame) -> None:
    korean = focus[focus["contrast"].str.contains("Korean")]
    assert korean["model"].nunique() >= 5
    # A model with an effect for every batch has none left for a population that is a set of batches.
    by_batch = korean["model"] == "betabinomial-batch"
    assert set(korean.loc[by_batch, "status"]) <= {"not-estimable"}
    assert set(korean.loc[~by_batch, "status"]) == {"between-site"}
    assert korean.loc[~by_batch, "aliased_with"].str.contains("KR").all()


def test_counts_door_is_complete(demo: Path) -> None:
    samples, counts = read_samples(demo / "counts" / "samples.tsv"), read_counts(demo / "counts" / "counts.tsv")
    sizes = counts.groupby("annotator").size()
    types = counts.groupby("annotator")["cell_type"].nunique()
    assert (sizes == types * len(samples)).all()
    treg = counts.query("annotator == 'author' and cell_type == 'Treg'")
    assert (treg["n_cells"] == 0).any(), "the donor without Tregs must be a row"
    assert samples["is_control"].any()


def test_zeros_are_counted(demo: Path, focus: pd.DataFrame) -> None:
    shares = pd.read_csv(demo / "compare" / "shares.tsv", sep="\t")
    used = shares.query("annotator == 'author' and denominator == 'CD4_T' and cell_type == 'Treg' and included")
    rows = focus.query("contrast == 'population: Korean - rest'")
    assert {"betabinomial", "log10-ols"} <= set(rows["model"])
    assert set(rows["n_zero"]) == {(used["n"] == 0).sum()}
    assert (rows["n_samples_a"] + rows["n_samples_b"] == len(used)).all()


def test_everything_says_synthetic(demo: Path) -> None:
    assert "SYNTHETIC" in (demo / "report" / "report.html").read_text()
    drawn = sorted((demo / "figures").glob("*.svg"))
    assert len(drawn) >= 4
    assert all("SYNTHETIC" in p.read_text() for p in drawn)


def test_every_annotator_is_there_and_donors_are_labelled_by_models_that_have_not_seen_them(demo: Path) -> None:
    table = pd.read_csv(demo / "agreement" / "annotators.tsv", sep="\t").set_index("annotator")
    assert table["kind"].to_dict() == {"author": "author", "linear": "folds", "gate": "gate", "gate-thinned": "gate"}
    roles = [pd.read_csv(p, sep="\t") for p in sorted((demo.parent / "classifiers").glob("linear.*/donors.tsv"))]
    tested = pd.concat(roles).query("role == 'test'")["donor_id"]
    assert len(roles) == 2
    assert sorted(tested) == sorted(read_samples(demo / "counts" / "samples.tsv")["donor_id"].unique())
    agreed = pd.read_csv(demo / "agreement" / "agreement.tsv", sep="\t", dtype={"level": str})
    f1 = agreed.query(
        "annotator_b == 'linear' and within == 'CD4_T' and measure == 'f1' and stratum in ['all', 'site']"
    ).set_index("level")["estimate"]
    assert set(f1.index) == {"all", "IN", "JP", "KR", "SG", "TH"}
    # The authors' labels are the planted truth here. India has 55 Tregs and the shallowest cells.
    assert f1["all"] > 0.8
    assert f1.min() > 0.55


def test_snakemake_makes_its_own_report(root: Path, demo: Path, snakemake: Run, tmp_path: Path) -> None:
    done = snakemake(root / "config" / "config.yaml", demo.parent, "--report", tmp_path / "report.zip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.zip").stat().st_size > 100_000


def test_a_repeat_has_nothing_to_do(root: Path, demo: Path, snakemake: Run) -> None:
    again = snakemake(root / "config" / "config.yaml", demo.parent)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_nothing_half_written_is_left(demo: Path) -> None:
    assert not list(demo.rglob(".partial-*"))
    assert (demo / "compare" / "provenance.json").exists()
