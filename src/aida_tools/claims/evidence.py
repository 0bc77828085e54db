"""The estimates that a claim needs: taken from `estimates.tsv` where they are there, fitted again where not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aida_tools.claims.model import EACH, Interaction, Test
from aida_tools.claims.verdict import Evidence
from aida_tools.design.contrasts import REST, Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.design.questions import batch_codes
from aida_tools.models.data import Data
from aida_tools.models.omnibus import wald
from aida_tools.models.registry import MODELS
from aida_tools.results.refit import Comparison


class Missing(Exception):
    """What a claim needs and the comparison does not have, in words."""


def expand(contrasts: Iterable[str], samples: pd.DataFrame) -> list[Contrast]:
    """Write out `A - each` as one contrast with every other level of its column among the samples.

    Raises
    ------
    Missing
        Naming the column or the level that no sample has.
    """
    out: list[Contrast] = []
    for text in contrasts:
        column = text.partition(": ")[0]
        if column not in samples or samples[column].isna().all():
            raise Missing(f"no sample has a value of '{column}'")
        levels = sorted(samples[column].dropna().astype(str).unique())
        asked = Contrast.parse(text, [*levels, EACH])
        if not asked.a:
            out.append(asked)
            continue
        for level in (asked.a, asked.b):
            if level not in (*levels, EACH, REST):
                raise Missing(f"no sample of {column} {level} is in the comparison")
        others = [level for level in levels if level != asked.a]
        if not others:
            raise Missing(f"every sample is of {column} {asked.a}")
        out += [Contrast(column, asked.a, other) for other in others] if asked.b == EACH else [asked]
    return list(dict.fromkeys(out))


class Numerator(NamedTuple):
    """The cells that a claim is about, as one type of a denominator.

    Attributes
    ----------
    denominator
        Counts of all samples of the comparison.
    name
        The type.
    types
        What was added up to it.
    """

    denominator: Denominator
    name: str
    types: list[str]


def numerator(asked: Comparison, test: Test | Interaction) -> Numerator:
    """Return the cells a claim is about.

    Raises
    ------
    Missing
        Naming the denominator or the types that the comparison does not count.
    """
    annotator = str(asked.options["annotator"])
    counts = asked.denominators.get((annotator, test.denominator))
    if counts is None or not (asked.chosen(counts, asked.selection).totals > 0).any():
        raise Missing(f"the comparison has no denominator '{test.denominator}'")
    if isinstance(test, Test) and test.set is not None:
        inner = asked.denominators.get((annotator, test.set))
        if inner is None:
            raise Missing(f"the comparison has no set '{test.set}'")
        name = " + ".join(inner.types)
        if set(inner.types) <= set(counts.types):
            return Numerator(counts.united(name, inner.types), name, inner.types)
        both = np.column_stack([inner.totals, counts.totals - inner.totals])
        return Numerator(replace(counts, types=[name, "other"], counts=both), name, inner.types)
    absent = [t for t in test.cell_types if t not in counts.types]
    if absent:
        raise Missing(f"the comparison does not count {', '.join(absent)} among '{test.denominator}'")
    optional = test.optional_types if isinstance(test, Test) else []
    types = [*test.cell_types, *(t for t in optional if t in counts.types)]
    name = " + ".join(types)
    return Numerator(counts.united(name, types) if len(types) > 1 else counts, name, types)


def used_samples(asked: Comparison, counts: Denominator) -> pd.DataFrame:
    """Return the samples that entered the models of a denominator."""
    some = asked.chosen(counts, asked.selection).totals > 0
    return asked.selection.samples[some].reset_index(drop=True)


def gather(asked: Comparison, test: Test) -> tuple[list[Evidence], list[str]]:
    """Return the evidence for every contrast of a claim, and the types that were added up.

    Raises
    ------
    Missing
        If the claim's cells or populations are not in the comparison.
    """
    counts, name, types = numerator(asked, test)
    wanted = expand(test.contrasts, used_samples(asked, counts))
    rows, model = asked.results.estimates, asked.odds_model
    same = (rows["annotator"] == counts.annotator) & (rows["denominator"] == counts.name) & (rows["model"] == model)
    found = {
        asked.results.contrast(r["contrast"]): r for r in rows[same & (rows["cell_type"] == name)].to_dict("records")
    }
    out = {c: _evidence(c, found[c], test.per) for c in wanted if c in found}
    out |= {
        c: _evidence(c, found[c.flipped()], test.per, sign=-1)
        for c in wanted
        if c not in out and c.flipped() in found
    }  # fmt: skip
    if rest := [c for c in wanted if c not in out]:
        for contrast in rest:
            if contrast.column not in asked.formula.variables:
                raise Missing(f"'{contrast.column}' is not in the formula '{asked.formula.text}'")
        again = asked.refit(rest, denominator=counts, cell_type=name, model=model)
        out |= {c: _evidence(c, row, test.per) for c, row in zip(rest, again, strict=True)}
    return [out[c] for c in wanted], types


def _evidence(contrast: Contrast, found: Mapping[Any, Any], per: float, sign: int = 1) -> Evidence:
    def number(key: str) -> float:
        return float(value) if (value := found.get(key)) is not None and not pd.isna(value) else np.nan

    def text(key: str) -> str:
        return "" if found.get(key) is None or pd.isna(found[key]) else str(found[key])

    scale, unit = (1.0, "") if contrast.a else (per, f"per {f'{per:g} ' if per != 1 else ''}year{'s' * (per != 1)}")
    if unit and contrast.column != "age":
        unit = f"per {per:g} of {contrast.column}"
    estimate, error = sign * scale * number("estimate"), scale * number("std_error")
    return Evidence(contrast, text("status"), estimate, error, number("df"), text("note"), text("aliased_with"), unit)


def interaction(asked: Comparison, test: Interaction) -> tuple[dict[str, Any], list[str]]:
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
    counts, name, types = numerator(asked, test)
    samples = used_samples(asked, counts)
    if test.column not in samples or not pd.api.types.is_numeric_dtype(samples[test.column]):
        raise Missing(f"'{test.column}' is not a number in the comparison's samples")
    for population in test.populations:
        if not (samples["population"] == population).any():
            raise Missing(f"no sample of population {population} is in the comparison")
    known = samples[test.column].notna() & samples["sex"].ne("unknown")
    samples = samples[samples["population"].isin(test.populations) & known].reset_index(drop=True)
    model = MODELS[asked.odds_model]
    counts = counts.take(pd.Index(asked.samples["sample_id"]).get_indexer(samples["sample_id"]))
    counts = counts.only(name) if model.one_type else counts
    covariates = " + sex" if samples["sex"].nunique() > 1 and test.column != "sex" else ""
    formula = parse_formula(f"~ population * {test.column}{covariates}", samples.columns)
    design = build_design(formula.plus("batch") if model.by_batch else formula, samples)
    data = Data(
        counts.counts, counts.totals, design.matrix, batch_codes(samples), bool(asked.options["robust"]), counts.unit
    )  # fmt: skip
    fit = model.fit(data)[counts.types.index(name)]
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
