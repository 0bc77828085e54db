r"""How well a score ranks the cells of the focus type before the others: precision and recall at every threshold.

Average precision is :math:`A = \frac{1}{P} \sum_{i: y_i = 1} T_i / N_i`, over the P cells of the focus type, where
:math:`N_i` cells have at least the score of cell i and :math:`T_i` of them are of the focus type. It is linearised in
the weights of the cells, as all else in this room; with :math:`w_j` the weight of cell j,

.. math:: P \frac{\partial A}{\partial w_j} = y_j \left(\frac{T_j}{N_j} - A\right)
    + \sum_{i: y_i = 1, s_i \le s_j} \left(\frac{y_j}{N_i} - \frac{T_i}{N_i^2}\right)

which is summed over the cells of a donor (the infinitesimal jackknife: Jaeckel, Bell Laboratories MM 72-1215-11, 1972;
Efron, Tibshirani, An Introduction to the Bootstrap, 1993, section 21.2). The interval is taken on the logit scale,
which keeps it between 0 and 1 (Boyd, Eng, Page, ECML PKDD, LNCS 8190:451, 2013). It covers in 91 to 95 % of simulated
studies of 40 donors: the errors are right, but average precision is a little too high in small samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from aida_tools.agreement import kernel
from aida_tools.agreement.kernel import Estimates, Floats


@dataclass(frozen=True)
class Curve:
    """Precision and recall where the cells with at least a score are called; arrays of shape (n_thresholds,).

    Attributes
    ----------
    threshold
        Every score that occurs, falling.
    n_called, n_right
        Cells with at least this score, and those of the focus type among them.
    recall, precision
        `n_right` as a share of all cells of the focus type, and of the cells called.
    """

    threshold: Floats
    n_called: NDArray[np.int64]
    n_right: NDArray[np.int64]
    recall: Floats
    precision: Floats

    def steps(self, n: int = 100) -> Curve:
        """Return at most n points of the curve: the first at which each n-th of its greatest recall is reached."""
        if not len(self.recall):
            return self
        # Numbers of cells are whole: no step is missed by rounding.
        wanted = np.ceil(self.n_right[-1] * np.arange(1, n + 1) / n - 1e-9)
        at = np.unique(np.searchsorted(self.n_right, wanted))
        return Curve(self.threshold[at], self.n_called[at], self.n_right[at], self.recall[at], self.precision[at])


def _rank(focus: NDArray[np.bool_], score: Floats) -> tuple[Curve, NDArray[np.intp], NDArray[np.intp]]:
    """Return the curve, the cells with a score in falling order, and for each of them its place on the curve."""
    order = np.flatnonzero(~np.isnan(score))
    order = order[np.argsort(-score[order], kind="stable")]
    ranked = score[order]
    new = np.append(True, ranked[1:] != ranked[:-1])[: len(ranked)]
    last = np.append(np.flatnonzero(new)[1:] - 1, len(ranked) - 1) if len(ranked) else np.zeros(0, dtype=np.intp)
    called, right = last + 1, np.cumsum(focus[order], dtype=np.int64)[last]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = Curve(ranked[last], called, right, right / focus.sum(), right / called)
    return found, order, np.cumsum(new) - 1


def curve(focus: NDArray[np.bool_], score: Floats) -> Curve:
    """Compute precision and recall at every threshold.

    Parameters
    ----------
    focus
        Whether each cell is of the focus type by the truth, array of shape (n_cells,).
    score
        Its score, higher where it is rather of the focus type, array of shape (n_cells,); a cell with NaN is called
        at no threshold, so that the curve may end below a recall of 1.
    """
    return _rank(focus, score)[0]


def average_precision(focus: NDArray[np.bool_], score: Floats, donor: NDArray[np.integer]) -> Estimates:
    """Estimate average precision, the mean precision at the scores of the cells of the focus type.

    Parameters
    ----------
    focus, score
        See `curve`; a cell of the focus type without a score counts with a precision of 0.
    donor
        Donor of each cell as a code from 0, array of shape (n_cells,).

    Returns
    -------
    See `Estimates`; arrays of shape (1,). NaN without a cell of the focus type.
    """
    found, order, place = _rank(focus, score)
    n_focus = int(focus.sum())
    if not n_focus:
        estimate, cells, donors = np.nan, np.zeros(0), np.zeros(0)
    else:
        right_here = np.diff(found.n_right, prepend=0)
        estimate = float((right_here * found.precision).sum() / n_focus)
        # What one more cell of the focus type, and one more cell, above a threshold does to the precision at it and
        # at all lower ones.
        gain = np.cumsum((right_here / found.n_called)[::-1])[::-1]
        loss = np.cumsum((right_here * found.precision / found.n_called)[::-1])[::-1]
        influence = np.where(focus, -estimate, 0.0)
        influence[order] += np.where(focus[order], (found.precision + gain)[place], 0.0) - loss[place]
        influence /= n_focus
        cells, donors = influence**2, np.bincount(donor, weights=influence) ** 2
    n_donors = np.array([len(np.unique(donor))])
    error = np.sqrt(np.array([cells.sum()]))
    between = kernel.between_donors(np.array([donors.sum()]), n_donors, np.ones(1))
    value = np.array([estimate])
    single = ~((value > 0) & (value < 1))
    error[single] = between[single] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        centre, slope = logit(value), value * (1 - value)
        half, donor_half = kernel.Z * error / slope, kernel.t_quantile(n_donors) * between / slope
    low, high, donor_low, donor_high = (expit(centre + move) for move in (-half, half, -donor_half, donor_half))
    return Estimates(np.array([len(focus)]), n_donors, value, error, low, high, between, donor_low, donor_high)
