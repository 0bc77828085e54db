"""Sentences on a comparison that several parts of the page have in common, read off its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from aida_tools.core.names import SOFT, THINNED
from aida_tools.core.words import counted, labelled, listed
from aida_tools.design.contrasts import POPULATION, REST, Contrast
from aida_tools.results.results import STRUCTURE, Results


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


#: Column of numbers -> the step in which its effect is told: how many units, and in words. Of others it is one unit.
_STEPS = {"age": (10, "ten years of age")}


def steps(contrast: Contrast) -> int:
    """Return in how many units of its column an effect is told; 1 for a contrast of levels."""
    return 1 if contrast.a else _STEPS.get(contrast.column, (1, ""))[0]


def per_step(row: Mapping[Any, Any], contrast: Contrast) -> dict[Any, Any]:
    """Return an estimate for the step that `effect` names, such as ten years of age."""
    return {**row, **{name: steps(contrast) * row[name] for name in ("estimate", "ci_low", "ci_high")}}


def effect(contrast: Contrast, labels: Mapping[str, str] | None = None, between: str = " against ") -> str:
    """Write what an estimate is of: `Korean against Thai`, `ten years of age`, `smoking: never against current`."""
    if not contrast.a:
        return _STEPS.get(contrast.column, (1, f"one unit of {contrast.column}"))[1]
    sides = contrast.words(labels, between)
    return sides if contrast.column in (POPULATION, "sex") else f"{contrast.column}: {sides}"


def compared(results: Results) -> list[str]:
    """Return the columns whose effects the page is about: the population or, in a cohort of one, the covariates."""
    row = results.headline()
    if row is None or results.contrast(row["contrast"]).of_populations:
        return [POPULATION]
    estimates = results.focus_estimates()
    columns = results.contrasts_of(estimates[estimates["estimate"].notna()])["column"]
    return list(dict.fromkeys(columns[~columns.isin(STRUCTURE)]))


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


def alias_sentence(results: Results, row: Mapping[Any, Any], labels: Mapping[str, str]) -> str:
    """Say what an estimate cannot be told apart from, or what it rests on; empty within sites.

    Parameters
    ----------
    results
        With the design: who was measured where.
    row
        A row of `estimates.tsv`.
    labels
        Population code -> name to print.
    """
    contrast = results.contrast(row["contrast"])
    noted = f"{labelled(row['aliased_with'], labels).rstrip('.')}." if pd.notna(row["aliased_with"]) else ""
    noted = f"{noted[:1].upper()}{noted[1:]}"
    if row["status"] == "within-site":
        return ""
    if not contrast.of_populations:
        return noted
    a, b = contrast.sides(labels)
    if row["status"] == "indirect":
        return (
            f"{a} and {b} were not measured at a common site: this number adds comparisons with populations that were "
            "measured with each of them, and is wrong if the donors of these differ between the sites."
        )
    design = results.design
    on_a = design[POPULATION] == contrast.a
    side, others = design[on_a], design[~on_a]
    against = others if contrast.b == REST else design[design[POPULATION] == contrast.b]
    if row["status"] == "between-batch":
        if pd.concat([side["batch"], against["batch"]]).isna().any():
            return f"The batches of {a} or {b} are not recorded, so this number may be population and batch together."
        return (
            f"No batch holds both {a}{_batches(side)} and {b}{_batches(against)}, so this number is population and "
            "batch together."
        )
    if design.empty or design["site"].isna().any():
        return noted
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
    """Name the populations that share no site, or no batch, with others, a sentence each; none with one population."""
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
        elif not _shared_batch(rows, others):
            found.append(
                f"{name} samples share {_sites(rows)} with other populations, but no batch: population and batch "
                "cannot be told apart."
                if rows["batch"].notna().all()
                else f"The batch of {name} samples is not recorded."
            )
    return found


def _shared_batch(rows: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Tell whether some of these rows of the design are of a batch that others are in too."""
    places = rows[["site", "batch"]].dropna().merge(others[["site", "batch"]].dropna())
    return len(places) > 0
