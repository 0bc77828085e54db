"""From fits to rows: every contrast of every type, with its status."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from aida_tools.core.words import counted, listed
from aida_tools.design.contrasts import REST, Contrast
from aida_tools.design.questions import MIN_SAMPLES, Question
from aida_tools.design.sites import Leaks, Standing, standing, tolerable
from aida_tools.models.contributions import contributions
from aida_tools.models.data import Data, Estimate, Fit
from aida_tools.models.links import mean_share, per_log_odds
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
    if question.status:
        return question.status, question.note
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
        return "too-few", "less than one degree of freedom is left (a side comes from about one batch)"
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


class Row(NamedTuple):
    """An estimate as its row is made of: what leaks into it, and the status that follows."""

    leaks: Leaks
    standing: Standing
    harmless: float


def standings(setting: Setting, model: Model, data: Data, fit: Fit, k: int, questions: list[Question]) -> list[Row]:
    """Return what leaks into the estimates of type k, and their statuses.

    Parameters
    ----------
    setting, model, data
        What was fitted.
    fit
        A converged fit of type k.
    questions
        Contrasts of the setting that its design can estimate.
    """
    d, contrasts = setting.denominator, [q.contrast for q in questions]
    if not questions:
        return []
    share = float(np.clip(np.nansum(d.counts[:, k]) / np.nansum(d.totals), 1e-9, 1 - 1e-9))
    scale = per_log_odds(model.link, share)
    weights = contributions(data, fit) @ np.array([q.vector for q in questions]).T
    out = []
    for question, leaks in zip(questions, setting.places.leaks(weights, contrasts), strict=True):
        harmless = tolerable(fit.contrast(question.vector).std_error, scale)
        fixable = setting.with_site is not None and str(question.contrast) in setting.fixable
        inside = question.inside
        found = standing(question.contrast, leaks, setting.places, harmless, inside=inside, fixable=fixable)
        out.append(Row(leaks, found, harmless))
    return out


def _batch_variance(setting: Setting, question: Question, fit: Fit) -> str | None:
    """Say whose standard deviation the batches of a contrast were given."""
    if fit.batch_sd is None or fit.pooled is None or setting.groups is None:
        return None
    involved = question.on_a | question.on_b
    pooled = fit.pooled[setting.groups]
    if not pooled[involved].any():
        return "by site"
    if pooled[involved].all():
        return "pooled"
    sites = sorted({str(s) for s in setting.places.site[involved & pooled]})
    return f"by site; pooled at {', '.join(sites)}"


def _remarks(setting: Setting, model: Model, question: Question, fit: Fit, row: Row, df: float) -> list[str]:
    """Say what to know of an estimate, beside what its fit and its status say."""
    out, contrast, places = [], question.contrast, setting.places
    if 1e-3 < row.leaks.largest <= row.harmless:
        out.append(
            f"{row.leaks.largest:.2g} of a site's effect enters it: with plausible sites less than a tenth of the "
            "standard error"
        )
    if row.standing.status == "within-site" and row.leaks.through > 0.1:
        over = listed(row.leaks.others) or "others"
        out.append(f"{row.leaks.through:.0%} of the comparison comes through {over}".replace("%", " %"))
    if question.n_paired and "donor_id" not in setting.design.variables:
        pairs = f"{counted(question.n_paired, 'donor')} on both sides of {contrast.words()}"
        how = "the model has an intercept for each donor" if setting.donors is not None and model.knows_donors else ""
        out.append(f"{pairs}: {how or 'add donor_id to the formula to pair them'}")
    if model.knows_donors and places.bridges and len(places.sites) > 1 and setting.donors is not None:
        out.append(f"{counted(places.bridges, 'donor')} measured at several sites tie the sites together")
    unknown = places.n_alone
    if 0 < unknown < len(places.batch):
        out.append(
            f"the batch of {counted(unknown, 'sample')} is not recorded: those of a site are taken for one batch"
        )
    if model.recruited_rest and contrast.b == REST:
        out.append("the rest is one group in which each donor weighs alike, as in the reference study")
    if df < 6:
        out.append(f"few samples or batches: {df:.1f} degrees of freedom, so the interval is itself uncertain")
    return out


def answer(setting: Setting, model: Model, data: Data, fit: Fit, k: int) -> list[dict[str, Any]]:
    """Return a row for each contrast of type k under one model, without its cohort and q-value."""
    d = setting.denominator
    shares: dict[tuple[str, str], float] = {}

    def share(contrast: Contrast, level: str, rows: np.ndarray) -> float:
        """Return the standardised share of a side, which many contrasts have in common."""
        key = contrast.column, level if level != REST else f"{REST} of {contrast.a}"
        if key not in shares:
            shares[key] = mean_share(model.link, rows @ fit.coef, fit.group_sd)
        return shares[key]

    placed = [q for q in setting.questions if not q.status] if fit.converged else []
    stand = dict(zip(map(id, placed), standings(setting, model, data, fit, k, placed), strict=True))
    out = []
    for question, (a, b) in zip(setting.questions, _sides(setting, d.counts[:, k]), strict=True):
        contrast = question.contrast
        status, why = _obstacle(setting, question, model, fit, k, (a, b))
        row: dict[str, Any] = {
            "annotator": d.annotator,
            "cell_type": d.types[k],
            "denominator": d.name,
            "model": model.name,
            "contrast": str(contrast),
            "formula": setting.formula,
            "superseded": False,
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
        if status:
            row |= {"status": status, "note": why or None}
            continue
        placed_row = stand[id(question)]
        leaks = placed_row.leaks
        remarks = _remarks(setting, model, question, fit, placed_row, found.df)
        row |= {
            "status": placed_row.standing.status,
            "aliased_with": placed_row.standing.aliased_with or None,
            "note": "; ".join(filter(None, (fit.message, *remarks))) or None,
            "site_leak": leaks.largest,
            "site_spread": float(leaks.site @ leaks.site),
            "_site_leaks": dict(zip(setting.places.sites, leaks.site.tolist(), strict=True)),
            "batch_leak": leaks.batch,
            "n_effective": leaks.n_effective,
            "batch_variance": _batch_variance(setting, question, fit),
            **numbers(found),
        }
        if question.rows_a is not None and question.rows_b is not None:
            row["share_a"] = share(contrast, contrast.a, question.rows_a)
            row["share_b"] = share(contrast, contrast.b, question.rows_b)
    return out
