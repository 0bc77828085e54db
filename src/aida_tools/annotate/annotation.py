"""What an annotator says of the cells of a cohort, before it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from aida_tools.annotate.card import Card

#: Score for Treg against the other CD4 T cells, higher for Treg; natural log odds where `probability` is given.
TREG_MARGIN = "margin_Treg"
SCORES = ("probability", "margin", TREG_MARGIN)


@dataclass(frozen=True)
class Annotation:
    """Labels, and what they mean.

    Attributes
    ----------
    labels
        Table with the columns of `LABELS`, one row per cell in file order; scores that it does not give are missing.
    sets
        Table `denominator, cell_type`.
    card
        Who the annotator is.
    expected
        Table `sample_id, cell_type, n_expected`, where the annotator gives calibrated probabilities.
    inputs
        Files that were read beside the cells and the scan.
    tables
        Further tables to write, by name.
    """

    labels: pd.DataFrame
    sets: pd.DataFrame
    card: Card
    expected: pd.DataFrame | None = None
    inputs: list[Path] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
