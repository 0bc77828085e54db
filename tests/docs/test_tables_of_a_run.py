"""Every table that a run leaves is declared, and is what its declaration says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from aida_tools import rooms
from aida_tools.core.schema import TABLES
from tests.small import aida_tools, as_declared


@pytest.fixture(scope="module")
def written(root: Path, small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the tables of a small run, with the steps that question a comparison."""
    later, compared = tmp_path_factory.mktemp("later"), small_run / "compare"
    few = ("--permutations", 20, "--specifications", 2)
    aida_tools("robustness", compared, *few, "--out", later / "robustness")
    aida_tools("power", compared, "--out", later / "power")
    aida_tools("claims", compared, "--claims", root / "config" / "claims.yaml", "--out", later / "claims")
    wide = later / "wide.csv"
    pd.DataFrame({"id": ["d1", "d2"], "group": ["Korean", "Thai"], "Treg": [3, 5], "other": [97, 95]}).to_csv(
        wide, index=False
    )
    aida_tools("import-counts", wide, "--column", "population=group", "--out", later / "counts")
    rooms.load("tables")
    return [p for place in (small_run, later) for end in ("tsv", "parquet") for p in sorted(place.rglob(f"*.{end}"))]


def test_every_table_is_declared(written: list[Path]) -> None:
    assert {path.name for path in written} <= set(TABLES)
    # What a sketch, a classifier, proteins or thinned counts are needed for is checked where these are tested.
    elsewhere = {
        "donors.tsv", "evaluation.tsv", "evaluation_by_site.tsv", "expected.CLASSIFIER.parquet", "expected.tsv",
        "labels.tsv", "protein_gates.tsv", "reliability.tsv", "sketch.tsv", "sketch_about.tsv", "thinning.tsv",
        "depth.tsv",
    }  # fmt: skip
    assert set(TABLES) - {path.name for path in written} == elsewhere


def test_every_table_is_what_it_is_declared_to_be(written: list[Path]) -> None:
    assert sum(len(as_declared(path)) for path in written) > 10_000
