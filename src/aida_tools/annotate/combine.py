"""Annotators made of others: the rule for unlabelled blood, and the consensus of any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Standard deviations of the two models' Treg margins among gated CD4 T cells of four 10x PBMC samples. They put
#: the two on one scale; the sum is not centred, so that 0 keeps both models' own boundaries.
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
    actinn: NDArray[np.object_], is_cd4: NDArray[np.bool_], is_treg: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """Take the lineage from actinn, and Treg from a rule of both models within its CD4 T cells.

    Parameters
    ----------
    actinn
        Counted type by actinn, array of shape (n_cells,).
    is_cd4
        Whether actinn's type is of the CD4 T cells, array of shape (n_cells,).
    is_treg
        What the rule says, array of shape (n_cells,); only CD4 T cells are asked.

    Returns
    -------
    Counted types: `Treg` where the rule holds, `CD4_T_other` for the other CD4 T cells, else actinn's.
    """
    return np.where(is_cd4, np.where(is_treg, "Treg", "CD4_T_other"), actinn)


def agree(types: Sequence[pd.Series], sets: Mapping[str, set[str]]) -> tuple[NDArray[np.object_], dict[str, set[str]]]:
    """Keep what all annotators say, or the narrowest set they agree on.

    Parameters
    ----------
    types
        Counted type of each cell by each annotator; missing is no opinion and agrees with nothing.
    sets
        Denominator -> its counted types, by any of the annotators.

    Returns
    -------
    cell_type
        Array of shape (n_cells,): the type all name; else `<set>_unresolved` for the set with the fewest types that
        holds all of what they name; else `unresolved`.
    sets
        The sets with the unresolved types that belong to them: unresolved cells stay in the denominators.
    """
    first = types[0].astype(object).to_numpy()
    same = types[0].notna().to_numpy()
    for other in types[1:]:
        same = same & (other.astype(object).to_numpy() == first)
    result = np.where(same, first, UNRESOLVED)
    left = ~same
    extended = {name: set(members) for name, members in sets.items()}
    for name in sorted(sets, key=lambda n: (len(sets[n]), n)):
        inside = left
        for one in types:
            inside = inside & one.isin(sets[name]).to_numpy()
        label = f"{name}_{UNRESOLVED}"
        result[inside] = label
        left = left & ~inside
        for wider, members in sets.items():
            if sets[name] <= members:
                extended[wider].add(label)
    return result, extended
