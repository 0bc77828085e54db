"""From fits to rows: every contrast of every cell type, with its status."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from aida_tools.compare.contrasts import Contrast
from aida_tools.compare.design import Design, build_design, dummy_samples
from aida_tools.compare.fit import Data, Fit
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


def _separation(question: Question, counts: np.ndarray, totals: np.ndarray) -> str:
    """Say which side of a contrast has no cell of the type, or no other, so that its odds ratio is not finite."""
    for level, on in ((question.contrast.a, question.on_a), (question.contrast.b, question.on_b)):
        if on.any() and np.nansum(counts[on]) == 0:
            return f"separated: none of the {on.sum()} samples of {level or 'the cohort'} has a cell of this type"
        if on.any() and (counts[on] == totals[on]).all():
            return f"separated: all cells of the {on.sum()} samples of {level or 'the cohort'} are of this type"
    return ""


def _obstacle(setting: Setting, question: Question, model: Model, fit: Fit, counts: np.ndarray) -> tuple[str, str]:
    """Return the status and the reason of a row without an estimate, or two empty strings."""
    if question.standing.status in ("too-few", "not-estimable"):
        return question.standing.status, question.note
    if setting.residual_df < 1:
        n, p = setting.design.matrix.shape
        return "too-few", f"{n} samples for {p} coefficients leave nothing to judge the variation by"
    if np.nansum(counts) == 0:
        return "too-few", "no sample has a cell of this type"
    if model.drops_zeros or np.isnan(counts).any():
        usable, what = (
            (counts > 0, "have a cell") if model.drops_zeros else (~np.isnan(counts), "have a measured share")
        )
        for level, on in ((question.contrast.a, question.on_a), (question.contrast.b, question.on_b)):
            left = int((on & usable).sum())
            if on.any() and left < MIN_SAMPLES:
                return "too-few", f"only {left} samples of {level or 'the cohort'} {what} of this type"
    if model.separates and (why := _separation(question, counts, setting.denominator.totals)):
        return "not-converged", why
    if not fit.converged:
        return fit.status, fit.message
    return _unusable(setting, question, model, fit)


def _unusable(setting: Setting, question: Question, model: Model, fit: Fit) -> tuple[str, str]:
    """Return the status and the reason of a contrast whose numbers say nothing, or two empty strings."""
    value, error, df = fit.contrast(question.vector)
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


def numbers(fit: Fit, vector: np.ndarray) -> dict[str, float]:
    """Return estimate, standard error, t test and 95 % interval of a contrast."""
    value, error, df = fit.contrast(vector)
    statistic = value / error
    half = float(stats.t.ppf(0.975, df)) * error
    return {
        "estimate": value,
        "std_error": error,
        "statistic": statistic,
        "df": df,
        "p_value": float(2 * stats.t.sf(abs(statistic), df)),
        "ci_low": value - half,
        "ci_high": value + half,
    }


def row(setting: Setting, question: Question, name: str, model: Model, fit: Fit, k: int) -> dict[str, Any]:
    """Return the row of one contrast of cell type k under one model, without its cohort and q-value."""
    d, contrast = setting.denominator, question.contrast
    counts = d.counts[:, k]
    seen = ~np.isnan(counts)
    sides = (question.on_a | question.on_b) & seen
    status, why = _obstacle(setting, question, model, fit, counts)
    out: dict[str, Any] = {
        "annotator": d.annotator,
        "cell_type": d.types[k],
        "denominator": d.name,
        "model": name,
        "contrast": str(contrast),
        "status": status or question.standing.status,
        "aliased_with": question.standing.aliased_with or None,
        "n_samples_a": int((question.on_a & seen).sum()),
        "n_samples_b": int((question.on_b & seen).sum()) if contrast.a else None,
        "n_batches": question.n_batches,
        "n_zero": int((counts[sides] == 0).sum()),
        "note": why or "; ".join(filter(None, (question.note, fit.message))) or None,
        "_column": contrast.column,
        "_kind": contrast.kind,
    }
    if status:
        return out
    out |= numbers(fit, question.vector)
    if question.rows_a is not None and question.rows_b is not None:
        out["share_a"] = mean_share(model.link, question.rows_a @ fit.coef, fit.group_sd)
        out["share_b"] = mean_share(model.link, question.rows_b @ fit.coef, fit.group_sd)
    return out
