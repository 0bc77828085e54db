"""What a statistical model is to the rest of the package: its fit, and everything that is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aida_tools.models.data import Data, Fit
from aida_tools.models.links import Link

LOG_ODDS, ODDS_RATIO = "natural logarithm of the odds ratio", "odds ratio"


@dataclass(frozen=True)
class Model:
    """A model of shares: the only home of what the run file, captions, methods and later fits need to know of it.

    Attributes
    ----------
    name
        As in `--model`.
    fit
        Takes the types of a denominator, returns one fit a type.
    link
        Scale of its coefficients.
    unit
        How to read `estimate`.
    words
        What a methods section calls it: `... were compared by WORDS`.
    reference
        Source of the method.
    marker
        Marker and colour in the forest plot.
    one_type
        Whether each type is fitted by itself, so that a type's fit is the same whatever else is counted.
    drops_zeros
        Whether samples without any count of the type are left out of its model.
    separates
        Whether a side of a contrast without any count has no finite estimate.
    by_batch
        Whether the batch enters its design as a factor, so that only donors of one batch are compared.
    knows_donors
        Whether it knows which samples are of one donor; the others are given the largest sample of each donor.
    recruited_rest
        Whether the rest of a one-vs-rest contrast is one group, in which each donor weighs alike, and not a mean of
        populations.
    of_counts, of_shares
        Whether it is run on tables of counts, and on tables of shares without counts.
    """

    name: str
    fit: Callable[[Data], list[Fit]]
    link: Link
    unit: str
    words: str
    reference: str
    marker: tuple[str, str]
    one_type: bool
    drops_zeros: bool = False
    separates: bool = False
    by_batch: bool = False
    knows_donors: bool = False
    recruited_rest: bool = False
    of_counts: bool = True
    of_shares: bool = False

    @property
    def ratio(self) -> str:
        """What the exponential of an estimate is: `odds ratio`, `ratio of shares`, or empty if it is no ratio."""
        return {"logit": ODDS_RATIO, "log10": "ratio of shares"}.get(self.link, "")
