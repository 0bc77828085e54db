"""Confirmatory and descriptive contrasts never share a table of the report."""

from __future__ import annotations

from aida_tools.figures.section import contrasts as contrast_blocks
from aida_tools.results.results import Results


def test_families_have_tables_of_their_own(results: Results) -> None:
    contrasts = {block.key: block.table for block in contrast_blocks(results, {})}
    for name in ("contrasts-primary", "contrasts-all", "shifts"):
        assert set(contrasts[name]["status"]) == {"between-site"}
        assert set(contrasts[f"{name}-within"]["status"]) == {"within-site"}
    focus = results.focus_estimates()
    primary = focus[(focus["model"] == results.primary["model"]) & focus["estimate"].notna()]
    assert len(contrasts["contrasts-primary"]) + len(contrasts["contrasts-primary-within"]) == len(primary)
