"""Annotators made of others: the rule for unlabelled blood, and the consensus of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Standard deviations of the two classifiers' Treg margins among gated CD4 T cells of four 10x PBMC samples. They put
#: the two on one scale; the sum is not centred, so that 0 keeps both classifiers' own boundaries.
STCAT_SCALE, ACTINN_SCALE = 578.2, 2.181
UNRESOLVED = "unresolved"


def scale_margins(stcat: NDArray[np.float64], actinn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Express the Treg margins of STCAT and actinn in units of their standard deviations among CD4 T cells.

    Parameters
    ----------
    stcat, actinn
        Margins, arrays of shape (n_cells,).

    Returns
    -------
    Array of shape (2, n_cells). The sum is the sensitive score, the smaller of the two that of agreement.
    """
    return np.array([stcat / STCAT_SCALE, actinn / ACTINN_SCALE])


def blood_types(
    actinn: NDArray[np.object_], is_cd4: NDArray[np.bool_], has_cd8: NDArray[np.bool_], is_treg: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """Take the lineage from actinn, and Treg from a rule of both classifiers within its CD4 T cells.

    Parameters
    ----------
    actinn
        Counted type by actinn, array of shape (n_cells,).
    is_cd4
        Whether actinn's type is of the CD4 T cells, array of shape (n_cells,).
    has_cd8
        Whether a molecule of CD8A or CD8B was seen, array of shape (n_cells,): actinn takes shallow CD8 T cells for
        CD4 T cells, and a molecule says more than a network that has not seen the other.
    is_treg
        What the rule says, array of shape (n_cells,); only CD4 T cells are asked.

    Returns
    -------
    Counted types: of actinn's CD4 T cells `CD8_T` with CD8, else `Treg` where the rule holds, else `CD4_T_other`; of
    the others, what actinn says.
    """
    return np.where(is_cd4, np.where(has_cd8, "CD8_T", np.where(is_treg, "Treg", "CD4_T_other")), actinn)


def agree(types: Sequence[pd.Series], sets: Mapping[str, set[str]]) -> tuple[NDArray[np.object_], dict[str, set[str]]]:
    """Take what more than half of the annotators say, or the narrowest set more than half agree on.

    Of two annotators both must agree. Of more, a majority decides and not all of them: else every further annotator
    could only take Tregs away.

    Parameters
    ----------
    types
        Counted type of each cell by each annotator; missing is no opinion and agrees with nothing.
    sets
        Denominator -> its counted types, by any of the annotators.

    Returns
    -------
    cell_type
        Array of shape (n_cells,): the type named by more than half; else `<set>_unresolved` for the set with the
        fewest types that holds what more than half of them name; else `unresolved`.
    sets
        The sets with the unresolved types that belong to them: unresolved cells stay in the denominators.
    """
    half = len(types) / 2
    named = [one.astype(object).to_numpy() for one in types]
    result = np.full(len(named[0]), UNRESOLVED, dtype=object)
    for name in sorted({str(level) for one in types for level in one.dropna().unique()}):
        result[np.sum([one == name for one in named], axis=0) > half] = name
    left = result == UNRESOLVED
    extended = {name: set(members) for name, members in sets.items()}
    for name in sorted(sets, key=lambda n: (len(sets[n]), n)):
        inside = left & (np.sum([one.isin(sets[name]).to_numpy() for one in types], axis=0) > half)
        label = f"{name}_{UNRESOLVED}"
        result[inside] = label
        left = left & ~inside
        for wider, members in sets.items():
            if sets[name] <= members:
                extended[wider].add(label)
    return result, extended
