"""Tests over all populations at once, before any pair is looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from aida_tools.design.contrasts import CONTROL, Contrast
from aida_tools.design.matrix import Design
from aida_tools.design.questions import Question, ask
from aida_tools.design.sites import Places, names
from aida_tools.models.data import Fit


class Hypothesis(NamedTuple):
    """Several contrasts that are all zero.

    Attributes
    ----------
    name
        What is tested, in words.
    questions
        The contrasts.
    skipped
        Levels whose contrast cannot be estimated.
    """

    name: str
    questions: list[Question]
    skipped: str

    @property
    def weights(self) -> np.ndarray:
        """One row a contrast, on the design's independent columns, shape (q, rank)."""
        return np.array([q.vector for q in self.questions])


def hypotheses(design: Design, places: Places) -> list[Hypothesis]:
    """Return the tests of equal populations: over all of them, and over those that were measured at one site only."""
    population = names(places.samples, "population")
    levels = set(population) - {CONTROL}
    found = [_against_first("population", levels, design, places)]
    if len(places.sites) > 1 and not design.spans(places.of_site):
        for site in places.sites:
            here = levels - set(population[places.site != site])
            found.append(_against_first(f"population within site {site}", here, design, places))
    return [h for h in found if h.questions]


def _against_first(name: str, levels: set[str], design: Design, places: Places) -> Hypothesis:
    """Return the test of the contrasts of each level with the first."""
    ordered = sorted(levels)
    asked = [ask(Contrast("population", level, ordered[0]), design, places) for level in ordered[1:]]
    skipped = ", ".join(q.contrast.a for q in asked if q.status)
    return Hypothesis(name, [q for q in asked if not q.status], skipped)


def wald(fit: Fit, weights: np.ndarray) -> tuple[float, int, float, float]:
    """Wald F test that `weights @ coef` is zero.

    Parameters
    ----------
    fit
        A converged fit.
    weights
        Shape (q, p).

    Returns
    -------
    F, its degrees of freedom (rank of the hypothesis, and the fewest of its contrasts), p-value.
    """
    value, cov = weights @ fit.coef, weights @ fit.cov @ weights.T
    q = int(np.linalg.matrix_rank(weights))
    df = min(fit.contrast(w).df for w in weights)
    statistic = float(value @ np.linalg.pinv(cov) @ value) / q
    p = stats.f.sf(statistic, q, df) if np.isfinite(df) else stats.chi2.sf(q * statistic, q)
    return statistic, q, df, float(p)
