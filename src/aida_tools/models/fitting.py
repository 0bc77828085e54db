"""Fitting every model in every setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from aida_tools.core.names import ESTIMATED, weakest_of
from aida_tools.design.contrasts import REST
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.model import Model
from aida_tools.models.omnibus import Hypothesis, wald
from aida_tools.models.registry import MODELS
from aida_tools.models.rows import WIDEST, answer, standings
from aida_tools.models.settings import Setting
from aida_tools.models.standardise import Side, overlap, side, standardised


class Results(NamedTuple):
    """Rows of the estimates, the tests and the standardised shares."""

    estimates: list[dict[str, Any]]
    tests: list[dict[str, Any]]
    standardised: list[dict[str, Any]]


class Answers(NamedTuple):
    """One model in one setting: its data, a fit of each type, and the rows of each type."""

    setting: Setting
    data: Data
    fits: list[Fit]
    rows: list[list[dict[str, Any]]]


def fit_all(settings: list[tuple[Setting, str]], *, robust: bool, primary: str) -> Results:
    """Fit every model in its settings.

    Parameters
    ----------
    settings
        Denominators, designs and questions, each with the model it is for.
    robust
        For the empirical Bayes of propeller.
    primary
        The model that standardised shares are taken from.
    """
    # One after the other: most of the time goes into many small steps, which threads only take from one another.
    known: dict[int, Data] = {}
    out = Results([], [], [])
    for setting, name in tqdm(settings, desc="models", unit="fit", disable=None, leave=False):
        model = MODELS[name]
        asked, again = fit_setting(setting, model, robust=robust, known=known)
        for k in range(len(setting.denominator.types)):
            for rows, answers in ((asked.rows[k], asked), *(((again.rows[k], again),) if again else ())):
                out.estimates.extend(r for r in rows if r.get("superseding", True))
                if name == primary and model.link != "clr":
                    out.standardised.extend(_standardised(answers.setting, model, answers.fits[k], rows))
        out.tests.extend(_tests(setting, model, asked))
    return out


def fit_setting(
    setting: Setting, model: Model, *, robust: bool, known: dict[int, Data] | None = None
) -> tuple[Answers, Answers | None]:
    """Fit one model in one setting, and with a term for the site where a site's effect leaks into a contrast.

    Parameters
    ----------
    setting
        Denominator, design and questions.
    model
        The model.
    robust
        For the empirical Bayes of propeller.
    known
        Data of settings that other models were given: what one has found out of them another need not.

    Returns
    -------
    Everything as asked; and the same with the term, or None. Rows as asked that the term answers better are
    `superseded`; of the rows with the term those that supersede them have a key `superseding` that is true, the others
    one that is false.
    """
    asked = _answers(setting, model, robust=robust, known=known)
    every = [(k, row) for k, rows in enumerate(asked.rows) for row in rows]
    leaky = {(k, row["contrast"]): row for k, row in every if row["status"] == ESTIMATED[-1]}
    if setting.with_site is None or not leaky:
        return asked, None
    again = _answers(setting.with_site, model, robust=robust, known=known)
    for k, rows in enumerate(again.rows):
        for row in rows:
            old = leaky.get((k, row["contrast"]))
            row["superseding"] = old is not None and row["status"] in ESTIMATED[:-1]
            if old is not None and row["superseding"]:
                old["superseded"] = True
    return asked, again


def reported(setting: Setting, model: Model, k: int, *, robust: bool) -> list[dict[str, Any]]:
    """Fit one model; return the rows of type k that are to be spoken of, one a contrast."""
    asked, again = fit_setting(setting, model, robust=robust)
    better = {row["contrast"]: row for row in again.rows[k] if row["superseding"]} if again else {}
    return [better.get(row["contrast"], row) for row in asked.rows[k]]


def _answers(setting: Setting, model: Model, *, robust: bool, known: dict[int, Data] | None) -> Answers:
    key = id(setting)
    data = setting.data(robust=robust) if known is None or key not in known else known[key]
    if known is not None:
        known[key] = data
    if setting.answerable:
        fits = model.fit(data)
    else:
        p, k = setting.design.matrix.shape[1], len(setting.denominator.types)
        fits = [failed(p, "too few samples", "too-few")] * k
    return Answers(setting, data, fits, [answer(setting, model, data, fit, k) for k, fit in enumerate(fits)])


def _standardised(setting: Setting, model: Model, fit: Fit, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Standardise both sides of every estimate of one type; `rows` are those of the setting's questions."""
    known: dict[tuple[str, str, str], Side] = {}
    for question, row in zip(setting.questions, rows, strict=True):
        spoken_of = not row["superseded"] and row.get("superseding", True)
        if "estimate" not in row or not spoken_of or question.rows_a is None or question.rows_b is None:
            continue
        contrast = question.contrast
        keys = [(contrast.column, contrast.a, ""), (contrast.column, contrast.b, contrast.a * (contrast.b == REST))]
        for key, at in zip(keys, (question.rows_a, question.rows_b), strict=True):
            if key not in known:
                known[key] = side(model.link, at, fit)
        sides = known[keys[0]], known[keys[1]]
        names = ("annotator", "denominator", "cell_type", "model", "contrast", "status")
        note = overlap(setting.samples, question, setting.design.variables)
        yield {name: row[name] for name in names} | standardised(*sides, fit.cov, row["df"]) | {"note": note}


def _tests(setting: Setting, model: Model, answers: Answers) -> list[dict[str, Any]]:
    """Return the tests over populations of every type."""
    if not setting.answerable:
        return []
    fits = list(enumerate(answers.fits))
    return [_wald_row(setting, model, answers.data, h, k, fit) for h in setting.hypotheses for k, fit in fits]


def _wald_row(setting: Setting, model: Model, data: Data, h: Hypothesis, k: int, fit: Fit) -> dict[str, Any]:
    d = setting.denominator
    out: dict[str, Any] = {
        "annotator": d.annotator, "denominator": d.name, "cell_type": d.types[k], "model": model.name,
        "test": f"Wald F: {h.name}",
    }  # fmt: skip
    if not fit.converged or not fit.df > 0:
        return out | {"note": setting.nothing(k) or fit.message or "not fitted"}
    variance = np.einsum("qi,ij,qj->q", h.weights, fit.cov, h.weights).max()
    widest = float(np.sqrt(np.maximum(variance, 0.0)))
    if model.separates and widest > WIDEST:
        return out | {"note": f"separated: a population has no {d.unit} of this type, or no other"}
    if not np.isfinite(widest) or not widest > 0:
        return out | {"note": "the fit gave no finite standard error"}
    statistic, df, df_residual, p_value = wald(fit, h.weights)
    if not df_residual >= 1:
        return out | {"note": "less than one degree of freedom is left"}
    status = weakest_of(row.standing.status for row in standings(setting, model, data, fit, k, h.questions))
    note = "between-site: populations plus sites" if status == "between-site" else status
    note = f"{note}; not estimable: {h.skipped}" if h.skipped else note
    return out | {"statistic": statistic, "df": df, "df_residual": df_residual, "p_value": p_value, "note": note}
