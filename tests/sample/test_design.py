"""Who is in the cohort, and bad sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.sample.design import SITES, make_samples
from aida_tools.sample.run import check_batches, parse_batches, write_sample


@pytest.fixture(scope="module")
def samples():
    return make_samples(check_batches({}), 15, 120, np.random.default_rng(1))


def test_donors_belong_to_one_batch_and_controls_to_many(samples) -> None:
    donors = samples[~samples["is_control"]]
    assert donors["donor_id"].is_unique
    assert (donors.groupby("batch").size() == 15).all()
    controls = samples[samples["is_control"]]
    assert (controls.groupby("batch").size() == 1).all()
    assert set(controls["population"]) == {"unknown"}
    sites = controls.groupby("donor_id")["site"].nunique()
    assert (sites == 5).sum() >= 2
    assert (controls.groupby("donor_id")["batch"].nunique() > 1).sum() >= 4


def test_only_singapore_mixes_populations_within_batches(samples) -> None:
    mixed = samples[~samples["is_control"]].groupby(["site", "batch"])["population"].nunique()
    assert (mixed.loc["SG"] == 3).all()
    assert (mixed.drop("SG") == 1).all()


def test_ages_and_cells_look_like_the_published_ones(samples) -> None:
    donors = samples[~samples["is_control"]]
    assert donors["age"].between(19, 77).all()
    medians = donors.groupby("site")["age"].median()
    for site, spec in SITES.items():
        assert abs(medians[site] - spec.median_age) < 8
    cells = donors.loc[donors["trap"] == "", "n_cells"]
    assert cells.mean() == pytest.approx(120, rel=0.1)
    assert cells.var() > 5 * cells.mean()


def test_batches_are_parsed() -> None:
    assert parse_batches(("SG=2", "KR=0")) == {"SG": 2, "KR": 0}
    assert parse_batches(()) == {}
    assert check_batches({"SG": 2}) == {"SG": 2, "KR": 4, "JP": 4, "TH": 2, "IN": 2}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("SG", "must look like SG=8"),
        ("SG=x", "must look like SG=8"),
        ("SG=-1", "must look like SG=8"),
        ("SQ=2", "unknown site 'SQ'"),
        ("SG=0", "from 1 to 999"),
        ("KR=1000", "from 0 to 999"),
    ],
)
def test_bad_batches_are_told(value: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(AidaError, match=words):
        parse_batches((value,))
    result = CliRunner().invoke(main, ["sample", "--out", str(tmp_path / "o"), "--batches", value])
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "o").exists()


def test_a_repeated_site_is_told() -> None:
    with pytest.raises(AidaError, match="given twice"):
        parse_batches(("SG=2", "SG=3"))


def test_too_few_donors_are_told(tmp_path: Path) -> None:
    with pytest.raises(AidaError, match="at least 3 donors"):
        write_sample(tmp_path / "o", donors_per_batch=2, batches={"SG": 1, "KR": 0, "JP": 0, "TH": 0, "IN": 0})
    assert not (tmp_path / "o").exists()
