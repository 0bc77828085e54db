"""How sure the labels are: who gave them, how often they are wrong and where, what depth does to them; in words first.

Nothing is computed here: the sentences and tables are read off those of `aida-tools agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from aida_tools.compare.results import Results, of_what
from aida_tools.figures.label_scores import ratios
from aida_tools.report.tables import Block
from aida_tools.report.words import listed, percent
from aida_tools.tables import SOFT, THINNED

#: Kinds of annotators that know more than the marker gate.
_TAUGHT = {"author", "model", "folds", "blood", "protein"}
_ERRORS = ("sensitivity", "specificity", "precision", "f1")
#: Kind of an annotator -> what it is, in a few words.
KINDS = {
    "author": "the authors' labels",
    "gate": "the marker gate",
    "model": "a trained model",
    "folds": "models, each asked for donors it had not seen",
    "blood": "two published models for blood together",
    "consensus": "what the others agree on",
    "protein": "gates on proteins",
}
GATE_ONLY = (
    "The cells were labelled by a marker gate, because no model is installed or chosen: `aida-tools model add actinn "
    "--out models` and `aida-tools model add stcat --out models` bring two published ones for blood."
)


def annotators(results: Results) -> pd.DataFrame:
    """Return who labelled the cells, the primary annotator first: the table of `agreement`, with None for missing."""
    table = results.extra.get("annotators", pd.DataFrame(columns=["annotator", "kind", "description"]))
    table = table.astype(object).where(table.notna(), None)
    primary = results.primary["annotator"].removesuffix(SOFT)
    return table.sort_values("annotator", key=lambda names: names != primary, kind="stable")


def gate_only(results: Results) -> bool:
    """Tell whether a marker gate is all that labelled the cells."""
    kinds = set(annotators(results)["kind"])
    return "gate" in kinds and not kinds & _TAUGHT


def label_sentences(results: Results) -> list[str]:
    """Say how sure the labels are.

    Returns
    -------
    Sentences of plain text; none without the tables of `agreement`.
    """
    found = [*_who(results), *_wrong(results), *_unresolved(results), *_promised(results), *_depth(results)]
    return [GATE_ONLY, *found] if gate_only(results) else found


def _named(row: Mapping[Any, Any]) -> str:
    """Write an annotator with what it is: `gate (the marker gate)`."""
    words = KINDS.get(str(row["kind"]))
    return f"{row['annotator']} ({words})" if words else str(row["annotator"])


def _who(results: Results) -> Iterator[str]:
    said = [_named(row) for row in annotators(results).to_dict("records") if not _thinned(row["annotator"])]
    if said:
        first = f"What is counted here are the labels of {said[0]}."
        yield f"{first} Beside them stand those of {listed(said[1:])}." if said[1:] else first


def _thinned(name: Any) -> bool:
    return str(name).endswith(THINNED)


def _rows(results: Results, name: str, **keys: str) -> pd.DataFrame:
    """Return the rows of a table of `agreement` with an estimate, in the primary denominator as far as it has that."""
    table = results.extra.get(name)
    if table is None or table.empty:
        return pd.DataFrame(columns=["annotator_a", "annotator_b", "stratum", "level", "measure", "estimate"])
    within = results.primary["denominator"]
    table = table[table["within"] == (within if within in set(table["within"]) else "all")]
    for column, value in keys.items():
        table = table[table[column] == value]
    return table.dropna(subset="estimate")


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
    table = _rows(results, "agreement")
    table = table[table["measure"].isin(_ERRORS)]
    kinds = annotators(results).set_index("annotator")["kind"].to_dict()
    truth = table["annotator_a"].iloc[0] if len(table) else None
    if truth is not None and kinds.get(truth, "author") not in ("author", "protein"):
        yield f"Nobody knows the truth of these cells: the others are held against {truth}, one opinion among them."
    for name, own in table.groupby("annotator_b", sort=False):
        if _thinned(name):
            continue
        together = {r["measure"]: r for r in own[own["stratum"] == "all"].to_dict("records")}
        if "sensitivity" not in together:
            continue
        found = together["sensitivity"]
        text = (
            f"Held against {found['annotator_a']}, {name} finds {percent(found['estimate'])}{_limits(found)} of the "
            f"{focus} cells among {of}"
        )
        if "precision" in together:
            right = together["precision"]
            text += f", and {percent(right['estimate'])}{_limits(right)} of those it calls {focus} are"
        for measure in ("sensitivity", "specificity"):
            ends = _extremes(own[own["measure"] == measure])
            if ends is not None:
                low, high = ends
                joint = ". By site its sensitivity runs" if measure == "sensitivity" else ", its specificity"
                text += (
                    f"{joint} from {percent(low['estimate'])} ({low['level']}) to "
                    f"{percent(high['estimate'])} ({high['level']})"
                )
        yield f"{text}."


def _unresolved(results: Results) -> Iterator[str]:
    table = results.extra.get("unresolved")
    if table is None:
        return
    for name, own in table[table["estimate"] > 0].groupby("annotator_a", sort=False):
        together = own[own["stratum"] == "all"].to_dict("records")
        if _thinned(name) or not together:
            continue
        text = f"Of all cells {name} leaves {percent(together[0]['estimate'])} without a definite label"
        if (ends := _extremes(own)) is not None:
            low, high = ends
            text += (
                f", from {percent(low['estimate'])} ({low['level']}) to {percent(high['estimate'])} ({high['level']})"
            )
        yield f"{text}."


def _promised(results: Results) -> Iterator[str]:
    focus = results.primary["focus"]
    table = results.extra.get("calibration")
    if table is None or table.empty:
        return
    table = ratios(table)
    for name, own in table.groupby("annotator_b", sort=False):
        together = own[own["stratum"] == "all"].to_dict("records")
        if _thinned(name) or not together:
            continue
        row = together[0]
        what = "soft counts" if row["measure"] == "soft_to_observed" else "probabilities"
        text = (
            f"The {what} of {name} add up to {row['estimate']:.2f}{_limits(row, 1, 2)} times the {focus} cells that "
            f"{row['annotator_a']} finds"
        )
        if (ends := _extremes(own)) is not None:
            low, high = ends
            text += (
                f", from {low['estimate']:.2f} ({low['level']}) to {high['estimate']:.2f} ({high['level']}): of equal "
                f"numbers of cells soft counts would make numbers {high['estimate'] / low['estimate']:.2f}-fold apart"
            )
        yield f"{text}."


def _depth(results: Results) -> Iterator[str]:
    focus = results.primary["focus"]
    table = results.extra.get("thinned")
    if table is None or table.empty:
        return
    within = results.primary["denominator"]
    within = within if within in set(table["within"]) else "all"
    table = table[(table["within"] == within) & table["difference"].notna()]
    unit = "site" if table.loc[table["stratum"] == "site", "level"].nunique() > 1 else "batch"
    for name, own in table.groupby("annotator", sort=False):
        places = own[own["stratum"].isin(["all", unit])].sort_values("difference", key=lambda change: -change.abs())
        if places.empty:
            continue
        most = places.iloc[0].to_dict()
        share = f"At matched depth the {focus} share of {of_what(within)} by {name}"
        if most["difference"] == 0:
            yield f"{share} is what it is without."
            continue
        where = "in all cells" if most["stratum"] == "all" else f"at {unit} {most['level']}"
        text = f"{share} changes from {percent(most['rate'])} to {percent(most['rate_thinned'])} {where}"
        if pd.notna(most["donor_ci_low"]):
            text += f" ({_points(most['donor_ci_low'])} to {_points(most['donor_ci_high'])} percentage points)"
        if most["stratum"] == unit and len(places) > 1:
            text += ", more than anywhere else"
        for spread in own[own["stratum"].str.startswith("between ")].to_dict("records"):
            text += (
                f"; the highest and the lowest {unit} are {_points(spread['rate'])} points apart as measured, "
                f"{_points(spread['rate_thinned'])} at matched depth"
            )
        yield f"{text}."


def _points(share: float) -> str:
    return f"{100 * share:.{1 if abs(share) >= 0.001 else 2}f}"


# -- tables -----------------------------------------------------------------------------------------------------------


def label_blocks(results: Results) -> list[Block]:
    """Return the tables on the labels; those without a row are left out."""
    of = of_what(results.primary["denominator"])
    found = [
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
            "Intervals are between donors. Cells that the truth leaves unresolved are left out.",
            _errors(results),
        ),
        Block("unresolved", "Cells without a definite label", "Shares of all cells.", _shares(results)),
        Block(
            "label-calibration",
            "Probabilities by site",
            "Expected / observed: the number of focus cells that the probabilities (or the soft counts, if there are "
            "any) add up to, divided by the number that the truth finds. Calibration error: the mean distance of "
            "probability and share.",
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
    return [block for block in found if len(block.table)]


def _errors(results: Results) -> pd.DataFrame:
    table = _rows(results, "agreement")
    measures = {"sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision", "f1": "F1"}
    measures |= {"average_precision": "average precision"}
    table = table[table["measure"].isin(list(measures)) & table["stratum"].isin(["all", "site"])]
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for r in table.to_dict("records"):
        words = measures[r["measure"]]
        row = rows.setdefault((r["annotator_b"], r["annotator_a"], r["level"]), {})
        row |= {f"{words}, %": 100 * r["estimate"], f"{words} low": 100 * r["donor_ci_low"]}
        row |= {f"{words} high": 100 * r["donor_ci_high"]}
    keys = pd.DataFrame(list(rows), columns=["annotator", "truth", "site"])
    return pd.concat([keys, pd.DataFrame(list(rows.values()))], axis=1).dropna(axis="columns", how="all")


def _shares(results: Results) -> pd.DataFrame:
    table = results.extra.get("unresolved")
    if table is None:
        return pd.DataFrame()
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
    table = results.extra.get("calibration")
    if table is None or table.empty:
        return pd.DataFrame()
    keys = ["annotator_b", "annotator_a", "level"]
    error = table.loc[table["measure"] == "calibration_error", [*keys, "estimate"]]
    joined = ratios(table).merge(error, on=keys, how="left", suffixes=("", "_error"))
    return pd.DataFrame(
        {
            "annotator": joined["annotator_b"],
            "truth": joined["annotator_a"],
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
    table = results.extra.get("thinned")
    if table is None or table.empty:
        return pd.DataFrame()
    within = results.primary["denominator"]
    table = table[table["within"] == (within if within in set(table["within"]) else "all")]
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


def label_methods(results: Results) -> str:
    """Return the methods' paragraph on the labels; empty without the tables of `agreement`."""
    known = annotators(results)
    whole = [row for row in known.to_dict("records") if not _thinned(row["annotator"])]
    if not whole:
        return ""
    text = f"Cells were labelled by {listed([_named(row) for row in whole])}."
    text += "".join(f" Labels of {row['annotator']}: {row['description']}" for row in whole if row["description"])
    if gate_only(results):
        text += " No model labelled them."
    errors = _rows(results, "agreement")
    errors = errors[errors["measure"] == "sensitivity"]
    if len(errors):
        text += (
            f" Sensitivity, specificity, precision and F1 take the labels of {errors['annotator_a'].iloc[0]} for the "
            "truth, without the cells it leaves unresolved; their intervals are between donors, by linearisation."
        )
    if len(results.extra.get("calibration", ())):
        text += (
            " Calibration was judged in ten bins of equal width and by the ratio of expected to observed numbers of "
            f"{results.primary['focus']} cells."
        )
    matched = results.extra.get("thinned")
    if matched is not None and len(matched):
        names = list(dict.fromkeys(str(name) for name in matched["annotator"]))
        text += (
            " For matched depth the counts were thinned binomially to the depth of the shallowest site or batch, and "
            f"labelled again by {listed(names)}."
        )
    return text


def label_references(results: Results) -> list[str]:
    """List the models that labelled the cells, as their makers want to be named, with their licences."""
    found = []
    for row in annotators(results).to_dict("records"):
        if row.get("attribution"):
            licence = f". Licences: {row['licence']}" if row.get("licence") else ""
            found.append(f"Models: {row['attribution']}{licence}")
    return list(dict.fromkeys(found))
