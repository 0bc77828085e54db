"""Expected counts: their sums, their agreement with hard ones, their bias, what they refuse; and compare takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.compose.run import compose
from aida_tools.core.errors import AidaError
from aida_tools.core.schema import write_parquet
from aida_tools.core.tables import check_counts_match_samples, read_counts, read_denominators, read_samples
from tests.compose.test_compose import make_cells

TYPES = ["B", "CD4", "Treg"]


def write_labels(cells: pd.DataFrame, probability: np.ndarray, folder: Path) -> Path:
    """An annotator's folder: the likeliest type of each cell, and the sums of its probabilities."""
    folder.mkdir(parents=True)
    labels = cells[["cell_id"]].assign(cell_type=np.array(TYPES)[probability.argmax(axis=1)])
    write_parquet(labels, folder / "labels.parquet")
    (folder / "sets.tsv").write_text(f"denominator\tannotator\tcell_type\nCD4_T\t{folder.name}\tTreg\nCD4_T\tx\tCD4\n")
    sums = pd.DataFrame(probability, columns=TYPES).groupby(cells["sample_id"].to_numpy()).sum()
    expected = sums.rename_axis("sample_id").reset_index().melt("sample_id", None, "cell_type", "n_expected")
    expected.to_csv(folder / "expected.tsv", sep="\t", index=False)
    return folder


@pytest.fixture
def cells(tmp_path: Path) -> pd.DataFrame:
    cells = make_cells()
    write_parquet(cells, tmp_path / "cells.parquet")
    return cells


def counted(tmp_path: Path, *folders: Path) -> pd.DataFrame:
    compose(tmp_path / "cells.parquet", folders, tmp_path / "counts")
    counts, samples = (
        read(tmp_path / "counts" / n) for read, n in ((read_counts, "counts.tsv"), (read_samples, "samples.tsv"))
    )
    check_counts_match_samples(counts, samples, "counts.tsv", "samples.tsv")
    return counts.pivot(index=["annotator", "sample_id"], columns="cell_type", values="n_cells")


def test_expected_counts_sum_to_the_cells_of_the_sample(cells: pd.DataFrame, tmp_path: Path) -> None:
    probability = np.random.default_rng(0).dirichlet([1, 2, 0.3], len(cells))
    counts = counted(tmp_path, write_labels(cells, probability, tmp_path / "m"))
    soft, hard = counts.loc["m:soft"], counts.loc["m"]
    np.testing.assert_allclose(soft.sum(axis=1), hard.sum(axis=1))
    assert (soft % 1 != 0).any(axis=None)
    by_hand = pd.DataFrame(probability, columns=TYPES).groupby(cells["sample_id"].to_numpy()).sum()
    np.testing.assert_allclose(soft, by_hand)
    sets = read_denominators(tmp_path / "counts" / "denominators.tsv")
    assert sets.groupby("annotator")["cell_type"].agg(list).to_dict() == {
        "m": ["Treg", "CD4"],
        "m:soft": ["Treg", "CD4"],
    }
    # Hard counts are written as whole numbers, also beside soft ones.
    lines = (tmp_path / "counts" / "counts.tsv").read_text().splitlines()
    assert all("." not in line.split("\t")[3] for line in lines if "\tm\t" in line)


def test_sure_probabilities_give_the_hard_counts(cells: pd.DataFrame, tmp_path: Path) -> None:
    probability = np.eye(3)[np.random.default_rng(1).integers(0, 3, len(cells))]
    counts = counted(tmp_path, write_labels(cells, probability, tmp_path / "m"))
    pd.testing.assert_frame_equal(counts.loc["m:soft"], counts.loc["m"])


def test_soft_shares_of_a_rare_type_are_less_biased(tmp_path: Path) -> None:
    """Calibrated probabilities by construction: the truth is drawn from them."""
    cells = make_cells(60_000)
    write_parquet(cells, tmp_path / "cells.parquet")
    rng = np.random.default_rng(2)
    treg = rng.beta(0.15, 2.5, len(cells))
    probability = np.column_stack([np.zeros(len(cells)), 1 - treg, treg])
    truth = pd.Series(rng.random(len(cells)) < treg).groupby(cells["sample_id"].to_numpy()).mean()
    counts = counted(tmp_path, write_labels(cells, probability, tmp_path / "m"))
    share = {name: counts.loc[name, "Treg"] / counts.loc[name, ["Treg", "CD4"]].sum(axis=1) for name in ("m", "m:soft")}
    hard, soft = (float((share[name] / truth - 1).mean()) for name in ("m", "m:soft"))
    assert hard < -0.2
    assert abs(soft) < 0.03


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_expected", "n", "column 'n_expected' is missing"),
        ("d0|b1", "d9|b1", "sample_id 'd0|b1' is not in both"),
        ("\tB\t", "\tTreg\t", "row 11 repeats sample_id"),
        ("\t0.0\n", "\t-1\n", "row 1: value '-1' must be a number of 0 or more"),
        ("\t0.0\n", "\tmany\n", "row 1: value 'many' must be"),
        ("\t0.0\n", "\t999\n", "cells are expected of"),
    ],
)
def test_wrong_expected_counts_are_named(cells: pd.DataFrame, tmp_path: Path, old: str, new: str, message: str) -> None:
    probability = np.tile([0.0, 1.0, 0.0], (len(cells), 1))
    path = write_labels(cells, probability, tmp_path / "m") / "expected.tsv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(AidaError) as error:
        counted(tmp_path, path.parent)
    assert message in str(error.value)
    assert not (tmp_path / "counts").exists()


def test_compare_takes_expected_counts(tmp_path: Path) -> None:
    """Two populations with three times the odds of a Treg in one: found from soft counts."""
    rng = np.random.default_rng(3)
    donors, each = 40, 300
    donor = np.repeat(np.arange(donors), each)
    thai = donor % 2 == 1
    odds = np.where(thai, 3.0, 1.0) * 0.05 * rng.lognormal(0, 0.2, donors)[donor]
    treg = rng.random(len(donor)) < odds / (1 + odds)
    cells = make_cells(len(donor)).assign(
        donor_id=[f"d{d}" for d in donor], sample_id=[f"d{d}|b1" for d in donor], library="l1", sex="female", age=40.0,
        population=np.where(thai, "Thai", "Korean"), bmi=20.0,
    )  # fmt: skip
    write_parquet(cells, tmp_path / "cells.parquet")
    # Of a symmetric signal with likelihood ratio 9, and the prior of the population's own odds.
    ratio = np.where((rng.random(len(donor)) < 0.9) == treg, 9.0, 1 / 9)
    p = odds * ratio / (1 + odds * ratio)
    counted(tmp_path, write_labels(cells, np.column_stack([np.zeros_like(p), 1 - p, p]), tmp_path / "m"))
    tables = [str(tmp_path / "counts" / name) for name in ("counts.tsv", "samples.tsv")]
    result = CliRunner().invoke(
        main,
        ["compare", *tables, "--denominators", str(tmp_path / "counts" / "denominators.tsv"), "--out",
         str(tmp_path / "compare"), "--model", "betabinomial-mixed", "--formula", "~ population",
         "--primary-annotator", "m:soft"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    estimates = pd.read_csv(tmp_path / "compare" / "estimates.tsv", sep="\t")
    row = estimates.query("annotator == 'm:soft' and cell_type == 'Treg' and denominator == 'CD4_T'").iloc[0]
    assert row["status"] == "within-site"
    assert np.exp(abs(row["estimate"])) == pytest.approx(3, rel=0.2)
    shares = pd.read_csv(tmp_path / "compare" / "shares.tsv", sep="\t").query("annotator == 'm:soft'")
    assert (shares["n"] % 1 != 0).any()
