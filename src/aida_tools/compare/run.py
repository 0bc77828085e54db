"""The runner of `aida-tools compare`: two tables in, estimates with their statuses out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from aida_tools.compare.denominators import make_denominators
from aida_tools.compare.describe import controls_table, design_table, left_out_line, shares_table
from aida_tools.compare.inputs import Inputs, check_joined, prepare_inputs
from aida_tools.compare.step import Options
from aida_tools.compare.tables import ESTIMATES, STANDARDISED, TESTS
from aida_tools.core.cohort_file import CohortConfig, load_cohort
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.core.files import staged, write_json
from aida_tools.core.names import FOCUS
from aida_tools.core.options import recorded
from aida_tools.core.schema import read_tsv, write_tables
from aida_tools.core.tables import read_denominators
from aida_tools.core.words import counted, listed
from aida_tools.design.contrasts import CONTROL, Contrast, all_pairs, one_vs_rest, parse_contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import ParsedFormula, name_levels, parse_formula
from aida_tools.design.matrix import readable
from aida_tools.design.select import Selection, largest_of_donor, select_samples
from aida_tools.models.adjust import adjust
from aida_tools.models.fitting import fit_all
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs, Setting

#: Columns whose levels are never compared on their own account.
_STRUCTURE = ("population", "donor_id", "site", "batch", "sample_id")


def _models(options: Options, *, has_counts: bool) -> list[str]:
    """Return the models asked for; by default all that suit the table."""
    if not options.models:
        return [name for name, model in MODELS.items() if (model.of_counts if has_counts else model.of_shares)]
    for name in options.models:
        if not has_counts and not MODELS[name].of_shares:
            known = ", ".join(n for n, m in MODELS.items() if m.of_shares)
            raise AidaError(f"--model {name}: it needs numbers of cells, and the table has shares only. Use {known}.")
    return list(dict.fromkeys(options.models))


def _first(option: str, wanted: str | None, known: Iterable[str]) -> str:
    names = list(dict.fromkeys(known))
    if wanted is not None and wanted not in names:
        raise AidaError(f"{option} {wanted}: there is no such name. {did_you_mean(wanted, names)}")
    return wanted or names[0]


def _focus(options: Options, denominators: list[Denominator]) -> str | None:
    types = [t for d in denominators for t in d.types]
    if options.focus is None:
        return FOCUS if FOCUS in types else None
    if options.focus not in types:
        raise AidaError(f"--focus {options.focus}: no such cell_type is counted. {did_you_mean(options.focus, types)}")
    return options.focus


def _contrasts(formula: ParsedFormula, selection: Selection, samples: pd.DataFrame, options: Options) -> list[Contrast]:
    """Return the contrasts asked for; by default all pairs of populations and the covariates of the formula."""
    kept = selection.samples
    out = [parse_contrast(text, formula, samples) for text in options.contrasts]
    populations = sorted(set(kept["population"]) - {CONTROL})
    if not options.contrasts:
        if "population" not in formula.variables:
            raise AidaError(
                f"--formula '{formula.text}' has no 'population' to compare; add it, or name each --contrast."
            )
        out = all_pairs("population", populations)
        for column in selection.formula.variables:
            if column in _STRUCTURE:
                continue
            levels = sorted(kept[column].unique())
            if pd.api.types.is_numeric_dtype(kept[column]):
                out.append(Contrast(column))
            else:
                out += [pair.flipped() for pair in all_pairs(column, levels)]
    if options.one_vs_rest and "population" in formula.variables:
        out += one_vs_rest("population", populations)
    return list(dict.fromkeys(out))


def _settings(
    inputs: Inputs,
    formula: ParsedFormula,
    selection: Selection,
    denominators: list[Denominator],
    models: list[str],
    options: Options,
) -> tuple[list[tuple[Setting, str]], pd.DataFrame]:
    """Return the settings of every denominator and model, and the samples left out with their reasons."""
    contrasts = _contrasts(formula, selection, inputs.samples, options)
    settings, excluded = [], [selection.excluded]
    designs = Designs(selection.samples, selection.formula, contrasts, tests=True)
    places = pd.Index(inputs.samples["sample_id"]).get_indexer(selection.samples["sample_id"])
    described = selection.samples[["sample_id", "donor_id", "population"]]
    for d in denominators:
        here = d.take(places)
        empty = described[here.totals == 0]
        excluded.append(empty.assign(reason=f"no cell of denominator {d.name} (annotator {d.annotator})"))
        if not (here.totals > 0).any():
            continue
        settings += [(s, name) for name in models for s in designs.settings(here, MODELS[name])]
    settings.sort(key=lambda pair: models.index(pair[1]))
    return settings, pd.concat(excluded, ignore_index=True)


def _estimates_table(rows: list[dict[str, Any]], cohort: str, focus: str | None) -> pd.DataFrame:
    """Return the rows as the contract's table, with the q-values of their families."""
    table = pd.DataFrame(rows, columns=[*ESTIMATES.names, "_column", "_kind"]).assign(cohort=cohort)
    table["q_value"] = adjust(table, focus)
    return ESTIMATES.frame(table)


def _aliased(settings: list[tuple[Setting, str]]) -> list[str]:
    """Return the columns that the formula's own design leaves out."""
    usual = (s for s, name in settings if not MODELS[name].by_batch and not MODELS[name].recruited_rest)
    return sorted({column for s in usual for column in s.design.aliased})


def _warnings(
    inputs: Inputs, selection: Selection, settings: list[tuple[Setting, str]], models: list[str]
) -> list[str]:
    """Return in sentences what was decided without being asked."""
    out = list(inputs.warnings)
    out += [f"term '{term}' is left out of the formula: {why}." for term, why in selection.dropped_terms.items()]
    repeated = int((~largest_of_donor(selection.samples, selection.formula)).sum())
    if repeated:
        knowing = listed([name for name in models if MODELS[name].knows_donors])
        out.append(
            f"{counted(repeated, 'sample')} of donors with a larger one: {knowing} knows donors and uses them, the "
            "other models do not."
        )
    aliased = dict.fromkeys(readable(name) for name in _aliased(settings))
    if aliased:
        names = ", ".join(aliased)
        out.append(f"the design is singular: {names} follow from the other terms; what needs them is not-estimable.")
    return out


def _cohort(config: CohortConfig | None, title: str) -> dict[str, Any]:
    """Return what the cohort file says of itself, and what later steps may ask of its samples."""
    if config is None:
        described = {"name": "cohort", "title": title, "synthetic": False, "citation": "", "licence": ""}
        return described | {"covariates": [], "strata": [], "unresolved": []}
    described = {key: getattr(config, key) for key in ("name", "title", "synthetic", "citation", "licence", "strata")}
    return described | {"covariates": list(config.covariates), "unresolved": config.labels.unresolved}


def _totals(samples: pd.DataFrame) -> dict[str, int]:
    return {
        "samples": len(samples),
        "donors": int(samples["donor_id"].nunique()),
        "cells": int(samples["n_cells"].sum()),
    }


def _options_record(options: Options) -> dict[str, Any]:
    return {
        "formula_given": options.formula,
        "seed": options.seed,
        "min_cells": options.min_cells,
        "robust": options.robust,
        "controls": options.controls,
        "exclude_populations": list(options.exclude_populations),
    }


def _samples_record(inputs: Inputs, selection: Selection, excluded: pd.DataFrame) -> dict[str, Any]:
    return {
        "before": _totals(inputs.samples),
        "after": _totals(selection.samples),
        "excluded": {str(reason): int(n) for reason, n in excluded["reason"].value_counts().items()},
    }


def compare_tables(
    counts: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    options: Options | None = None,
    denominators: pd.DataFrame | None = None,
    cohort: CohortConfig | None = None,
    sources: tuple[str, str] = ("counts", "samples"),
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Compare the shares of cell types between populations.

    Parameters
    ----------
    counts, samples
        Tables as in `counts.tsv` and `samples.tsv`; instead of counts, shares as `inputs.check_shares` describes.
    options
        What to compare and how.
    denominators
        Table as in `denominators.tsv`: sets of types. `all` is added unless the options name the wanted ones.
    cohort
        For its name and title, its covariates, strata and unresolved labels.
    sources
        Where counts and samples come from, for messages.

    Returns
    -------
    tables
        `estimates`, `shares`, `samples`, `design`, `controls`, `excluded`, `tests` and `standardised`.
    record
        What was computed and how: the content of `compare.json`.

    Raises
    ------
    AidaError
        For input that cannot be used.
    """
    options = options or Options()
    described = _cohort(cohort, title=Path(sources[0]).stem)
    inputs = prepare_inputs(counts, samples, sources, site=options.site, batch=options.batch)
    formula = parse_formula(options.formula, inputs.samples.columns)
    check_joined(inputs, formula, sources[1])
    inputs = replace(inputs, samples=name_levels(formula, inputs.samples))
    shares_of = make_denominators(inputs, options.denominators, denominators)
    focus = _focus(options, shares_of)
    primary = {
        "annotator": _first("--primary-annotator", options.primary_annotator, inputs.annotators),
        "denominator": _first("--primary-denominator", options.primary_denominator, (d.name for d in shares_of)),
    }
    models = _models(options, has_counts=inputs.has_counts)
    selection = select_samples(
        inputs.samples,
        formula,
        min_cells=options.min_cells,
        exclude_populations=options.exclude_populations,
        controls=options.controls,
    )
    if not any(MODELS[name].knows_donors for name in models):
        selection = selection.one_a_donor()
    # The matrices are small: threads of the linear algebra library would only wait for one another.
    with threadpool_limits(1):
        settings, excluded = _settings(inputs, formula, selection, shares_of, models, options)
        results = fit_all(settings, robust=options.robust, primary=models[0])
    estimates = _estimates_table(results.estimates, described["name"], focus)
    shares = shares_table(shares_of, inputs.samples, set(selection.samples["sample_id"]))
    record = {
        "cohort": described,
        "focus": focus,
        **primary,
        "model": models[0],
        "annotators": inputs.annotators,
        "denominators": {
            d.name: None if d.name == "all" else d.types for d in shares_of if d.annotator == primary["annotator"]
        },
        "models": models,
        "has_counts": inputs.has_counts,
        "formula": selection.formula.text,
        **_options_record(options),
        **_samples_record(inputs, selection, excluded),
        "dropped_terms": selection.dropped_terms,
        "aliased_columns": _aliased(settings),
        "warnings": _warnings(inputs, selection, settings, models),
        "units": {name: MODELS[name].unit for name in models},
        "references": {name: MODELS[name].reference for name in models},
    }
    tables = {
        "estimates": estimates,
        "shares": shares,
        "samples": inputs.samples,
        "design": design_table(selection.samples),
        "controls": controls_table(shares),
        "excluded": excluded,
        "tests": TESTS.frame(results.tests),
        "standardised": STANDARDISED.frame(results.standardised),
    }
    return tables, record


def compare(
    counts_path: Path,
    samples_path: Path,
    out: Path,
    *,
    options: Options | None = None,
    denominators_path: Path | None = None,
    cohort_path: Path | None = None,
) -> pd.DataFrame:
    """Compare the shares of cell types between populations and write the tables of the contract.

    Parameters
    ----------
    counts_path, samples_path
        `counts.tsv` and `samples.tsv`.
    out
        Folder for the tables and the record of `compare_tables`: `estimates.tsv` and the others, `compare.json`.
    options
        What to compare and how.
    denominators_path
        `denominators.tsv`: sets of types. `all` is added unless the options name the wanted ones.
    cohort_path
        A cohort file, for its name and title, its covariates, strata and unresolved labels.

    Returns
    -------
    The estimates.

    Raises
    ------
    AidaError
        For input that cannot be used; nothing is written then.
    """
    options = options or Options()
    tables, record = compare_tables(
        read_tsv(counts_path),
        read_tsv(samples_path),
        options=options,
        denominators=None if denominators_path is None else read_denominators(denominators_path),
        cohort=None if cohort_path is None else load_cohort(cohort_path),
        sources=(str(counts_path), str(samples_path)),
    )
    paths = [p for p in (counts_path, samples_path, denominators_path, cohort_path) if p is not None]
    with staged(out, step="compare", inputs=paths, config=recorded(options), seed=options.seed) as folder:
        write_tables(tables, folder)
        write_json(folder / "compare.json", record)
    for text in filter(None, [*record["warnings"], left_out_line(tables["excluded"], tables["samples"])]):
        print(f"aida-tools: {text}", file=sys.stderr)
    return tables["estimates"]
