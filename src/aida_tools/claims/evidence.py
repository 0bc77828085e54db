"""The estimates that a claim needs: taken from `estimates.tsv` where they are there, fitted again where not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.claims.model import EACH, Interaction, Test
from aida_tools.claims.verdict import Evidence
from aida_tools.compare.contrasts import REST, Contrast, parse_contrast
from aida_tools.compare.design import build_design
from aida_tools.compare.estimate import answer, batch_codes
from aida_tools.compare.fit import Data
from aida_tools.compare.formula import parse_formula
from aida_tools.compare.models import MODELS
from aida_tools.compare.omnibus import wald
from aida_tools.compare.prepare import Denominator
from aida_tools.compare.results import Results
from aida_tools.errors import AidaError
from aida_tools.power.refit import included, model_formula, model_name, settings, unite


class Missing(Exception):
    """What a claim needs and the comparison does not have, in words."""


def flip(contrast: str) -> str:
    """Exchange the sides of a contrast: `population: B - A` for `population: A - B`."""
    column, colon, sides = contrast.partition(": ")
    a, minus, b = sides.partition(" - ")
    return f"{column}{colon}{b}{minus}{a}"


def expand(contrasts: Iterable[str], samples: pd.DataFrame) -> list[str]:
    """Write out `A - each` as one contrast with every other level of its column among the samples.

    Raises
    ------
    Missing
        Naming the column or the level that no sample has.
    """
    out = []
    for text in contrasts:
        column, _, sides = text.partition(": ")
        if column not in samples or samples[column].isna().all():
            raise Missing(f"no sample has a value of '{column}'")
        if not sides:
            out.append(text)
            continue
        a, _, b = sides.partition(" - ")
        levels = sorted(samples[column].dropna().unique())
        for level in (a, b):
            if level not in (*levels, EACH, REST):
                raise Missing(f"no sample of {column} {level} is in the comparison")
        others = [level for level in levels if level != a]
        if not others:
            raise Missing(f"every sample is of {column} {a}")
        out += [f"{column}: {a} - {other}" for other in others] if b == EACH else [text]
    return list(dict.fromkeys(out))


def numerator(results: Results, test: Test | Interaction) -> tuple[pd.DataFrame, Denominator, list[str]]:
    """Return the samples of a claim, the cells it is about as a type of its own, and the types that were added up.

    Raises
    ------
    Missing
        Naming the denominator or the types that the comparison does not count.
    """
    annotator = str(results.options["annotator"])
    samples, counts = included(results, annotator, test.denominator)
    if samples.empty:
        raise Missing(f"the comparison has no denominator '{test.denominator}'")
    if isinstance(test, Test) and test.set is not None:
        part, inner = included(results, annotator, test.set)
        if part.empty:
            raise Missing(f"the comparison has no set '{test.set}'")
        cells = pd.Series(inner.totals, index=part["sample_id"]).reindex(samples["sample_id"], fill_value=0.0)
        column = cells.to_numpy()[:, None]
        return samples, Denominator(annotator, test.denominator, [test.set], column, counts.totals), inner.types
    absent = [t for t in test.cell_types if t not in counts.types]
    if absent:
        raise Missing(f"the comparison does not count {', '.join(absent)} among '{test.denominator}'")
    optional = test.optional_types if isinstance(test, Test) else []
    types = [*test.cell_types, *(t for t in optional if t in counts.types)]
    return samples, unite(counts, {" + ".join(types): types}), types


def gather(results: Results, test: Test) -> tuple[list[Evidence], list[str]]:
    """Return the evidence for every contrast of a claim, and the types that were added up.

    Raises
    ------
    Missing
        If the claim's cells or populations are not in the comparison.
    """
    samples, counts, types = numerator(results, test)
    wanted = expand(test.contrasts, samples)
    name = model_name(results)
    rows = results.estimates
    same = (rows["annotator"] == counts.annotator) & (rows["denominator"] == counts.name) & (rows["model"] == name)
    of_type = rows[same & (rows["cell_type"] == types[0])] if len(types) == 1 and test.set is None else rows[:0]
    found: dict[str, dict[Any, Any]] = {str(r["contrast"]): r for r in of_type.to_dict("records")}
    out = {text: _evidence(text, found[text], test.per) for text in wanted if text in found}
    out |= {
        text: _evidence(text, found[flip(text)], test.per, sign=-1)
        for text in wanted
        if text not in out and flip(text) in found
    }
    rest = [text for text in wanted if text not in out]
    if rest:
        out |= {text: _evidence(text, r, test.per) for text, r in _refit(results, samples, counts, rest, name).items()}
    return [out[text] for text in wanted], types


def _refit(
    results: Results, samples: pd.DataFrame, counts: Denominator, contrasts: list[str], name: str
) -> dict[str, dict[str, Any]]:
    """Fit a sum of types with the comparison's formula and model; return its rows by contrast."""
    formula, _ = model_formula(results)
    try:
        parsed = [parse_contrast(text, formula, samples) for text in contrasts]
    except AidaError as error:
        raise Missing(str(error)) from error
    out: dict[str, dict[str, Any]] = {}
    for setting in settings(results, samples, counts, parsed, name):
        fit = MODELS[name].fit(setting.data(robust=True))[0]
        out |= {r["contrast"]: r for r in answer(setting, name, MODELS[name], fit, 0)}
    return out


def _evidence(contrast: str, found: dict[Any, Any], per: float, sign: int = 1) -> Evidence:
    def number(key: str) -> float:
        return float(value) if (value := found.get(key)) is not None and not pd.isna(value) else np.nan

    def text(key: str) -> str:
        return "" if found.get(key) is None or pd.isna(found[key]) else str(found[key])

    scale = 1.0 if ":" in contrast else per
    unit = "" if ":" in contrast else f"per {f'{per:g} ' if per != 1 else ''}year{'s' * (per != 1)}"
    if unit and contrast != "age":
        unit = f"per {per:g} of {contrast}"
    estimate, error = sign * scale * number("estimate"), scale * number("std_error")
    return Evidence(contrast, text("status"), estimate, error, number("df"), text("note"), text("aliased_with"), unit)


def interaction(results: Results, test: Interaction) -> tuple[dict[str, Any], list[str]]:
    """Test that the effect of a column is the same in several populations.

    Returns
    -------
    `statistic, df, df_residual, p_value` of a Wald F test of all interaction terms, `status` and `slopes` (population
    -> log odds ratio per unit and its standard error); and the types that were added up.

    Raises
    ------
    Missing
        If cells or populations are not in the comparison, or the model cannot be fitted.
    """
    samples, counts, types = numerator(results, test)
    if test.column not in samples or not pd.api.types.is_numeric_dtype(samples[test.column]):
        raise Missing(f"'{test.column}' is not a number in the comparison's samples")
    for population in test.populations:
        if not (samples["population"] == population).any():
            raise Missing(f"no sample of population {population} is in the comparison")
    known = samples[test.column].notna() & samples["sex"].ne("unknown")
    here = (samples["population"].isin(test.populations) & known).to_numpy()
    samples = samples[here].reset_index(drop=True)
    covariates = " + sex" if samples["sex"].nunique() > 1 and test.column != "sex" else ""
    formula = parse_formula(f"~ population * {test.column}{covariates}", samples.columns)
    design = build_design(formula, samples)
    name = model_name(results)
    data = Data(counts.counts[here], counts.totals[here], design.matrix, batch_codes(samples))
    fit = MODELS[name].fit(data)[0]
    if not fit.converged:
        raise Missing(f"the model of {test.column} by population was not fitted: {fit.message}")
    terms = [i for i, column in enumerate(design.names) if ":" in column]
    weights = np.eye(len(design.names))[terms]
    if len(terms) < len(test.populations) - 1:
        raise Missing(f"the samples cannot tell the effect of {test.column} apart between the populations")
    statistic, df, df_residual, p = wald(fit, weights)
    if not np.isfinite(p):
        raise Missing(f"no degrees of freedom are left to compare the effects of {test.column}")
    up, down = design.sides(Contrast(test.column))
    slopes = {}
    for population in test.populations:
        here = (samples["population"] == population).to_numpy()
        slopes[population] = fit.contrast(design.reduce((up - down)[here].mean(axis=0)))
    one_site = samples["site"].notna().all() and samples["site"].nunique() == 1
    status = "within-site" if one_site else "between-site"
    return {
        "statistic": statistic, "df": df, "df_residual": df_residual, "p_value": p, "status": status, "slopes": slopes,
    }, types  # fmt: skip
