"""From fits to rows: every contrast of every type, with its status."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from aida_tools.core.words import counted
from aida_tools.design.contrasts import Contrast
from aida_tools.design.questions import MIN_SAMPLES, Question
from aida_tools.models.data import Estimate, Fit
from aida_tools.models.links import mean_share
from aida_tools.models.model import Model
from aida_tools.models.settings import Setting

#: A log odds ratio with a larger standard error is on its way to infinity.
WIDEST = 10.0


class _Side(NamedTuple):
    """The samples on one side of a contrast and their counts of one type.

    Attributes
    ----------
    level
        Name of the side.
    n, n_seen
        Samples, and those in which the type was measured.
    n_zero, n_full
        Samples without any of the type, and those with nothing else.
    counted
        Count of the type.
    """

    level: str
    n: int
    n_seen: int
    n_zero: int
    n_full: int
    counted: float


def _sides(setting: Setting, counts: np.ndarray) -> list[tuple[_Side, _Side]]:
    """Describe the samples on either side of every contrast by their counts of one type, shape (n,)."""
    seen = ~np.isnan(counts)
    known = np.where(seen, counts, 0.0)
    full = counts == setting.denominator.totals
    facts = np.column_stack([np.ones(len(counts)), seen, seen & (known == 0), full, known])

    def side(level: str, sums: np.ndarray) -> _Side:
        n, n_seen, n_zero, n_full = (int(s) for s in sums[:4])
        return _Side(level or "the cohort", n, n_seen, n_zero, n_full, float(sums[4]))

    contrasts = [q.contrast for q in setting.questions]
    sums = setting.side_masks @ facts
    return [(side(c.a, of_a), side(c.b, of_b)) for c, (of_a, of_b) in zip(contrasts, sums, strict=True)]


def _separation(sides: tuple[_Side, _Side], unit: str) -> str:
    """Say which side of a contrast has none of the type, or nothing else, so that its odds ratio is not finite."""
    for side in sides:
        if side.n and side.counted == 0:
            return f"separated: none of the {side.n} samples of {side.level} has a {unit} of this type"
        if side.n and side.n_full == side.n:
            return f"separated: all {unit}s of the {side.n} samples of {side.level} are of this type"
    return ""


def _obstacle(
    setting: Setting, question: Question, model: Model, fit: Fit, k: int, sides: tuple[_Side, _Side]
) -> tuple[str, str]:
    """Return the status and the reason of a row that no fit is looked at for, or two empty strings."""
    if question.standing.status in ("too-few", "not-estimable"):
        return question.standing.status, question.note
    if setting.residual_df < 1:
        n, p = setting.design.matrix.shape
        return "too-few", f"{n} samples for {p} coefficients leave no residual degrees of freedom"
    if why := setting.nothing(k):
        return "too-few", why
    unit = setting.denominator.unit
    if model.drops_zeros or any(side.n_seen < side.n for side in sides):
        what = unit if model.drops_zeros else "measured share"
        for side in sides:
            left = side.n_seen - side.n_zero * model.drops_zeros
            if side.n and left < MIN_SAMPLES:
                return "too-few", f"only {counted(left, 'sample')} of {side.level} with a {what} of this type"
    if model.separates and (why := _separation(sides, unit)):
        return "not-converged", why
    return ("", "") if fit.converged else (fit.status, fit.message)


def _unusable(setting: Setting, question: Question, model: Model, found: Estimate) -> tuple[str, str]:
    """Return the status and the reason of a contrast whose numbers say nothing, or two empty strings."""
    value, error, df = found
    if not df >= 1:
        return (
            "too-few",
            "less than one degree of freedom is left (a side comes from about one batch)",
        )
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return "not-converged", "the fit gave no finite standard error"
    contrast = question.contrast
    spread = 1.0 if contrast.a else float(setting.samples[contrast.column].std())
    if model.separates and error * spread > WIDEST:
        unit = setting.denominator.unit
        why = f"separated: some combination of the formula's terms has no {unit} of this type, or no other"
        return "not-converged", why
    return "", ""


def numbers(found: Estimate) -> dict[str, float]:
    """Return estimate, standard error, t test and 95 % interval of a contrast."""
    value, error, df = found
    statistic = value / error
    # The functions behind `scipy.stats.t`, whose checks take longer than a fit when there are thousands of contrasts.
    half = float(special.stdtrit(df, 0.975)) * error
    return {
        "estimate": value,
        "std_error": error,
        "statistic": statistic,
        "df": df,
        "p_value": float(2 * special.stdtr(df, -abs(statistic))),
        "ci_low": value - half,
        "ci_high": value + half,
    }


def answer(setting: Setting, model: Model, fit: Fit, k: int) -> list[dict[str, Any]]:
    """Return a row for each contrast of type k under one model, without its cohort and q-value."""
    d = setting.denominator
    counts = d.counts[:, k]
    shares: dict[tuple[str, str], float] = {}

    def share(contrast: Contrast, level: str, rows: np.ndarray) -> float:
        """Return the standardised share of a side, which many contrasts have in common."""
        if (contrast.column, level) not in shares:
            shares[contrast.column, level] = mean_share(model.link, rows @ fit.coef, fit.group_sd)
        return shares[contrast.column, level]

    out = []
    for question, (a, b) in zip(setting.questions, _sides(setting, counts), strict=True):
        contrast = question.contrast
        status, why = _obstacle(setting, question, model, fit, k, (a, b))
        row: dict[str, Any] = {
            "annotator": d.annotator,
            "cell_type": d.types[k],
            "denominator": d.name,
            "model": model.name,
            "contrast": str(contrast),
            "aliased_with": question.standing.aliased_with or None,
            "n_samples_a": a.n_seen,
            "n_samples_b": b.n_seen if contrast.a else None,
            "n_batches": question.n_batches,
            "n_zero": a.n_zero + b.n_zero,
            "_column": contrast.column,
            "_kind": contrast.kind,
        }
        out.append(row)
        if not status:
            found = fit.contrast(question.vector)
            status, why = _unusable(setting, question, model, found)
        row["status"] = status or question.standing.status
        row["note"] = why or "; ".join(filter(None, (question.note, fit.message))) or None
        if status:
            continue
        row |= numbers(found)
        if question.rows_a is not None and question.rows_b is not None:
            row["share_a"] = share(contrast, contrast.a, question.rows_a)
            row["share_b"] = share(contrast, contrast.b, question.rows_b)
    return out
