r"""Permutation tests of a contrast: batches between sites, donors within batches.

The statistic is the t of the contrast in a linear model of the responses (logits of shares) adjusted for the other
columns of the design,

.. math:: t = \frac{l'a}{\sqrt{l'Ql}} \Big/ \sqrt{\frac{y'Py - (l'a)^2 / l'Ql}{\nu}}

Where:
- l: 1 for the units on side a; a = U'Py and Q = U'PU for units U (0/1 columns: batches, or the samples themselves).
- P: the projection off the other columns, weighted by the inverse covariance of y (see `reml`); it does not depend on
  the labels, so each permutation costs one row of a matrix product, and is the exact refit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_CHUNK = 1000
#: Ties of the statistic are ties although they are rounded differently.
_ROUNDING = 1e-9


class Null(NamedTuple):
    """A permutation test.

    Attributes
    ----------
    statistic, estimate
        t and coefficient of the labels as they are.
    permuted
        t of every permutation, shape (m,); all of them, the observed one included, if `exact`.
    p_value
        Two-sided: share of permutations at least as far from 0; the observed one counts.
    p_min
        The smallest p-value that any labels could have got.
    n_distinct
        How many different permutations there are.
    exact
        Whether all of them were made.
    df
        Residual degrees of freedom of the statistic.
    """

    statistic: float
    estimate: float
    permuted: np.ndarray
    p_value: float
    p_min: float
    n_distinct: int
    exact: bool
    df: float


def count_arrangements(labels: np.ndarray, blocks: np.ndarray) -> int:
    """Count the ways to deal out the labels again, each block keeping its number of them.

    Parameters
    ----------
    labels
        Whether each unit is on side a, shape (u,), boolean.
    blocks
        Block of each unit as codes, shape (u,).
    """
    return math.prod(math.comb(int((blocks == b).sum()), int(labels[blocks == b].sum())) for b in np.unique(blocks))


def _all_arrangements(labels: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    members = [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
    choices = [list(itertools.combinations(units, int(labels[units].sum()))) for units in members]
    rows = [list(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*choices)]
    out = np.zeros((len(rows), len(labels)))
    for i, on in enumerate(rows):
        out[i, on] = 1
    return out


def _random_arrangements(labels: np.ndarray, blocks: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    out = np.zeros((m, len(labels)))
    for b in np.unique(blocks):
        units = np.flatnonzero(blocks == b)
        out[:, units] = rng.permuted(np.broadcast_to(labels[units].astype(float), (m, len(units))), axis=1)
    return out


def arrangements(
    labels: np.ndarray, blocks: np.ndarray, m: int, rng: np.random.Generator
) -> tuple[bool, Iterator[np.ndarray]]:
    """Deal out the labels again within blocks: all ways if there are at most m, else m random ones.

    Parameters
    ----------
    labels, blocks
        As for `count_arrangements`.
    m
        Number of permutations.
    rng
        Source of random numbers.

    Returns
    -------
    Whether these are all, and 0/1 matrices with a row a permutation and u columns.
    """
    if count_arrangements(labels, blocks) <= m:
        return True, iter([_all_arrangements(labels, blocks)])
    sizes = [_CHUNK] * (m // _CHUNK) + ([m % _CHUNK] if m % _CHUNK else [])
    return False, (_random_arrangements(labels, blocks, size, rng) for size in sizes)


def curvature(labels: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Return l'Ql of each row of labels, shape (m, u); 0 where they cannot be told apart from the other columns."""
    curve = np.sum((labels @ information) * labels, axis=1)
    return np.where(curve > 1e-10 * np.trace(information), curve, 0.0)


def t_statistics(
    labels: np.ndarray, score: np.ndarray, information: np.ndarray, total: float, df: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return t and coefficient of each row of labels.

    Parameters
    ----------
    labels
        0/1, shape (m, u).
    score
        U'Py, shape (u,).
    information
        U'PU, shape (u, u).
    total
        y'Py.
    df
        Residual degrees of freedom with the labels in the model.

    Returns
    -------
    Two arrays of shape (m,); 0 where the labels cannot be told apart from the other columns.
    """
    slope = labels @ score
    curve = curvature(labels, information)
    coef = np.divide(slope, curve, out=np.zeros_like(slope), where=curve > 0)
    residual = np.maximum(total - slope * coef, 1e-12 * total) / df
    return coef * np.sqrt(curve / residual), coef


def permutation_test(
    labels: np.ndarray,
    blocks: np.ndarray,
    score: np.ndarray,
    information: np.ndarray,
    *,
    total: float,
    df: float,
    permutations: int,
    rng: np.random.Generator,
) -> Null:
    """Test a contrast by permuting its labels within blocks.

    Parameters
    ----------
    labels, blocks
        As for `count_arrangements`.
    score, information, total, df
        As for `t_statistics`.
    permutations
        How many; fewer if there are not that many different ones.
    rng
        Source of random numbers.
    """
    observed, coef = t_statistics(labels[None, :].astype(float), score, information, total, df)
    exact, chunks = arrangements(labels, blocks, permutations, rng)
    permuted = np.concatenate([t_statistics(chunk, score, information, total, df)[0] for chunk in chunks])
    extreme = np.abs(permuted)
    beyond = int((extreme >= abs(observed[0]) - _ROUNDING).sum())
    p_value = beyond / len(permuted) if exact else (1 + beyond) / (1 + len(permuted))
    p_min = float((extreme >= extreme.max() - _ROUNDING).mean()) if exact else 1 / (1 + len(permuted))
    n_distinct = count_arrangements(labels, blocks)
    return Null(float(observed[0]), float(coef[0]), permuted, p_value, p_min, n_distinct, exact, df)
