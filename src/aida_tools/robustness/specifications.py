"""The specification curve: every contrast under every defensible choice.

After Simonsohn, Simmons, Nelson 2020, doi 10.1038/s41562-020-0912-z.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import parse_formula
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs
from aida_tools.results.refit import Comparison, empty_row
from aida_tools.results.scale import on_log_odds
from aida_tools.robustness.step import Options
from aida_tools.robustness.tables import SPECIFICATION, SPECIFICATION_SUMMARY

AS_GIVEN, EXCLUDED, INCLUDED, AS_FOCUS = "as given", "left out", "added to the denominator", "counted as the focus type"


class Specification(NamedTuple):
    """One choice of everything, each by its name."""

    denominator: str
    annotator: str
    model: str
    covariates: str
    donors: str
    unresolved: str


class Donors(NamedTuple):
    """Which samples a specification may use: a mask over all samples, and the fewest cells of a sample."""

    mask: np.ndarray
    min_cells: int


@dataclass(frozen=True)
class Levels:
    """What may be chosen beyond what `compare` was given.

    Attributes
    ----------
    unresolved
        Types of cells that were not resolved further.
    covariates
        Columns of the samples to adjust for as well, one at a time.
    strata
        Columns of the samples whose levels are looked at one by one.
    """

    unresolved: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()

    @classmethod
    def asked(cls, options: Options, cohort: Mapping[str, Any]) -> Levels:
        """Return what the options name; where they name nothing, what the cohort file declares."""
        return cls(**{f.name: getattr(options, f.name) or tuple(cohort.get(f.name, ())) for f in fields(cls)})


def formulas(compared: Comparison, extra: Sequence[str]) -> list[str]:
    """Return the formula as given, without covariates, with a spline of age, and with each extra covariate.

    Populations, and the donors, sites and batches they are compared inside, are no covariates: they stay.
    """
    given = compared.formula
    kept = [t for t in given.terms if set(given.columns[t]) & {"population", "donor_id", "site", "batch"}]
    out = [given.text, "~ " + " + ".join(kept)]
    if "age" in given.terms:
        out.append("~ " + " + ".join("ns(age, df=3)" if t == "age" else t for t in given.terms))
    for column in extra:
        values = compared.selection.samples.get(column)
        if values is not None and column not in given.variables and values.nunique() > 1:
            out.append(f"{given.text} + {column}")
    return list(dict.fromkeys(out))


def donor_filters(compared: Comparison, strata: Sequence[str]) -> dict[str, Donors]:
    """Return the filters of donors by name: numbers of cells, ages that all populations have, strata."""
    samples, used = compared.samples, compared.selection.samples
    least = compared.options["min_cells"]
    # Without a threshold of its own the comparison is tried without its smallest tenth.
    levels = [least, least // 2, 2 * least] if least else [0, int(used["n_cells"].quantile(0.1))]
    out = {f"at least {n} cells": Donors(compared.everyone, n) for n in levels}
    ages = used.groupby("population")["age"]
    youngest, oldest = ages.quantile(0.05), ages.quantile(0.95)
    if youngest.notna().all() and len(ages) > 1 and (low := youngest.max()) < (high := oldest.min()):
        out[f"ages {low:.0f} to {high:.0f} (shared)"] = Donors(samples["age"].between(low, high).to_numpy(), least)
    for column in strata:
        if column in used and used[column].nunique() > 1:
            for level in sorted(used[column].dropna().unique()):
                out[f"{column}: {level}"] = Donors((samples[column] == level).to_numpy(), least)
    return out


def _everything(compared: Comparison, annotator: str) -> dict[str, np.ndarray]:
    """Return the counts of every type of an annotator, over all its denominators: type -> (n,)."""
    return {
        t: d.counts[:, k]
        for (who, _), d in compared.denominators.items()
        if who == annotator
        for k, t in enumerate(d.types)
    }


def unresolved_rules(compared: Comparison, key: tuple[str, str], labels: Sequence[str]) -> dict[str, Denominator]:
    """Return the counts of a denominator under each rule for unresolved cells.

    Parameters
    ----------
    compared
        The comparison.
    key
        Annotator and denominator.
    labels
        Names of the unresolved types; those that the annotator does not have are ignored.

    Returns
    -------
    Rule -> counts: as given; left out of the denominator; those outside it added (for a denominator that has
    unresolved cells of its own: T cells beside CD4 T cells); those inside counted as the focus type (a bound, not a
    belief).
    """
    d, focus = compared.denominators[key], compared.options["focus"]
    counts = _everything(compared, key[0])
    inside = [t for t in labels if t in d.types and t != focus]
    outside = [t for t in labels if t in counts and t not in d.types]
    out = {AS_GIVEN: d}
    if not inside:
        return out
    kept = [k for k, t in enumerate(d.types) if t not in inside]
    extra = sum(counts[t] for t in inside)
    without = Denominator(d.annotator, d.name, [d.types[k] for k in kept], d.counts[:, kept], d.totals - extra)
    if len(kept) > 1:
        out[EXCLUDED] = without
    if outside:
        more = [counts[t] for t in outside]
        out[INCLUDED] = Denominator(
            d.annotator, d.name, d.types + outside, np.column_stack([d.counts, *more]), d.totals + sum(more)
        )
    moved = without.counts.copy()
    moved[:, without.types.index(focus)] += extra
    out[AS_FOCUS] = replace(without, counts=moved, totals=d.totals)
    return out


class Grid:
    """All choices, what each stands for, and the designs they share."""

    def __init__(self, compared: Comparison, levels: Levels) -> None:
        self.compared = compared
        options = compared.options
        focus = options["focus"]
        keys = [key for key, d in compared.denominators.items() if focus in d.types]
        self.counts = {key: unresolved_rules(compared, key, levels.unresolved) for key in keys}
        self.models = list(options["models"])
        self.formulas = formulas(compared, levels.covariates)
        self.donors = donor_filters(compared, levels.strata)
        self.primary = Specification(
            options["denominator"], options["annotator"], options["model"], self.formulas[0], next(iter(self.donors)),
            AS_GIVEN,
        )  # fmt: skip

    def all(self) -> list[Specification]:
        """Return every combination; unresolved cells as the focus type only where all else is as reported."""
        made = (
            Specification(name, annotator, model, formula, donors, rule)
            for (annotator, name), rules in self.counts.items()
            for rule in rules
            for model, formula, donors in itertools.product(self.models, self.formulas, self.donors)
        )
        return [s for s in made if s.unresolved != AS_FOCUS or s._replace(unresolved=AS_GIVEN) == self.primary]

    def choose(self, n: int, rng: np.random.Generator) -> tuple[list[Specification], int]:
        """Return the specifications to fit, and how many there are in all.

        All if there are at most n. Otherwise the reported one, all that differ from it in one choice, and random
        others up to n.
        """
        every = self.all()
        if len(every) <= n:
            return every, len(every)
        near: list[Specification] = []
        far: list[Specification] = []
        for s in every:
            differs = sum(a != b for a, b in zip(s, self.primary, strict=True))
            (near if differs <= 1 else far).append(s)
        drawn = rng.choice(len(far), max(n - len(near), 0), replace=False)
        chosen = set(near) | {far[i] for i in drawn}
        return [s for s in every if s in chosen], len(every)


def _answer(grid: Grid, formula: str, donors: str, specs: list[Specification]) -> list[dict[str, Any]]:
    """Answer all specifications of one formula and filter of donors: they share their designs."""
    compared, contrasts = grid.compared, grid.compared.contrasts
    options = compared.options
    chosen = grid.donors[donors]
    parsed = parse_formula(formula, compared.samples.columns)
    selection = compared.select(chosen.mask, parsed, chosen.min_cells)
    designs = None if selection is None else Designs(selection.samples, selection.formula, contrasts)
    out: list[dict[str, Any]] = []
    for spec in specs:
        named = spec._asdict()
        d = grid.counts[spec.annotator, spec.denominator][spec.unresolved]
        here = None if selection is None else compared.chosen(d, selection)
        if designs is None or here is None or not (here.totals > 0).any():
            out += [named | empty_row(c, "no sample is left") for c in contrasts]
            continue
        settings = designs.settings(here, MODELS[spec.model])
        for row in compared.rows(settings, options["focus"], spec.model):
            converted = on_log_odds(row)
            comparable = {
                "log_odds_ratio": converted.get("estimate"),
                "log_odds_ci_low": converted.get("ci_low"),
                "log_odds_ci_high": converted.get("ci_high"),
            }
            out.append(row | named | comparable)
    return out


def _summary(table: pd.DataFrame, contrast: Contrast, n_possible: int) -> dict[str, Any]:
    """Summarise the specifications of one contrast."""
    rows = table[table["contrast"] == str(contrast)]
    some = rows[rows["estimate"].notna()]
    out: dict[str, Any] = {
        "contrast": str(contrast), "n_possible": n_possible, "n_specifications": len(rows), "n_estimated": len(some),
    }  # fmt: skip
    name = contrast.words()
    reported = rows.loc[rows["primary"], "estimate"]
    if some.empty or reported.isna().any():
        what = "no specification has an estimate" if some.empty else "the reported specification has no estimate"
        return out | {"sentence": f"{name}: {what}."}
    sign = np.sign(float(reported.iloc[0]))
    same = np.sign(some["estimate"]) == sign
    excludes = (some["ci_low"] > 0) | (some["ci_high"] < 0)
    ratios = some["log_odds_ratio"].dropna()
    out |= {
        "same_sign": float(same.mean()),
        "excludes_1": float(excludes.mean()),
        "excludes_1_same_sign": float((excludes & same).mean()),
        "minimum": ratios.min(),
        "median": ratios.median(),
        "maximum": ratios.max(),
    }
    low, middle, high = np.exp([out["minimum"], out["median"], out["maximum"]])
    return out | {
        "sentence": (
            f"{name}: {out['n_estimated']} of {out['n_specifications']} specifications have an estimate; "
            f"{100 * out['same_sign']:.0f} % agree in sign with the reported one, "
            f"{100 * out['excludes_1_same_sign']:.0f} % also have an interval without 1; odds ratios {low:.2f} to "
            f"{high:.2f}, median {middle:.2f}."
        )
    }


def specification_tables(
    compared: Comparison, *, levels: Levels | None = None, limit: int = 1000, seed: int = 1, threads: int = 1
) -> dict[str, pd.DataFrame]:
    """Return `specification` and `specification_summary`.

    Parameters
    ----------
    compared
        The comparison.
    levels
        What may be chosen.
    limit
        Fit at most so many specifications (a random choice of them; those next to the reported one always).
    seed
        Seed of that choice.
    threads
        How many designs are worked on at a time; does not affect results.
    """
    grid = Grid(compared, levels or Levels())
    specs, n_possible = grid.choose(limit, np.random.default_rng(seed))
    number = {spec: i for i, spec in enumerate(specs, start=1)}
    shared: dict[tuple[str, str], list[Specification]] = {}
    for spec in specs:
        shared.setdefault((spec.covariates, spec.donors), []).append(spec)
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(_answer, grid, *key, members) for key, members in shared.items()]
        bar = tqdm(jobs, desc="specifications", unit="design", disable=None, leave=False)
        rows = [row for job in bar for row in job.result()]
    for row in rows:
        spec = Specification(*(row[c] for c in Specification._fields))
        row |= {"specification": number[spec], "primary": spec == grid.primary}
    table = SPECIFICATION.frame(rows).sort_values("specification", kind="stable", ignore_index=True)
    summary = SPECIFICATION_SUMMARY.frame([_summary(table, c, n_possible) for c in compared.contrasts])
    return {"specification": table, "specification_summary": summary}
