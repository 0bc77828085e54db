"""Confirmatory and descriptive contrasts never share a table of the report."""

from __future__ import annotations

import dataclasses

import pandas as pd

from aida_tools.figures.run import plates
from aida_tools.figures.section import contrasts as contrast_blocks
from aida_tools.figures.section import without_site
from aida_tools.figures.style import Palette
from aida_tools.results.page import SECTIONS
from aida_tools.results.results import Results


def test_families_have_tables_of_their_own(results: Results) -> None:
    contrasts = {block.key: block.table for block in contrast_blocks(results, {})}
    for name in ("contrasts-primary", "contrasts-all", "shifts"):
        assert set(contrasts[name]["status"]) == {"between-site"}
        assert set(contrasts[f"{name}-within"]["status"]) == {"within-site"}
    focus = results.focus_estimates()
    primary = focus[(focus["model"] == results.primary["model"]) & focus["estimate"].notna()]
    assert len(contrasts["contrasts-primary"]) + len(contrasts["contrasts-primary-within"]) == len(primary)


def with_status(results: Results, statuses: dict[str, str]) -> Results:
    """Give contrasts of the made-up comparison another status."""
    named = results.estimates["contrast"].map(statuses)
    return dataclasses.replace(results, estimates=results.estimates.assign(status=named.fillna("within-site")))


def test_every_status_has_tables_and_words_of_its_own(results: Results) -> None:
    asked = {"population: SG_Chinese - rest": "indirect", "population: SG_Malay - rest": "between-batch"}
    found = with_status(results, asked)
    tables = {block.key: block for block in contrast_blocks(found, {}) if len(block.table)}
    assert set(tables["contrasts-primary-indirect"].table["status"]) == {"indirect"}
    assert set(tables["contrasts-primary-batch"].table["status"]) == {"between-batch"}
    assert tables["contrasts-primary-batch"].title.endswith("(descriptive: population and batch together)")
    assert "contrasts-primary" not in tables
    said = SECTIONS["contrasts"].sentences(found, {})[0]
    assert "An indirect contrast" in said
    assert "A between-batch contrast" in said
    assert "A between-site contrast" not in said


def test_what_the_models_left_out_is_counted_by_reason(results: Results) -> None:
    [block] = SECTIONS["measured"].blocks(results, {})
    assert block.key == "left-out"
    table = block.table.set_index("reason")
    assert table["samples"].to_dict() == results.options["excluded"]
    lost = results.samples.set_index("sample_id").loc[results.excluded["sample_id"].unique(), "n_cells"].sum()
    assert table["cells"].sum() == lost
    assert table["samples"].is_monotonic_decreasing


def test_what_was_fitted_without_the_site_stands_below_what_is_reported(results: Results, palette: Palette) -> None:
    assert without_site(results, {}) == []
    contrast = "population: Korean - rest"
    new = results.estimates.assign(superseded=False, formula="~ population + site")
    old = new[new["contrast"] == contrast].assign(superseded=True, formula="~ population", status="indirect")
    both = dataclasses.replace(results, estimates=pd.concat([old, new], ignore_index=True))
    both = dataclasses.replace(both, estimates=both.estimates.assign(note=None))
    [block] = without_site(both, {})
    own = block.table[block.table["model"] == "betabinomial-mixed"]
    assert own["formula"].tolist()[-1] == "~ population"
    assert set(own["contrast"]) == {"Korean against all others"}
    assert own["reported"].tolist()[-1] is False
    assert len(block.table) == len(both.superseded()) + (results.focus_estimates()["contrast"] == contrast).sum()
    every = [block.table for block in contrast_blocks(both, {}) if block.key.startswith(("contrasts", "shifts"))]
    statuses = {status for table in every if len(table) for status in table["status"]}
    assert "indirect" not in statuses
    assert len(plates(both, palette)["shifts"].table) == len(plates(results, palette)["shifts"].table)
