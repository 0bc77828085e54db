"""Sentences on a comparison that several parts of the page have in common, read off its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from aida_tools.core.names import SOFT, THINNED
from aida_tools.core.words import counted, labelled, listed
from aida_tools.design.contrasts import POPULATION, REST, Contrast
from aida_tools.results.results import Results


def excludes(row: Mapping[Any, Any]) -> bool:
    """Tell whether the interval of an estimate lies on one side of no difference."""
    return bool(row["ci_low"] > 0 or row["ci_high"] < 0)


def clear(row: Mapping[Any, Any]) -> bool:
    """Tell whether a contrast counts as different in words: by the adjusted p-value, or without one by the interval."""
    return bool(row["q_value"] < 0.05) if pd.notna(row["q_value"]) else excludes(row)


def of_contrast(table: pd.DataFrame, row: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return what a later step's table says of the contrast of an estimate; empty if nothing."""
    found = table[table["contrast"] == row["contrast"]].to_dict("records")
    return found[0] if found else {}


def covariates(results: Results) -> list[str]:
    """Return the columns of the formula beside the population."""
    named = dict.fromkeys(re.findall(r"[^\W\d]\w*", str(results.options.get("formula", ""))))
    known = set(results.samples.columns)
    return [name for name in named if name in known and name != POPULATION]


def annotator_words(name: str) -> str:
    """Write an annotator for readers: `gate at matched depth` is `gate-thinned`."""
    plain, soft = name.removesuffix(SOFT), " (soft counts)" if name.endswith(SOFT) else ""
    return plain.removesuffix(THINNED) + (" at matched depth" if plain.endswith(THINNED) else "") + soft


def _sites(rows: pd.DataFrame) -> str:
    names = sorted(rows["site"].unique())
    return f"site{'s' * (len(names) > 1)} {listed(names)}"


def _batches(rows: pd.DataFrame) -> str:
    n = rows["batch"].nunique()
    return f" ({counted(n, 'batch', 'batches')})" if n else ""


def alias_sentence(results: Results, contrast: Contrast, labels: Mapping[str, str], otherwise: str = "") -> str:
    """Say what a contrast between sites cannot be told apart from.

    Parameters
    ----------
    results
        With the design: who was measured where.
    contrast
        One whose status is between-site.
    labels
        Population code -> name to print.
    otherwise
        What the estimate's row says, for a contrast that is not of populations or has samples without a site.
    """
    design = results.design
    if not contrast.of_populations or design.empty or design["site"].isna().any():
        return f"{labelled(otherwise, labels).rstrip('.')}." if otherwise else ""
    a, b = contrast.sides(labels)
    on_a = design["population"] == contrast.a
    side, others = design[on_a], design[~on_a]
    against = others if contrast.b == REST else design[design["population"] == contrast.b]
    if not set(side["site"]) & set(others["site"]):
        return (
            f"All {a} samples come from {_sites(side)}{_batches(side)} and no other population was measured there, so "
            "this number is population and site together."
        )
    said = f"{a} samples come from {_sites(side)}, the samples of {b} from {_sites(against)}"
    if not set(side["site"]) & set(against["site"]):
        return f"{said}, so this number is population and site together."
    return f"{said}, so this number is partly a difference between sites."


def aliases(results: Results, labels: Mapping[str, str]) -> list[str]:
    """Name the populations that cannot be told apart from their sites, a sentence each; none with one population."""
    design = results.design
    if design["population"].nunique() < 2:
        return []
    found = []
    for population, rows in design.groupby(POPULATION, sort=False):
        name = labels.get(str(population), str(population))
        others = design[design["population"] != population]
        if rows["site"].isna().any():
            found.append(f"The site of {name} samples is not recorded.")
        elif not set(rows["site"]) & set(others["site"]):
            found.append(
                f"All {name} samples come from {_sites(rows)}{_batches(rows)}, where no other population was measured: "
                "population and site cannot be told apart."
            )
    return found
