r"""Two populations of cells by one protein, and the gates CD4+ CD25hi CD127lo made of them.

A protein is judged on :math:`x = \mathrm{arcsinh}(\mathrm{count} / 5)`, the scale of flow cytometry, on which small
counts are nearly linear. Counts are not scaled by the cell's total: in a small panel the total is those markers
themselves. A mixture of two normal distributions of one variance is fitted to :math:`x`, so that the log odds of the
upper population are linear in it,

.. math::
    \mathrm{logodds}(x) = \log\frac{w}{1-w} + \frac{\mu_1 - \mu_0}{\sigma^2}\left(x - \frac{\mu_0 + \mu_1}{2}\right) .

Where :math:`w` is the share of the upper population, :math:`\mu` are the means and :math:`\sigma^2` is the variance.
Cells surer than nine to one are called, the others are not. Populations count as two if the Bayesian information
criterion says so and their means lie more than 3 standard deviations apart: more than the 2 of Ashman, Bird and Zepf
(1994, Astronomical Journal 108:2348), because the tail of one population of counts can reach 2.7 by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

#: Labels of the gates, in the order of their codes.
LABELS = ("Treg", "CD4_T_other", "CD4_T_unresolved", "CD8_T", "T_other", "T_unresolved", "other", "unresolved")
COFACTOR = 5.0
#: Log odds from which a cell is called.
SURE = float(np.log(9))
SEPARATION = 3.0
#: Fewest cells to look for two populations in, and fewest in either; a smaller share than this are outliers.
FEWEST, FEWEST_OF_EACH, SMALLEST = 100, 10, 0.01
#: More cells than this are represented by so many quantiles.
_MOST = 5000
#: Pairs of quantiles the fit starts from: the populations may be of any share.
_STARTS = ((0.25, 0.75), (0.05, 0.5), (0.5, 0.95), (0.01, 0.5), (0.5, 0.99))
#: Variance of x added to every estimate, the square of the step between counts of 0 and 1: else a heap of zeros would
#: be a population.
FLOOR = 0.04
#: By how much the criterion must prefer two populations ("very strong" after Kass and Raftery 1995).
_BIC = 10.0


@dataclass(frozen=True)
class Populations:
    """How a protein divides cells.

    Attributes
    ----------
    source
        `mixture`, `fixed` (a threshold given by the user), `one` (no two populations) or `few` (too few cells).
    threshold
        Count at which either population is as likely; missing where there are not two.
    mean
        Means of x in the lower and the upper population; missing for `fixed` and `few`.
    sd
        Standard deviation of x in either.
    share
        Share of the upper population, 0 to 1.
    """

    source: str
    threshold: float = np.nan
    mean: tuple[float, float] = (np.nan, np.nan)
    sd: float = np.nan
    share: float = np.nan

    @property
    def are_two(self) -> bool:
        """Whether cells can be told apart."""
        return self.source in ("mixture", "fixed")

    @property
    def separation(self) -> float:
        """Distance of the means in standard deviations."""
        return (self.mean[1] - self.mean[0]) / self.sd

    def score(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log odds of the upper population; for a fixed threshold the distance of x to it; else nan."""
        x = np.arcsinh(counts / COFACTOR)
        if self.source == "fixed":
            return np.asarray(x - np.arcsinh(self.threshold / COFACTOR))
        if self.source != "mixture":
            return np.full(len(counts), np.nan)
        return _log_odds(x, self.mean, self.sd**2, self.share)

    def sign(self, counts: NDArray[np.float64]) -> NDArray[np.int8]:
        """Return 1 for cells surely of the upper population, -1 of the lower, 0 where it is not sure."""
        score = self.score(counts)
        if self.source == "fixed":
            # Whoever gives a threshold wants it kept to.
            return np.where(score >= 0, 1, -1).astype(np.int8)
        return (score >= SURE).astype(np.int8) - (score <= -SURE).astype(np.int8)


def _log_odds(x: NDArray[np.float64], mean: tuple[float, float], variance: float, share: float) -> NDArray[np.float64]:
    slope = (mean[1] - mean[0]) / variance
    return np.asarray(np.log(share / (1 - share)) + slope * (x - (mean[0] + mean[1]) / 2))


def fit_two_normals(
    x: NDArray[np.float64], start: tuple[float, float], max_iter: int = 1000
) -> tuple[tuple[float, float], float, float, float]:
    """Fit a mixture of two normal distributions of one variance by expectation and maximisation.

    Parameters
    ----------
    x
        Array of shape (n,).
    start
        First guess of the means.
    max_iter
        Most iterations.

    Returns
    -------
    Means in ascending order, variance (with `FLOOR` added), share of the upper one, log likelihood.
    """
    from scipy.special import expit

    mean, share, variance = start, 0.5, float(x.var()) + FLOOR
    for _ in range(max_iter):
        upper = expit(_log_odds(x, mean, variance, share))
        share = float(np.clip(upper.mean(), 1e-6, 1 - 1e-6))
        before, mean = mean, (float(((1 - upper) @ x) / (1 - upper).sum()), float((upper @ x) / upper.sum()))
        variance = float((upper @ (x - mean[1]) ** 2 + (1 - upper) @ (x - mean[0]) ** 2) / len(x)) + FLOOR
        if max(abs(mean[0] - before[0]), abs(mean[1] - before[1])) < 1e-6:
            break
    low = np.log1p(-share) - 0.5 * (x - mean[0]) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    likelihood = float((low + np.logaddexp(0, _log_odds(x, mean, variance, share))).sum())
    if mean[0] > mean[1]:
        mean, share = (mean[1], mean[0]), 1 - share
    return mean, variance, share, likelihood


def find_populations(counts: NDArray[np.float64]) -> Populations:
    """Look for two populations in the counts of one protein.

    Parameters
    ----------
    counts
        Array of shape (n_cells,), 0 or more.
    """
    n = len(counts)
    if n < FEWEST:
        return Populations("few")
    x = np.sort(np.arcsinh(counts / COFACTOR))
    x = x if n <= _MOST else x[((np.arange(_MOST) + 0.5) * n / _MOST).astype(int)]
    starts = {(float(a), float(b)) for a, b in (np.quantile(x, pair) for pair in _STARTS) if a < b}
    variance = float(x.var()) + FLOOR
    if not starts:
        return Populations("one", mean=(float(x.mean()),) * 2, sd=variance**0.5)
    one = float((-0.5 * (x - x.mean()) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)).sum())
    mean, variance, share, two = max((fit_two_normals(x, start) for start in sorted(starts)), key=lambda fit: fit[-1])
    found = Populations("mixture", mean=mean, sd=variance**0.5, share=share)
    # Two means, a variance and a share against a mean and a variance.
    preferred = 2 * (two - one) - 2 * np.log(len(x)) > _BIC
    enough = min(share, 1 - share) >= max(FEWEST_OF_EACH / n, SMALLEST)
    if not (found.separation > SEPARATION and preferred and enough):
        return replace(found, source="one")
    middle = sum(mean) / 2 - np.log(share / (1 - share)) * variance / (mean[1] - mean[0])
    return replace(found, threshold=float(COFACTOR * np.sinh(middle)))


def gate_cells(
    counts: Mapping[str, NDArray[np.float64]], thresholds: Mapping[str, float]
) -> tuple[NDArray[np.int8], NDArray[np.float64], dict[str, tuple[str, int, Populations]]]:
    """Gate the cells of one batch: T, CD4 T, and among them CD25hi CD127lo.

    Parameters
    ----------
    counts
        Marker -> counts of each cell, arrays of shape (n_cells,): CD4, CD25, CD127, perhaps CD3 and CD8.
    thresholds
        Marker -> count from which on a cell is positive, where it is not to be found from the cells.

    Returns
    -------
    label
        Index into `LABELS`, array of shape (n_cells,).
    margin
        For CD4 T cells the smaller of the log odds of CD25 high and of CD127 low, else nan, shape (n_cells,).
    found
        Marker -> the cells it was looked at in, their number, and its populations.

    Notes
    -----
    A cell near a boundary is unresolved within what is sure of it. A cell that is surely CD25 low or surely CD127
    high is no Treg, whatever the other says; where either has no two populations, every CD4 T cell of the batch is
    unresolved, for else the Tregs alone would be missing.
    """
    n = len(counts["CD4"])
    code = {name: np.int8(i) for i, name in enumerate(LABELS)}
    found: dict[str, tuple[str, int, Populations]] = {}

    def look(marker: str, among: str, cells: NDArray[np.bool_]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        given = thresholds.get(marker)
        populations = Populations("fixed", given) if given is not None else find_populations(counts[marker][cells])
        found[marker] = among, int(cells.sum()), populations
        return populations.sign(counts[marker]), populations.score(counts[marker])

    every = np.ones(n, dtype=bool)
    is_t = look("CD3", "all", every)[0] if "CD3" in counts else np.ones(n, dtype=np.int8)
    among = "T" if "CD3" in counts else "all"
    cd4 = look("CD4", among, is_t == 1)[0]
    cd8 = look("CD8", among, is_t == 1)[0] if "CD8" in counts else np.full(n, -1, dtype=np.int8)
    is_cd4_t = (is_t == 1) & (cd4 == 1) & (cd8 == -1)
    cd25, score25 = look("CD25", "CD4_T", is_cd4_t)
    cd127, score127 = look("CD127", "CD4_T", is_cd4_t)

    neither = "T_other" if "CD3" in counts else "other"
    label = np.full(n, code[neither])
    label[(cd4 == -1) & (cd8 == 1)] = code["CD8_T" if "CD3" in counts else "other"]
    label[(cd4 == 0) | (cd8 == 0)] = code["T_unresolved" if "CD3" in counts else "unresolved"]
    label[is_cd4_t] = code["CD4_T_unresolved"]
    if found["CD25"][2].are_two and found["CD127"][2].are_two:
        label[is_cd4_t & ((cd25 == -1) | (cd127 == 1))] = code["CD4_T_other"]
        label[is_cd4_t & (cd25 == 1) & (cd127 == -1)] = code["Treg"]
    label[is_t == -1] = code["other"]
    label[is_t == 0] = code["unresolved"]
    return label, np.where(is_cd4_t, np.minimum(score25, -score127), np.nan), found
