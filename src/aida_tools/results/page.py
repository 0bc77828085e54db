"""What a room puts on the page: a section with sentences, cards and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from aida_tools.results.results import Results

#: Population code -> name to print.
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Block:
    """One table of the page.

    Attributes
    ----------
    key
        Id of the table in the page.
    title
        Its heading.
    note
        A sentence above it.
    table
        The rows; column names are printed as they are.
    is_open
        Whether it is shown without being unfolded.
    """

    key: str
    title: str
    note: str
    table: pd.DataFrame
    is_open: bool = False


@dataclass(frozen=True)
class Card:
    """A statement with a verdict.

    Attributes
    ----------
    verdict, sign, kind
        The verdict, the sign before it, and its colour: `yes`, `unsure`, `no`; `open` cards are folded together.
    statement, text
        What was said, and what the data say of it.
    source
        Who said it.
    """

    verdict: str
    sign: str
    kind: str
    statement: str
    text: str
    source: str = ""


def _nothing(results: Results, labels: Labels) -> list[Any]:
    return []


@dataclass(frozen=True)
class Section:
    """A section of the page. Figures and declared tables name it by its key, and stand in it below its sentences.

    Attributes
    ----------
    key, title
        Its id and heading.
    place
        Where it stands: the sections are ordered by it, those of the same place as they were registered.
    sentences
        Its first words; `[figure:KEY]` in them becomes the number of that figure.
    limits
        What it says of how far to believe the headline: sentences of the first screen.
    cards, blocks
        Its statements with a verdict, and its tables; empty tables are left out.
    methods, references
        Its paragraphs in the methods, and what these rest on.
    """

    key: str
    title: str
    place: int = 50
    sentences: Callable[[Results, Labels], list[str]] = _nothing
    limits: Callable[[Results, Labels], list[str]] = _nothing
    cards: Callable[[Results, Labels], list[Card]] = _nothing
    blocks: Callable[[Results, Labels], list[Block]] = _nothing
    methods: Callable[[Results, Labels], list[str]] = _nothing
    references: Callable[[Results, Labels], list[str]] = _nothing


#: Key -> section, in the order of the page.
SECTIONS: dict[str, Section] = {}


def register(section: Section) -> Section:
    """Add a section to the page, at its place."""
    every = [*(s for s in SECTIONS.values() if s.key != section.key), section]
    SECTIONS.clear()
    SECTIONS.update({s.key: s for s in sorted(every, key=lambda s: s.place)})
    return section


def page_order(keys: Iterable[str]) -> list[Section]:
    """Return the sections in the order of the page, with one for each of the keys that nobody registered."""
    more = [Section(key, key.replace("-", " ").capitalize()) for key in dict.fromkeys(keys) if key not in SECTIONS]
    return sorted([*SECTIONS.values(), *more], key=lambda s: s.place)
