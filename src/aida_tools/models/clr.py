"""Linear models of centred log-ratios with precision weights: crumblr.

Hoffman and Roussos (2025, crumblr 0.99): the delta-method variance of a log-ratio under multinomial counts gives each
sample its weight, capped because real donors differ by more than their cells do. Agrees with limma run on crumblr's
recipe and with crumblr's published numbers for the Kang cohort (tests/oracles/clr.R).
"""

from __future__ import annotations

import numpy as np

from aida_tools.models.data import Data, Fit, no_counts
from aida_tools.models.linear import least_squares
from aida_tools.models.model import LOG_ODDS, Model
from aida_tools.models.propeller import moderated

#: Cells added to every count; weights are at most this many times their 5 % quantile.
_PSEUDO, _MAX_RATIO, _QUANTILE = 0.5, 5.0, 0.05


def log_ratios(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centred log-ratios and their precisions up to a factor.

    Parameters
    ----------
    counts
        Shape (n, k), k of at least 2.

    Returns
    -------
    clr
        Log counts less their mean in each sample, half a cell added, shape (n, k).
    weights
        Inverse of the variance ``(1/p - 2/(p k) + sum(1/p)/k^2) / N``, capped in each type, shape (n, k).
    """
    counts = counts + _PSEUDO
    k = counts.shape[1]
    logs = np.log(counts)
    inverse = 1 / counts
    weights = 1 / (inverse * (1 - 2 / k) + inverse.sum(axis=1, keepdims=True) / k**2)
    weights = np.minimum(weights / np.quantile(weights, _QUANTILE, axis=0), _MAX_RATIO)
    return logs - logs.mean(axis=1, keepdims=True), weights


def _moderated_fits(data: Data, response: np.ndarray, weights: np.ndarray) -> list[Fit]:
    p, present = data.design.shape[1], data.counts.sum(axis=0) > 0
    fits = [
        least_squares(y, data.design, w) if some else no_counts(p)
        for y, w, some in zip(response.T, weights.T, present, strict=True)
    ]
    return moderated(fits, robust=False)


def fit_clr(data: Data) -> list[Fit]:
    """Fit each type's log-ratio to the geometric mean of all types of the denominator."""
    return _moderated_fits(data, *log_ratios(data.counts))


def fit_two_class(data: Data) -> list[Fit]:
    """Fit each type's log-ratio to all other cells: twice the two-class log-ratio, which is the logit."""
    pairs = [log_ratios(np.column_stack([y, data.totals - y])) for y in data.counts.T]
    response = np.column_stack([2 * ratio[:, 0] for ratio, _ in pairs])
    return _moderated_fits(data, response, np.column_stack([weight[:, 0] for _, weight in pairs]))


CLR = Model(
    name="clr",
    fit=fit_clr,
    link="clr",
    unit="difference of centred log-ratios: log of the type over the geometric mean of all types",
    words="precision-weighted linear models of centred log-ratios",
    reference="Hoffman and Roussos 2025 (crumblr), method clr",
    marker=("X", "#117733"),
    one_type=False,
)
TWO_CLASS = Model(
    name="clr-2class",
    fit=fit_two_class,
    link="logit",
    unit=f"{LOG_ODDS}, of counts with half a cell added",
    words="precision-weighted linear models of two-class log-ratios",
    reference="Hoffman and Roussos 2025 (crumblr), method clr_2class, times 2",
    marker=("P", "#8C6D31"),
    one_type=False,
)
