"""The figures that there are. A room declares each of its own beside the function that draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from aida_tools.figures.style import Palette
from aida_tools.results.results import Results


@dataclass(frozen=True)
class Plate:
    """One figure with all that belongs to it.

    Attributes
    ----------
    stem
        Name of its files.
    title
        A heading of a few words.
    caption
        What is drawn, complete enough for a manuscript; it does not repeat the title.
    alt
        What is to be seen, in words and numbers, for those who cannot see it.
    table
        The source table.
    draw
        Makes the figure.
    """

    stem: str
    title: str
    caption: str
    alt: str
    table: pd.DataFrame
    draw: Callable[[], Figure]


#: Reads the tables; None where they do not allow the figure.
Maker = Callable[[Results, Palette], Plate | None]


@dataclass(frozen=True)
class Entry:
    """A figure by its key, which text refers to it by.

    Attributes
    ----------
    key
        The key. The stem of its plate begins with it.
    section
        Key of the section of the page that it stands in.
    place
        Where it stands there: the figures of a section are ordered by it.
    short
        A caption without the numbers of a run, for Snakemake's own report.
    make
        Reads the tables.
    """

    key: str
    section: str
    place: int
    short: str
    make: Maker


#: Key -> entry.
FIGURES: dict[str, Entry] = {}


def figure(key: str, *, section: str, place: int = 50, short: str) -> Callable[[Maker], Maker]:
    """Declare a figure: decorates the function that makes its plate."""

    def declare(make: Maker) -> Maker:
        FIGURES[key] = Entry(key, section, place, short, make)
        return make

    return declare
