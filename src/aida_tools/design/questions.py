"""A contrast placed in a design: everything about it that no count decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from aida_tools.design.contrasts import Contrast
from aida_tools.design.matrix import Design
from aida_tools.design.sites import Places

#: A side of a contrast needs this many samples.
MIN_SAMPLES = 2


@dataclass(frozen=True, eq=False)
class Question:
    """A contrast placed in its design: everything about it that no count decides.

    Attributes
    ----------
    contrast
        What is asked.
    on_a, on_b
        The samples of either side, each of shape (n,).
    vector
        Weights on the design's independent columns, shape (rank,).
    rows_a, rows_b
        Design rows of every sample as if it were on that side, each of shape (m, rank): m is n, or for the rest n
        times its levels; None for a number.
    status
        `too-few` where a side has not enough samples, `not-estimable`, or empty: then the fit decides.
    note
        Why there can be no estimate, or what to know of it.
    n_batches
        Recorded batches of both sides.
    n_paired
        Donors with samples on both sides.
    inside
        Whether it can be estimated inside batches.
    """

    contrast: Contrast
    on_a: np.ndarray
    on_b: np.ndarray
    vector: np.ndarray
    rows_a: np.ndarray | None
    rows_b: np.ndarray | None
    status: str
    note: str
    n_batches: int
    n_paired: int = 0
    inside: bool = False


def batch_codes(samples: pd.DataFrame) -> np.ndarray | None:
    """Return the batches as codes, shape (n,); None if none is recorded.

    Samples without one are one batch of their site: nothing says that they were processed apart, and as batches of
    their own they would pass for as many independent ones.
    """
    if samples["batch"].isna().all():
        return None
    unknown = "batch not recorded at " + samples["site"].astype("object").fillna("an unknown site").astype(str)
    return pd.factorize(samples["batch"].astype("object").fillna(unknown), sort=True)[0]


def ask(contrast: Contrast, design: Design, places: Places) -> Question:
    """Place a contrast in a design."""
    on_a, on_b = places.sides(contrast)[:2]
    n_batches = len(set(places.batch[on_a | on_b]) - {None})
    few = []
    for level, on in ((contrast.a, on_a), (contrast.b, on_b)):
        if contrast.a and on.sum() < MIN_SAMPLES:
            few.append(f"{level} has {on.sum() or 'no'} sample{'' if on.sum() == 1 else 's'} after the filters")
    if few:
        note = f"{' and '.join(few)}; a comparison needs {MIN_SAMPLES} on each side"
        nothing = np.zeros(design.matrix.shape[1])
        return Question(contrast, on_a, on_b, nothing, None, None, "too-few", note, n_batches)
    rows_a, rows_b = design.sides(contrast)
    vector = rows_a.mean(axis=0) - rows_b.mean(axis=0)
    lost = not design.estimable(vector)
    note = design.why_not(contrast, vector) if lost else ""
    at_a, at_b = (design.reduce(rows.T).T if contrast.a else None for rows in (rows_a, rows_b))
    status = "not-estimable" if lost else ""
    n_paired = len(set(places.donor[on_a]) & set(places.donor[on_b]))
    weights = design.reduce(vector)
    inside = not lost and places.inside_batches(design, weights)
    return Question(contrast, on_a, on_b, weights, at_a, at_b, status, note, n_batches, n_paired, inside)
