"""Confirmatory and descriptive contrasts never share a table of the report."""

from __future__ import annotations

from pathlib import Path

from aida_tools.compare.results import load_results
from aida_tools.report.tables import blocks
from tests.figures.made_compare import write_compare


def test_families_have_tables_of_their_own(tmp_path: Path) -> None:
    results = load_results(write_compare(tmp_path / "compare"))
    contrasts = {block.key: block.table for block in blocks(results, {})["contrasts"]}
    for name in ("contrasts-primary", "contrasts-all", "shifts"):
        assert set(contrasts[name]["status"]) == {"between-site"}
        assert set(contrasts[f"{name}-within"]["status"]) == {"within-site"}
    focus = results.focus_estimates()
    primary = focus[(focus["model"] == results.primary["model"]) & focus["estimate"].notna()]
    assert len(contrasts["contrasts-primary"]) + len(contrasts["contrasts-primary-within"]) == len(primary)
