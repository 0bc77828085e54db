"""From fits to rows: every contrast of every cell type, with its status."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from aida_tools.compare.contrasts import Contrast
from aida_tools.compare.design import Design, build_design, dummy_samples
from aida_tools.compare.fit import Data, Estimate, Fit
from aida_tools.compare.formula import ParsedFormula
from aida_tools.compare.models import Model, mean_share
from aida_tools.compare.omnibus import Hypothesis, hypotheses
from aida_tools.compare.prepare import Denominator
from aida_tools.compare.sites import SiteModel, Standing, side_masks, standing

#: A side of a contrast needs this many samples.
MIN_SAMPLES = 2
#: A log odds ratio with a larger standard error is on its way to infinity.
WIDEST = 10.0


@dataclass(frozen=True, eq=False)
class Question:
    """A contrast placed in its design: everything about it that no count decides.

    Attributes
    ----------
    contrast
        What is asked.
    on_a, on_b
        The samples of either side, each of shape (n,).
    vector
        Weights on the design's independent columns, shape (rank,).
    rows_a, rows_b
        Design rows of every sample as if it were on that side, each of shape (n, rank); None for a number.
    standing
        Status and alias; `too-few` where a side has not enough samples.
    note
        Why there can be no estimate, or what to know of it.
    n_batches
        Batches of both sides.
    """

    contrast: Contrast
    on_a: np.ndarray
    on_b: np.ndarray
    vector: np.ndarray
    rows_a: np.ndarray | None
    rows_b: np.ndarray | None
    standing: Standing
    note: str
    n_batches: int


@dataclass(frozen=True, eq=False)
class Setting:
    """The samples of one denominator with one design, and the contrasts to take from it."""

    denominator: Denominator
    samples: pd.DataFrame
    design: Design
    groups: np.ndarray | None
    questions: list[Question]
    hypotheses: list[Hypothesis]
    by_batch: bool = False

    @cached_property
    def residual_df(self) -> int:
        """Samples less independent columns."""
        return len(self.samples) - self.design.matrix.shape[1]

    @cached_property
    def side_masks(self) -> np.ndarray:
        """Which samples are on the two sides of each question, 0 and 1, shape (q, 2, n)."""
        masks = [(q.on_a, q.on_b) for q in self.questions]
        return np.array(masks, dtype=float).reshape(len(masks), 2, len(self.samples))

    @property
    def answerable(self) -> bool:
        """Whether any contrast can be estimated."""
        statuses = {q.standing.status for q in self.questions}
        return self.residual_df > 0 and bool(statuses & {"within-site", "between-site"})

    def data(self, *, robust: bool) -> Data:
        """Return what the models are given."""
        d = self.denominator
        return Data(d.counts, d.totals, self.design.matrix, self.groups, robust)


def batch_codes(samples: pd.DataFrame) -> np.ndarray | None:
    """Return the batches as codes, shape (n,); a sample without one is a batch of its own; None if none has one."""
    if samples["batch"].isna().all():
        return None
    return pd.factorize(samples["batch"].fillna("sample " + samples["sample_id"]), sort=True)[0]


def _pairing(contrast: Contrast, on_a: np.ndarray, on_b: np.ndarray, sites: SiteModel) -> str:
    """Say if donors stand on both sides although the model takes all samples for different people."""
    both = set(sites.donor[on_a]) & set(sites.donor[on_b])
    if not both or "donor_id" in sites.design.variables:
        return ""
    return f"{len(both)} donors are on both sides of {contrast}: add donor_id to the formula to pair them"


def ask(contrast: Contrast, sites: SiteModel) -> Question:
    """Place a contrast in a design."""
    design = sites.design
    on_a, on_b = side_masks(contrast, sites.samples)
    n_batches = len(set(sites.batch[on_a | on_b]) - {None})
    few = []
    for level, on in ((contrast.a, on_a), (contrast.b, on_b)):
        if contrast.a and on.sum() < MIN_SAMPLES:
            few.append(f"{level} has {on.sum() or 'no'} sample{'' if on.sum() == 1 else 's'} after the filters")
    if few:
        note = f"{' and '.join(few)}; a comparison needs {MIN_SAMPLES} on each side"
        nothing = np.zeros(design.matrix.shape[1])
        return Question(contrast, on_a, on_b, nothing, None, None, Standing("too-few", ""), note, n_batches)
    rows_a, rows_b = design.sides(contrast)
    vector = (rows_a - rows_b).mean(axis=0)
    status = standing(contrast, vector, sites)
    note = status.aliased_with if status.status == "not-estimable" else _pairing(contrast, on_a, on_b, sites)
    at_a, at_b = (design.reduce(rows.T).T if contrast.a else None for rows in (rows_a, rows_b))
    return Question(contrast, on_a, on_b, design.reduce(vector), at_a, at_b, status, note, n_batches)


def make_settings(
    denominator: Denominator,
    samples: pd.DataFrame,
    formula: ParsedFormula,
    contrasts: list[Contrast],
    *,
    by_batch: bool = False,
    tests: bool = False,
) -> list[Setting]:
    """Build the designs that the contrasts of one denominator need: the formula's, and one for each one-vs-rest.

    Parameters
    ----------
    denominator
        Counts of n samples.
    samples
        The n samples; those without a cell of the denominator are left out here.
    formula, contrasts
        The model's right side and what is asked of it.
    by_batch
        Whether to add the batch as a factor.
    tests
        Whether to ask for the tests over all populations as well.
    """
    some = denominator.totals > 0
    samples = samples[some].reset_index(drop=True)
    present = denominator.take(some)
    if by_batch and samples["batch"].notna().any():
        samples = samples.assign(batch=samples["batch"].fillna("sample " + samples["sample_id"]))
        formula = formula.plus("batch")
    settings = []
    for refit in dict.fromkeys(c.refit for c in contrasts):
        frame = samples if refit is None else dummy_samples(samples, *refit)
        design = build_design(formula, frame)
        sites = SiteModel(design, frame)
        questions = [ask(c, sites) for c in contrasts if c.refit == refit]
        tested = hypotheses(sites) if tests and refit is None and "population" in formula.variables else []
        settings.append(Setting(present, frame, design, batch_codes(frame), questions, tested, by_batch))
    return settings


class _Side(NamedTuple):
    """The samples on one side of a contrast and their cells of one type.

    Attributes
    ----------
    level
        Name of the side.
    n, n_seen
        Samples, and those in which the type was measured.
    n_zero, n_full
        Samples without a cell of the type, and those without any other.
    cells
        Cells of the type.
    """

    level: str
    n: int
    n_seen: int
    n_zero: int
    n_full: int
    cells: float


def _sides(setting: Setting, counts: np.ndarray) -> list[tuple[_Side, _Side]]:
    """Count the samples of one type, cells of shape (n,), on either side of every contrast."""
    seen = ~np.isnan(counts)
    cells = np.where(seen, counts, 0.0)
    full = counts == setting.denominator.totals
    facts = np.column_stack([np.ones(len(counts)), seen, seen & (cells == 0), full, cells])

    def side(level: str, sums: np.ndarray) -> _Side:
        n, n_seen, n_zero, n_full = (int(s) for s in sums[:4])
        return _Side(level or "the cohort", n, n_seen, n_zero, n_full, float(sums[4]))

    contrasts = [q.contrast for q in setting.questions]
    sums = setting.side_masks @ facts
    return [(side(c.a, of_a), side(c.b, of_b)) for c, (of_a, of_b) in zip(contrasts, sums, strict=True)]


def _separation(sides: tuple[_Side, _Side]) -> str:
    """Say which side of a contrast has no cell of the type, or no other, so that its odds ratio is not finite."""
    for side in sides:
        if side.n and side.cells == 0:
            return f"separated: none of the {side.n} samples of {side.level} has a cell of this type"
        if side.n and side.n_full == side.n:
            return f"separated: all cells of the {side.n} samples of {side.level} are of this type"
    return ""


def _obstacle(
    setting: Setting, question: Question, model: Model, fit: Fit, sides: tuple[_Side, _Side], *, empty: bool
) -> tuple[str, str]:
    """Return the status and the reason of a row that no fit is looked at for, or two empty strings."""
    if question.standing.status in ("too-few", "not-estimable"):
        return question.standing.status, question.note
    if setting.residual_df < 1:
        n, p = setting.design.matrix.shape
        return "too-few", f"{n} samples for {p} coefficients leave nothing to judge the variation by"
    if empty:
        return "too-few", "no sample has a cell of this type"
    if model.drops_zeros or any(side.n_seen < side.n for side in sides):
        what = "have a cell" if model.drops_zeros else "have a measured share"
        for side in sides:
            left = side.n_seen - side.n_zero * model.drops_zeros
            if side.n and left < MIN_SAMPLES:
                return "too-few", f"only {left} samples of {side.level} {what} of this type"
    if model.separates and (why := _separation(sides)):
        return "not-converged", why
    return ("", "") if fit.converged else (fit.status, fit.message)


def _unusable(setting: Setting, question: Question, model: Model, found: Estimate) -> tuple[str, str]:
    """Return the status and the reason of a contrast whose numbers say nothing, or two empty strings."""
    value, error, df = found
    if not df >= 1:
        return "too-few", "less than one degree of freedom is left (a side rests on one batch, or on hardly more)"
    if not (np.isfinite(value) and np.isfinite(error) and error > 0):
        return "not-converged", "the fit gave no finite standard error"
    contrast = question.contrast
    spread = 1.0 if contrast.a else float(setting.samples[contrast.column].std())
    if model.separates and error * spread > WIDEST:
        why = "separated: some combination of the formula's terms has no cell of this type, or no other"
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


def answer(setting: Setting, name: str, model: Model, fit: Fit, k: int) -> list[dict[str, Any]]:
    """Return a row for each contrast of cell type k under one model, without its cohort and q-value."""
    d = setting.denominator
    counts = d.counts[:, k]
    empty = bool(np.nansum(counts) == 0)
    shares: dict[tuple[str, str], float] = {}

    def share(contrast: Contrast, level: str, rows: np.ndarray) -> float:
        """Return the standardised share of a side, which many contrasts have in common."""
        if (contrast.column, level) not in shares:
            shares[contrast.column, level] = mean_share(model.link, rows @ fit.coef, fit.group_sd)
        return shares[contrast.column, level]

    out = []
    for question, (a, b) in zip(setting.questions, _sides(setting, counts), strict=True):
        contrast = question.contrast
        status, why = _obstacle(setting, question, model, fit, (a, b), empty=empty)
        row: dict[str, Any] = {
            "annotator": d.annotator,
            "cell_type": d.types[k],
            "denominator": d.name,
            "model": name,
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
