"""Which cell types a sample holds: a multinomial logit with planted effects and nested random effects.

Every type but one has the weight `base * exp(eta)`. The focus type (Treg) instead has its share *of its set*
(CD4 T cells) given by `logit(share) = logit(base share) + eta`, so that exp(eta) is an odds ratio with the set as
denominator, whatever else moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

Array = NDArray[np.float64]


def covariates(population: Sequence[str], sex: Sequence[str], age: Array) -> dict[str, Array]:
    """Code the fixed effects.

    Parameters
    ----------
    population, sex
        One name a sample.
    age
        Years, shape (n_samples,).

    Returns
    -------
    Name of the term -> values, shape (n_samples,): indicators `population: X` and `sex: male`, and `age` in decades
    from 40.
    """
    terms = {f"population: {p}": (np.asarray(population) == p).astype(float) for p in sorted(set(population))}
    return terms | {
        "sex: male": (np.asarray(sex) == "male").astype(float),
        "age": (np.asarray(age, float) - 40) / 10,
    }


def fixed_effects(
    terms: Mapping[str, Array], effects: Mapping[str, Mapping[str, float]], types: Sequence[str]
) -> Array:
    """Sum the planted fixed effects.

    Parameters
    ----------
    terms
        Coded covariates, from `covariates`.
    effects
        Term -> type -> effect on the log scale. Terms that no sample has are ignored.
    types
        Names of the cell types.

    Returns
    -------
    eta, shape (n_samples, n_types).
    """
    n = len(next(iter(terms.values())))
    eta = np.zeros((n, len(types)))
    for term, by_type in effects.items():
        for name, value in by_type.items():
            if term in terms:
                eta[:, types.index(name)] += value * terms[term]
    return eta


def type_shares(eta: Array, base: Array, in_set: NDArray[np.bool_], focus: int) -> Array:
    """Turn effects into shares of the cell types.

    Parameters
    ----------
    eta
        Effects, shape (n_samples, n_types); -inf in the focus column makes its share zero.
    base
        Shares (or counts) where all effects are zero, shape (n_types,), positive.
    in_set
        The types that make up the denominator of the focus type, itself included, shape (n_types,).
    focus
        Column of the focus type.

    Returns
    -------
    Shares, shape (n_samples, n_types); rows sum to one.
    """
    weights = np.log(base) + eta
    # The focus leaves the size of its set alone: only its base weight counts there.
    weights[:, focus] = np.log(base[focus])
    shares = softmax(weights, axis=1)
    whole = shares[:, in_set].sum(axis=1)
    part = expit(logit(base[focus] / base[in_set].sum()) + eta[:, focus])
    others = in_set.copy()
    others[focus] = False
    shares[:, others] *= ((1 - part) * whole / shares[:, others].sum(axis=1))[:, None]
    shares[:, focus] = part * whole
    return shares
