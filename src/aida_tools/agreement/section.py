"""How sure the labels are: who gave them, how often they are wrong and where, what depth does to them; in words first.

Nothing is computed here: the sentences and tables are read off those of `aida-tools agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from aida_tools.agreement.figures.scores import ratios
from aida_tools.agreement.tables import AGREEMENT, ANNOTATORS, CALIBRATION, UNRESOLVED
from aida_tools.agreement.tables import THINNED as THINNED_TABLE
from aida_tools.core.names import SOFT, THINNED
from aida_tools.core.schema import Table
from aida_tools.core.words import listed, percent, units
from aida_tools.results.page import Block, Labels, Section, register
from aida_tools.results.results import Results, of_what

_ERRORS = ("sensitivity", "specificity", "precision", "f1")
GATE_ONLY = (
    "The cells were labelled by a marker gate, because no classifier is installed or chosen: `aida-tools classifier "
    "add actinn --out classifiers` and `aida-tools classifier add stcat --out classifiers` bring two published ones "
    "for blood."
)


def annotators(results: Results) -> pd.DataFrame:
    """Return who labelled the cells, the primary annotator first, with None for missing."""
    table = results[ANNOTATORS].astype(object)
    table = table.where(table.notna(), None)
    primary = results.primary["annotator"].removesuffix(SOFT)
    return table.sort_values("annotator", key=lambda names: names != primary, kind="stable")


def gate_only(results: Results) -> bool:
    """Tell whether a marker gate is all that labelled the cells."""
    known = annotators(results)
    return "gate" in set(known["kind"]) and not known["taught"].any()


def gate_alone(results: Results, labels: Labels) -> list[str]:
    """Say that a marker gate is all that labelled the cells, where it is."""
    return [GATE_ONLY] if gate_only(results) else []


def sentences(results: Results, labels: Labels) -> list[str]:
    """Say how sure the labels are; nothing without the tables of `agreement`."""
    said = (_who, _wrong, _unresolved, _expected, _depth)
    return [*gate_alone(results, labels), *(text for say in said for text in say(results))]


def _named(row: Mapping[Any, Any]) -> str:
    """Write an annotator with what it is: `gate (the marker gate)`."""
    return f"{row['annotator']} ({row['words']})" if row["words"] else str(row["annotator"])


def _who(results: Results) -> Iterator[str]:
    said = [_named(row) for row in annotators(results).to_dict("records") if not _thinned(row["annotator"])]
    if said:
        first = f"The cells are counted by the labels of {said[0]}."
        yield f"{first} They are compared with the labels of {listed(said[1:])}." if said[1:] else first


def _thinned(name: Any) -> bool:
    return str(name).endswith(THINNED)


def _rows(results: Results, declared: Table) -> pd.DataFrame:
    """Return the rows of a table in the primary denominator, or in all cells where it does not have that."""
    table, within = results[declared], results.primary["denominator"]
    return table[table["within"] == (within if within in set(table["within"]) else "all")]


def _limits(row: Mapping[Any, Any], factor: float = 100, digits: int = 1) -> str:
    """Write the interval between donors, or nothing where there is none: ` (69.9 to 77.9)`."""
    low, high = row["donor_ci_low"], row["donor_ci_high"]
    return "" if pd.isna(low) else f" ({factor * low:.{digits}f} to {factor * high:.{digits}f})"


def _extremes(table: pd.DataFrame, column: str = "estimate") -> tuple[Mapping[Any, Any], Mapping[Any, Any]] | None:
    """Return the rows of the sites with the lowest and the highest value; None with fewer than two sites."""
    sites = table[table["stratum"] == "site"].sort_values(column, kind="stable").to_dict("records")
    return (sites[0], sites[-1]) if len(sites) > 1 else None


def _wrong(results: Results) -> Iterator[str]:
    focus, of = results.primary["focus"], of_what(results.primary["denominator"])
    table = _rows(results, AGREEMENT).dropna(subset="estimate")
    table = table[table["measure"].isin(_ERRORS)]
    known = annotators(results)
    for row in known[known["annotator"].isin(table["annotator_a"].head(1))].to_dict("records"):
        if not row["reference"]:
            yield f"There are no reference labels; agreement is measured against the labels of {_named(row)}."
    for name, own in table.groupby("annotator_b", sort=False):
        if _thinned(name):
            continue
        together = {r["measure"]: r for r in own[own["stratum"] == "all"].to_dict("records")}
        if "sensitivity" not in together:
            continue
        found = together["sensitivity"]
        text = (
            f"Compared with {found['annotator_a']}, {name} finds {percent(found['estimate'])}{_limits(found)} of the "
            f"{units(focus)} among {of}"
        )
        if "precision" in together:
            right = together["precision"]
            text += (
                f", and {percent(right['estimate'])}{_limits(right)} of the cells that it calls {focus} are {focus} "
                f"by {found['annotator_a']}"
            )
        for measure in ("sensitivity", "specificity"):
            ends = _extremes(own[own["measure"] == measure])
            if ends is not None:
                low, high = ends
                joint = ". Between sites its sensitivity ranges" if measure == "sensitivity" else ", its specificity"
                text += (
                    f"{joint} from {percent(low['estimate'])} ({low['level']}) to "
                    f"{percent(high['estimate'])} ({high['level']})"
                )
        yield f"{text} ([figure:label_errors])."


def _unresolved(results: Results) -> Iterator[str]:
    table = results[UNRESOLVED]
    for name, own in table[table["estimate"] > 0].groupby("annotator_a", sort=False):
        together = own[own["stratum"] == "all"].to_dict("records")
        if _thinned(name) or not together:
            continue
        text = f"Of all cells, {percent(together[0]['estimate'])} have no definite label by {name}"
        if (ends := _extremes(own)) is not None:
            low, high = ends
            text += (
                f", from {percent(low['estimate'])} ({low['level']}) to {percent(high['estimate'])} ({high['level']})"
            )
        yield f"{text}."


def _expected(results: Results) -> Iterator[str]:
    focus = results.primary["focus"]
    for name, own in ratios(results[CALIBRATION]).groupby("annotator_b", sort=False):
        together = own[own["stratum"] == "all"].to_dict("records")
        if _thinned(name) or not together:
            continue
        row = together[0]
        what = "soft counts" if row["measure"] == "soft_to_observed" else "probabilities"
        text = (
            f"The {what} of {name} add up to {row['estimate']:.2f}{_limits(row, 1, 2)} times the {units(focus)} that "
            f"{row['annotator_a']} finds"
        )
        if (ends := _extremes(own)) is not None:
            low, high = ends
            text += (
                f", from {low['estimate']:.2f} times ({low['level']}) to {high['estimate']:.2f} times "
                f"({high['level']}). Soft counts alone could create a {high['estimate'] / low['estimate']:.3g}-fold "
                "difference between these sites"
            )
        yield f"{text} ([figure:label_curves])."


def _depth(results: Results) -> Iterator[str]:
    focus = results.primary["focus"]
    table = _rows(results, THINNED_TABLE).dropna(subset="difference")
    unit = "site" if table.loc[table["stratum"] == "site", "level"].nunique() > 1 else "batch"
    for name, own in table.groupby("annotator", sort=False):
        places = own[own["stratum"].isin(["all", unit])].sort_values("difference", key=lambda change: -change.abs())
        if places.empty:
            continue
        most = places.iloc[0].to_dict()
        share = f"At matched depth the {focus} share of {of_what(most['within'])} by {name}"
        if most["difference"] == 0:
            yield f"{share} does not change."
            continue
        where = "in all cells" if most["stratum"] == "all" else f"at {unit} {most['level']}"
        text = f"{share} changes from {percent(most['rate'])} to {percent(most['rate_thinned'])} {where}"
        if pd.notna(most["donor_ci_low"]):
            text += f" ({_points(most['donor_ci_low'])} to {_points(most['donor_ci_high'])} percentage points)"
        if most["stratum"] == unit and len(places) > 1:
            text += f", the largest change of any {unit}"
        for spread in own[own["stratum"].str.startswith("between ")].to_dict("records"):
            text += (
                f"; the highest and the lowest {unit} differ by {_points(spread['rate'])} percentage points as "
                f"measured, and by {_points(spread['rate_thinned'])} at matched depth"
            )
        yield f"{text} ([figure:depth_matched])."


def _points(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) >= 0.001 else 2}f}"


# -- tables -----------------------------------------------------------------------------------------------------------


def blocks(results: Results, labels: Labels) -> list[Block]:
    """Return the tables on the labels."""
    of = of_what(results.primary["denominator"])
    return [
        Block(
            "annotators",
            "Who labelled the cells",
            "",
            annotators(results).dropna(axis="columns", how="all"),
            is_open=True,
        ),
        Block(
            "label-errors",
            f"Errors by site, among {of}",
            "Intervals are between donors. Cells that the reference leaves unresolved are left out.",
            _errors(results),
        ),
        Block("unresolved", "Cells without a definite label", "Shares of all cells.", _shares(results)),
        Block(
            "label-calibration",
            "Probabilities by site",
            "Expected / observed: the number of focus cells that the probabilities (or the soft counts, if there are "
            "any) add up to, divided by the number that the reference finds. Calibration error: the mean difference "
            "between probability and share.",
            _calibrated(results),
        ),
        Block(
            "depth-matched",
            "Shares at matched depth",
            "The same cells twice: as measured, and with all counts thinned to one depth, that of the shallowest "
            "site or batch. The interval is that of the change, between donors.",
            _matched(results),
        ),
    ]


def _errors(results: Results) -> pd.DataFrame:
    table = _rows(results, AGREEMENT).dropna(subset="estimate")
    measures = {"sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision", "f1": "F1"}
    measures |= {"average_precision": "average precision"}
    table = table[table["measure"].isin(list(measures)) & table["stratum"].isin(["all", "site"])]
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for r in table.to_dict("records"):
        words = measures[r["measure"]]
        row = rows.setdefault((r["annotator_b"], r["annotator_a"], r["level"]), {})
        row |= {f"{words}, %": 100 * r["estimate"], f"{words} low": 100 * r["donor_ci_low"]}
        row |= {f"{words} high": 100 * r["donor_ci_high"]}
    keys = pd.DataFrame(list(rows), columns=["annotator", "reference", "site"])
    return pd.concat([keys, pd.DataFrame(list(rows.values()))], axis=1).dropna(axis="columns", how="all")


def _shares(results: Results) -> pd.DataFrame:
    table = results[UNRESOLVED]
    table = table[table["stratum"].isin(["all", "site"])]
    return pd.DataFrame(
        {
            "annotator": table["annotator_a"],
            "site": table["level"],
            "unresolved, %": 100 * table["estimate"],
            "95 % low": 100 * table["donor_ci_low"],
            "95 % high": 100 * table["donor_ci_high"],
            "cells": table["n_cells"],
        }
    )


def _calibrated(results: Results) -> pd.DataFrame:
    table = results[CALIBRATION]
    keys = ["annotator_b", "annotator_a", "level"]
    error = table.loc[table["measure"] == "calibration_error", [*keys, "estimate"]]
    joined = ratios(table).merge(error, on=keys, how="left", suffixes=("", "_error"))
    return pd.DataFrame(
        {
            "annotator": joined["annotator_b"],
            "reference": joined["annotator_a"],
            "site": joined["level"],
            "expected / observed": joined["estimate"],
            "95 % low": joined["donor_ci_low"],
            "95 % high": joined["donor_ci_high"],
            "calibration error, %": 100 * joined["estimate_error"],
            "cells": joined["n_cells"],
            "note": joined["note"],
        }
    ).dropna(axis="columns", how="all")


def _matched(results: Results) -> pd.DataFrame:
    table = _rows(results, THINNED_TABLE)
    return pd.DataFrame(
        {
            "annotator": table["annotator"],
            "level": table["stratum"].where(table["stratum"] == "all", table["stratum"] + ": " + table["level"]),
            "share, %": 100 * table["rate"],
            "at matched depth, %": 100 * table["rate_thinned"],
            "change, points": 100 * table["difference"],
            "95 % low": 100 * table["donor_ci_low"],
            "95 % high": 100 * table["donor_ci_high"],
            "cells": table["n_cells"],
            "note": table["note"],
        }
    ).dropna(axis="columns", how="all")


# -- for the methods ---------------------------------------------------------------------------------------------------


def methods(results: Results, labels: Labels) -> list[str]:
    """Return the methods' paragraph on the labels; none without the tables of `agreement`."""
    known = annotators(results)
    whole = [row for row in known.to_dict("records") if not _thinned(row["annotator"])]
    if not whole:
        return []
    text = f"Cells were labelled by {listed([_named(row) for row in whole])}."
    text += "".join(f" Labels of {row['annotator']}: {row['description']}" for row in whole if row["description"])
    if gate_only(results):
        text += " No classifier labelled them."
    errors = _rows(results, AGREEMENT)
    errors = errors[(errors["measure"] == "sensitivity") & errors["estimate"].notna()]
    if len(errors):
        text += (
            f" Sensitivity, specificity, precision and F1 take the labels of {errors['annotator_a'].iloc[0]} as the "
            "reference, without the cells it leaves unresolved; their intervals are between donors, by linearisation."
        )
    if len(results[CALIBRATION]):
        text += (
            " Calibration was measured in ten bins of equal width, and by the ratio of expected to observed numbers of "
            f"{units(results.primary['focus'])}."
        )
    if len(matched := results[THINNED_TABLE]):
        names = list(dict.fromkeys(str(name) for name in matched["annotator"]))
        text += (
            " For matched depth the counts were thinned binomially to the depth of the shallowest site or batch, and "
            f"labelled again by {listed(names)}."
        )
    return [text]


def references(results: Results, labels: Labels) -> list[str]:
    """List the classifiers that labelled the cells, as their makers want to be named, with their licences."""
    found = []
    for row in annotators(results).to_dict("records"):
        if row.get("attribution"):
            licence = f". Licences: {row['licence']}" if row.get("licence") else ""
            found.append(f"Classifiers: {row['attribution']}{licence}")
    return list(dict.fromkeys(found))


register(
    Section(
        "labels",
        "How sure are the labels?",
        place=30,
        sentences=sentences,
        limits=gate_alone,
        blocks=blocks,
        methods=methods,
        references=references,
    )
)
