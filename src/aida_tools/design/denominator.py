"""What shares are of: counts of several types in every sample, and their total. What is counted, the caller knows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Denominator:
    """The counts of one denominator under one annotator.

    Attributes
    ----------
    annotator, name
        Which labels, share of what.
    types
        Its types, k names.
    counts
        Count of each type in each sample, shape (n, k).
    totals
        Count of the denominator, shape (n,).
    has_counts
        False for shares without counts: `counts` are shares then, not a number where not measured, and totals 1.
    unit
        What is counted, for sentences: `cell`, `UMI`.
    """

    annotator: str
    name: str
    types: list[str]
    counts: np.ndarray
    totals: np.ndarray
    has_counts: bool = True
    unit: str = "cell"

    def take(self, rows: np.ndarray) -> Denominator:
        """Return the counts of some of the samples, as a mask or indices."""
        return replace(self, counts=self.counts[rows], totals=self.totals[rows])

    def united(self, name: str, types: Collection[str]) -> Denominator:
        """Return the counts with several types added up to one, the first; the others stay as they are."""
        inside = np.array([t in types for t in self.types])
        kept = [t for t in self.types if t not in types]
        counts = np.column_stack([self.counts[:, inside].sum(axis=1), self.counts[:, ~inside]])
        return replace(self, types=[name, *kept], counts=counts)

    def only(self, name: str) -> Denominator:
        """Return the counts of one type alone, their totals as they are."""
        return replace(self, types=[name], counts=self.counts[:, [self.types.index(name)]])
