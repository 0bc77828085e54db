"""Fitting every model in every setting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.model import Model
from aida_tools.models.omnibus import Hypothesis, likelihood_ratio, wald
from aida_tools.models.registry import MODELS
from aida_tools.models.rows import WIDEST, answer
from aida_tools.models.settings import Setting
from aida_tools.models.standardise import Side, side, standardised


class Results(NamedTuple):
    """Rows of the estimates, the tests and the standardised shares."""

    estimates: list[dict[str, Any]]
    tests: list[dict[str, Any]]
    standardised: list[dict[str, Any]]


def fit_all(settings: list[Setting], models: list[str], *, robust: bool, focus: str | None) -> Results:
    """Fit every model in every setting.

    Parameters
    ----------
    settings
        Denominators, designs and questions.
    models
        Names, the primary one first: standardised shares are taken from it.
    robust
        For the empirical Bayes of propeller.
    focus
        The type whose every contrast also gets a likelihood ratio test.
    """
    # One after the other: most of the time goes into many small steps, which threads only take from one another.
    given = [(s, s.data(robust=robust)) for s in settings]
    tasks = [(s, data, name) for name in models for s, data in given if s.by_batch == MODELS[name].by_batch]
    out = Results([], [], [])
    for setting, data, name in tqdm(tasks, desc="models", unit="fit", disable=None, leave=False):
        model, types = MODELS[name], setting.denominator.types
        fits = fit_setting(setting, model, data)
        for k, fit in enumerate(fits):
            rows = answer(setting, model, fit, k)
            out.estimates.extend(rows)
            if name == models[0] and model.link != "clr":
                out.standardised.extend(_standardised(setting, model, fit, rows))
        on_focus = types.index(focus) if focus in types else None
        out.tests.extend(_tests(setting, name, fits, data, on_focus))
    return out


def fit_setting(setting: Setting, model: Model, data: Data) -> list[Fit]:
    """Fit one model to the data of a setting: one fit a type, without numbers where no contrast can be answered."""
    if setting.answerable:
        return model.fit(data)
    p, k = setting.design.matrix.shape[1], len(setting.denominator.types)
    return [failed(p, "too few samples", "too-few")] * k


def _standardised(setting: Setting, model: Model, fit: Fit, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Standardise both sides of every estimate of one type; `rows` are those of the setting's questions."""
    known: dict[tuple[str, str], Side] = {}
    for question, row in zip(setting.questions, rows, strict=True):
        if "estimate" not in row or question.rows_a is None or question.rows_b is None:
            continue
        contrast = question.contrast
        for level, at in ((contrast.a, question.rows_a), (contrast.b, question.rows_b)):
            if (contrast.column, level) not in known:
                known[contrast.column, level] = side(model.link, at, fit)
        sides = known[contrast.column, contrast.a], known[contrast.column, contrast.b]
        names = ("annotator", "denominator", "cell_type", "model", "contrast", "status")
        yield {name: row[name] for name in names} | standardised(*sides, fit.cov, row["df"])


def _tests(setting: Setting, name: str, fits: list[Fit], data: Data, focus: int | None) -> list[dict[str, Any]]:
    """Return the tests over populations of every type, and a likelihood ratio test of each of the focus's contrasts."""
    if not setting.answerable:
        return []
    model, types = MODELS[name], setting.denominator.types
    rows = [_wald_row(setting, name, h, k, fit) for h in setting.hypotheses for k, fit in enumerate(fits)]
    if model.likelihood:
        if model.without_batches(data):
            data = replace(data, groups=None)
        if data.crowded:
            said = [_start_row(setting, name, h, t, "LR") for h in setting.hypotheses for t in types]
            return rows + [r | {"note": data.crowded} for r in said]
        for h in setting.hypotheses:
            ratios = likelihood_ratio(model.fit, data, fits, h.weights)
            rows += [_ratio_row(setting, name, h, types[k], ratio) for k, ratio in enumerate(ratios)]
        if focus is not None:
            rows += _focus_rows(setting, name, fits[focus], data, focus)
    return rows


def _focus_rows(setting: Setting, name: str, fit: Fit, data: Data, focus: int) -> list[dict[str, Any]]:
    alone = data.remember(("alone", focus), lambda: replace(data, counts=data.counts[:, [focus]]))
    rows = []
    for q in setting.questions:
        if q.standing.status in ("within-site", "between-site"):
            h = Hypothesis(str(q.contrast), q.vector[None, :], q.standing.status)
            ratio = likelihood_ratio(MODELS[name].fit, alone, [fit], h.weights)[0]
            rows.append(_ratio_row(setting, name, h, setting.denominator.types[focus], ratio))
    return rows


def _start_row(setting: Setting, name: str, hypothesis: Hypothesis, cell_type: str, test: str) -> dict[str, Any]:
    d = setting.denominator
    return {
        "annotator": d.annotator, "denominator": d.name, "cell_type": cell_type, "model": name,
        "test": f"{test}: {hypothesis.name}", "note": hypothesis.note,
    }  # fmt: skip


def _ratio_row(
    setting: Setting, name: str, hypothesis: Hypothesis, cell_type: str, ratio: tuple[float, int, float]
) -> dict[str, Any]:
    out = _start_row(setting, name, hypothesis, cell_type, "LR")
    if np.isfinite(ratio[0]):
        return out | {"statistic": ratio[0], "df": ratio[1], "p_value": ratio[2]}
    return out | {"note": "a fit did not converge"}


def _wald_row(setting: Setting, name: str, hypothesis: Hypothesis, k: int, fit: Fit) -> dict[str, Any]:
    out = _start_row(setting, name, hypothesis, setting.denominator.types[k], "Wald F")
    if not fit.converged or not fit.df > 0:
        return out | {"note": setting.nothing(k) or fit.message or "not fitted"}
    variance = np.einsum("qi,ij,qj->q", hypothesis.weights, fit.cov, hypothesis.weights).max()
    widest = float(np.sqrt(np.maximum(variance, 0.0)))
    if MODELS[name].separates and widest > WIDEST:
        return out | {"note": f"separated: a population has no {setting.denominator.unit} of this type, or no other"}
    if not np.isfinite(widest) or not widest > 0:
        return out | {"note": "the fit gave no finite standard error"}
    statistic, df, df_residual, p_value = wald(fit, hypothesis.weights)
    if not df_residual >= 1:
        return out | {"note": "less than one degree of freedom is left"}
    return out | {"statistic": statistic, "df": df, "df_residual": df_residual, "p_value": p_value}
