"""A contrast placed in a design: everything about it that no count decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from aida_tools.core.words import counted
from aida_tools.design.contrasts import Contrast
from aida_tools.design.sites import SiteModel, Standing, side_masks, standing

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
        Design rows of every sample as if it were on that side, each of shape (n, rank); None for a number.
    standing
        Status and alias; `too-few` where a side has not enough samples.
    note
        Why there can be no estimate, or what to know of it.
    n_batches
        Batches of both sides.
    """

    contrast: Contrast
    on_a: np.ndarray
    on_b: np.ndarray
    vector: np.ndarray
    rows_a: np.ndarray | None
    rows_b: np.ndarray | None
    standing: Standing
    note: str
    n_batches: int


def batch_codes(samples: pd.DataFrame) -> np.ndarray | None:
    """Return the batches as codes, shape (n,); a sample without one is a batch of its own; None if none has one."""
    if samples["batch"].isna().all():
        return None
    return pd.factorize(samples["batch"].fillna("sample " + samples["sample_id"]), sort=True)[0]


def _pairing(contrast: Contrast, on_a: np.ndarray, on_b: np.ndarray, sites: SiteModel) -> str:
    """Say if donors stand on both sides although the model takes all samples for different people."""
    both = set(sites.donor[on_a]) & set(sites.donor[on_b])
    if not both or "donor_id" in sites.design.variables:
        return ""
    donors = counted(len(both), "donor")
    return f"{donors} on both sides of {contrast.words()}: add donor_id to the formula to pair them"


def ask(contrast: Contrast, sites: SiteModel) -> Question:
    """Place a contrast in a design."""
    design = sites.design
    on_a, on_b = side_masks(contrast, sites.samples)
    n_batches = len(set(sites.batch[on_a | on_b]) - {None})
    few = []
    for level, on in ((contrast.a, on_a), (contrast.b, on_b)):
        if contrast.a and on.sum() < MIN_SAMPLES:
            few.append(f"{level} has {on.sum() or 'no'} sample{'' if on.sum() == 1 else 's'} after the filters")
    if few:
        note = f"{' and '.join(few)}; a comparison needs {MIN_SAMPLES} on each side"
        nothing = np.zeros(design.matrix.shape[1])
        return Question(contrast, on_a, on_b, nothing, None, None, Standing("too-few", ""), note, n_batches)
    rows_a, rows_b = design.sides(contrast)
    vector = (rows_a - rows_b).mean(axis=0)
    status = standing(contrast, vector, sites)
    note = status.aliased_with if status.status == "not-estimable" else _pairing(contrast, on_a, on_b, sites)
    at_a, at_b = (design.reduce(rows.T).T if contrast.a else None for rows in (rows_a, rows_b))
    return Question(contrast, on_a, on_b, design.reduce(vector), at_a, at_b, status, note, n_batches)
