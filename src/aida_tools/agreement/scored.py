"""What scores and probabilities of the focus type are worth: precision-recall curves and calibration, by site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from aida_tools.agreement import calibration, kernel, ranking
from aida_tools.agreement.inputs import ALL, Answers, Cells
from aida_tools.agreement.measures import arrange, state

_STRATA = (ALL, "site")


def curves(
    truth: Answers, b: Answers, cells: Cells, within: str, focus: str, unresolved: Sequence[str]
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Compare an annotator's score of the focus type with the reference.

    A cell that it keeps out of its own narrowest set with the focus type is called at no threshold, whatever its
    score: the score tells the focus type from the rest of that set only.

    Returns
    -------
    Precision-recall curves for `CURVES`, and average precisions for `AGREEMENT`;
    none for an annotator without scores.
    """
    if b.score is None:
        return [], []
    keep = np.flatnonzero(truth.inside(within) & ~truth.unresolved(unresolved) & b.inside(ALL))
    is_focus, called = truth.among({focus})[keep], b.among({focus})[keep]
    score = np.where(b.inside(b.narrowest(focus)), b.score, np.nan)[keep]
    atom = cells.atom[keep]
    keys: dict[str, str | None] = {"annotator_a": truth.name, "annotator_b": b.name, "within": within}
    drawn, measured = [], []
    for s in cells.chosen(*_STRATA):
        of_atom = np.where(s.group >= 0, s.level[s.group], -1)
        level = of_atom[atom]
        found = []
        for k, name in enumerate(s.levels):
            here = level == k
            focus_here, score_here = is_focus[here], score[here]
            found.append(ranking.average_precision(focus_here, score_here, cells.donor[atom[here]]))
            if focus_here.any():
                at = keys | {"stratum": s.name, "level": name}
                drawn.append(_curve(ranking.curve(focus_here, score_here).steps()).assign(**at, point="curve"))
                drawn.append(_own_point(focus_here, called[here]).assign(**at, point="labels"))
        together = kernel.Estimates(*(np.concatenate([getattr(f, c.name) for f in found]) for c in fields(found[0])))
        measured.append(arrange(s, keys | {"measure": "average_precision"}, together, f"no {focus} by {truth.name}"))
    return drawn, measured


def _curve(found: ranking.Curve) -> pd.DataFrame:
    columns = ("threshold", "recall", "precision", "n_called")
    return pd.DataFrame({column: getattr(found, column) for column in columns})


def _own_point(is_focus: np.ndarray, called: np.ndarray) -> pd.DataFrame:
    """Return where the labels themselves stand, which need not be on the curve."""
    both, n = int((is_focus & called).sum()), int(called.sum())
    point: dict[str, Any] = {"threshold": np.nan, "recall": both / is_focus.sum()}
    return pd.DataFrame([point | {"precision": both / n if n else np.nan, "n_called": n}])


def calibrations(
    truth: Answers, b: Answers, cells: Cells, focus: str, unresolved: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """Hold an annotator's probability of the focus type against the truth, in the truth's narrowest set that holds it.

    Returns
    -------
    Rows of `CALIBRATION`; none for an annotator without probabilities.
    """
    if b.score is None or not b.probable:
        return
    within = truth.narrowest(focus)
    keep = truth.inside(within) & ~truth.unresolved(unresolved) & ~np.isnan(b.score)
    probability = expit(np.where(keep, b.score, 0.0))
    sums = calibration.tabulate(truth.among({focus}), probability, cells.atom, len(cells.donor), keep)
    keys: dict[str, str | None] = {"annotator_a": truth.name, "annotator_b": b.name, "within": within}
    nothing = f"no cell that {truth.name} puts in '{within}' has a score"
    for s in cells.chosen(*_STRATA):
        tables, n = s.gather(sums), len(s.levels)
        shares, predicted = calibration.reliability(tables, s.level, n)
        bins = pd.DataFrame({c.name: getattr(shares, c.name) for c in fields(shares)}).assign(
            **keys,
            measure="observed_share",
            stratum=s.name,
            level=np.repeat(s.levels, calibration.N_BINS),
            bin=np.tile(np.arange(1, calibration.N_BINS + 1), n),
            predicted=predicted,
        )
        yield state(bins[bins["n_cells"] > 0], nothing)
        ratio = calibration.expected_to_observed(tables, s.level, n)
        yield arrange(s, keys | {"measure": "expected_to_observed"}, ratio, f"no {focus} by {truth.name}")
        error = calibration.calibration_error(tables, s.level, n)
        yield arrange(s, keys | {"measure": "calibration_error"}, error, nothing)


def soft_counts(truth: Answers, b: Answers, cells: Cells, focus: str) -> Iterator[pd.DataFrame]:
    """Hold an annotator's expected numbers of the focus type against the numbers that the truth finds in all cells.

    Returns
    -------
    Rows of `CALIBRATION`; none for an annotator without expected counts.
    """
    if b.expected is None:
        return
    n_atoms = len(cells.donor)
    sums = np.zeros((n_atoms, 1, 5))
    sums[:, 0, 0] = np.bincount(cells.atom, minlength=n_atoms)
    sums[:, 0, 1] = np.bincount(cells.atom[truth.among({focus})], minlength=n_atoms)
    np.add.at(sums[:, 0, 2], cells.sample.loc[b.expected.index].to_numpy(), b.expected.to_numpy(float))
    keys: dict[str, str | None] = {"annotator_a": truth.name, "annotator_b": b.name, "within": ALL}
    for s in cells.chosen(*_STRATA):
        ratio = calibration.expected_to_observed(s.gather(sums), s.level, len(s.levels))
        # Sums know nothing of single cells.
        none = np.full(len(s.levels), np.nan)
        ratio = replace(ratio, std_error=none, ci_low=none, ci_high=none)
        yield arrange(s, keys | {"measure": "soft_to_observed"}, ratio, f"no {focus} by {truth.name}")
