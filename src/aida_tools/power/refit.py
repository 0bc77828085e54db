"""The comparison's own models, fitted again from what `compare` wrote: for sets of types, and for spreads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from formulaic import Formula

from aida_tools.compare.contrasts import Contrast
from aida_tools.compare.estimate import Setting, make_settings
from aida_tools.compare.formula import ParsedFormula, parse_formula
from aida_tools.compare.models import MODELS
from aida_tools.compare.prepare import Denominator
from aida_tools.compare.results import Results, load_results
from aida_tools.tables import read_samples


def model_name(results: Results) -> str:
    """Return the comparison's first model whose estimates are odds ratios; the package's first if it has none."""
    models = [str(m) for m in results.options.get("models", [])]
    return next((m for m in models if m in MODELS and MODELS[m].link == "logit"), next(iter(MODELS)))


def load(folder: Path) -> Results:
    """Read the folder that `aida-tools compare` wrote, with the covariates of its samples under `extra["samples"]`."""
    results = load_results(folder)
    path = folder / "samples.tsv"
    shares = results.shares
    results.extra["samples"] = read_samples(path) if path.is_file() else shares.drop_duplicates("sample_id")
    return results


def model_formula(results: Results) -> tuple[ParsedFormula, list[str]]:
    """Return the formula of the comparison as far as the samples have its columns, and the columns they lack."""
    text = str(results.options.get("formula", "~ population + age + sex"))
    needed = sorted(Formula(text).required_variables)
    absent = [c for c in needed if c not in results.extra["samples"].columns]
    return parse_formula(text, needed).without(absent), absent


def included(results: Results, annotator: str, denominator: str) -> tuple[pd.DataFrame, Denominator]:
    """Return the samples that entered the models of a denominator and their counts.

    Returns
    -------
    One row a sample, and the counts of every type in them; both empty if there are none.
    """
    shares = results.shares
    rows = shares[(shares["annotator"] == annotator) & (shares["denominator"] == denominator) & shares["included"]]
    totals = rows.drop_duplicates("sample_id").set_index("sample_id")["total"]
    types = list(dict.fromkeys(rows["cell_type"]))
    wide = rows.pivot(index="sample_id", columns="cell_type", values="n").reindex(totals.index)[types]
    samples = results.extra["samples"].set_index("sample_id", drop=False).loc[totals.index].reset_index(drop=True)
    return samples, Denominator(annotator, denominator, types, wide.to_numpy(float), totals.to_numpy(float))


def unite(denominator: Denominator, sets: Mapping[str, Iterable[str]]) -> Denominator:
    """Add up the counts of several types: name of the set -> its types, all in the denominator."""
    columns = [[denominator.types.index(t) for t in types] for types in sets.values()]
    counts = np.column_stack([denominator.counts[:, c].sum(axis=1) for c in columns])
    return Denominator(denominator.annotator, denominator.name, list(sets), counts, denominator.totals)


def settings(
    results: Results, samples: pd.DataFrame, denominator: Denominator, contrasts: list[Contrast], model: str
) -> list[Setting]:
    """Place contrasts in the designs of the comparison: the formula's, and one for each one-vs-rest."""
    formula, _ = model_formula(results)
    return make_settings(denominator, samples, formula, contrasts, by_batch=MODELS[model].by_batch)
