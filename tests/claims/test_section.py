"""Claims on the page: their verdicts, with the names of the populations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from aida_tools.claims.section import cards
from aida_tools.claims.tables import CLAIMS
from aida_tools.claims.verdict import NOT_SUPPORTED, NOT_TESTABLE
from aida_tools.results.results import load_results


def test_a_claim_is_a_card_with_names_and_not_codes(made_up: Path) -> None:
    rows = pd.DataFrame(
        {
            "claim": ["a", "b"],
            "statement": ["Malays have more of them.", "It makes people ill."],
            "verdict": [NOT_SUPPORTED, NOT_TESTABLE],
            "evidence": ["SG_Malay against Thai: odds ratio 1.1.", "Nobody was followed up."],
        }
    )
    results = load_results(made_up)
    assert cards(results, {}) == []
    results = dataclasses.replace(results, tables=results.tables | {"claims": CLAIMS.frame(rows)})
    told, folded = cards(results, {"SG_Malay": "Singaporean Malay", "Thai": "Thai"})
    assert told.text == "Singaporean Malay against Thai: odds ratio 1.1."
    assert (told.verdict, told.kind, told.source) == (NOT_SUPPORTED, "no", "")
    assert folded.kind == "open"
