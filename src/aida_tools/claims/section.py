"""The section of the page on published statements: each with its verdict."""

from __future__ import annotations

from aida_tools.claims.tables import CLAIMS
from aida_tools.claims.verdict import DISAGREE, NOT_SUPPORTED, NOT_TESTABLE, SHOWN, SUPPORTED
from aida_tools.core.words import labelled
from aida_tools.results.page import Card, Labels, Section, register
from aida_tools.results.results import Results

#: Verdict -> the mark beside it: its kind and its sign.
_MARKS = {
    **dict.fromkeys(SHOWN.values(), ("unsure", "≈")),
    SUPPORTED: ("yes", "✓"),
    DISAGREE: ("unsure", "≠"),
    NOT_SUPPORTED: ("no", "✗"),
    NOT_TESTABLE: ("open", "?"),
}


def cards(results: Results, labels: Labels) -> list[Card]:
    """Return a card for each claim, with the names of the populations."""
    found = []
    for claim in results[CLAIMS].astype(object).fillna("").to_dict("records"):
        kind, sign = _MARKS[claim["verdict"]]
        text = labelled(claim["evidence"], labels)
        found.append(Card(claim["verdict"], sign, kind, claim["statement"], text, claim["source"]))
    return found


register(Section("claims", "What was claimed, and what these data say", place=10, cards=cards))
