"""The tables of the report: which rows and columns, under which headings."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from aida_tools.compare.results import Results
from aida_tools.figures.contrasts import to_ratio
from aida_tools.figures.summary import cell_intervals
from aida_tools.tables import EMPTY_STATUSES


@dataclass(frozen=True)
class Block:
    """One table of the page.

    Attributes
    ----------
    key
        Id of the table in the page.
    title
        Its heading.
    note
        A sentence above it.
    table
        The rows; column names are printed as they are.
    is_open
        Whether it is shown without being unfolded.
    """

    key: str
    title: str
    note: str
    table: pd.DataFrame
    is_open: bool = False


def _contrast(text: str, labels: dict[str, str]) -> str:
    term, _, sides = text.partition(": ")
    left, separator, right = sides.partition(" - ")
    if not separator:
        return text
    named = [labels.get(side, side) if term == "population" else side for side in (left, right)]
    return f"{named[0]} – {'all others' if right == 'rest' else named[1]}"


def _readable(estimates: pd.DataFrame, labels: dict[str, str], keys: list[str]) -> pd.DataFrame:
    """Turn rows of `estimates.tsv` into what a reader compares: ratios, shares in per cent, words."""
    said = [to_ratio(r) or (None, None, None, None) for r in estimates.to_dict("records")]
    ratio = pd.DataFrame(said, columns=["quantity", "ratio", "low", "high"], index=estimates.index)
    table = pd.DataFrame({"contrast": [_contrast(c, labels) for c in estimates["contrast"]]}, index=estimates.index)
    for key in keys:
        table[key.replace("_", " ")] = estimates[key]
    table["status"] = estimates["status"]
    table["ratio"], table["95 % low"], table["95 % high"] = ratio["ratio"], ratio["low"], ratio["high"]
    table["p"], table["adjusted p"] = estimates["p_value"], estimates["q_value"]
    table["share, %"], table["against, %"] = 100 * estimates["share_a"], 100 * estimates["share_b"]
    table["samples"], table["against "] = estimates["n_samples_a"], estimates["n_samples_b"]
    table["without a cell"] = estimates["n_zero"]
    table["aliased with"], table["note"] = estimates["aliased_with"], estimates["note"]
    return table.dropna(axis="columns", how="all").reset_index(drop=True)


def _not_estimable(results: Results, labels: dict[str, str]) -> pd.DataFrame:
    """Say what has no estimate and why, one row a model, denominator and reason."""
    empty = results.estimates[results.estimates["status"].isin(EMPTY_STATUSES)]
    rows = []
    keys = ["annotator", "denominator", "model", "status", "note"]
    for values, group in empty.groupby(keys, sort=False, dropna=False):
        types = list(dict.fromkeys(group["cell_type"]))
        contrasts = [_contrast(c, labels) for c in dict.fromkeys(group["contrast"])]
        rows.append([*values, _some(types), _some(contrasts), len(group)])
    return pd.DataFrame(rows, columns=[*keys, "cell types", "contrasts", "rows"]).rename(columns={"note": "why"})


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _samples(results: Results, labels: dict[str, str]) -> pd.DataFrame:
    shares = results.focus_shares()
    low, high = cell_intervals(shares["n"].to_numpy(float), shares["total"].to_numpy(float))
    return pd.DataFrame(
        {
            "sample": shares["sample_id"] if shares["donor_id"].duplicated().any() else None,
            "donor": shares["donor_id"],
            "population": [labels.get(p, p) for p in shares["population"]],
            "site": shares["site"],
            "batch": shares["batch"],
            "sex": shares["sex"],
            "age": shares["age"],
            f"{results.primary['focus']} cells": shares["n"],
            "of": shares["total"],
            "share, %": 100 * shares["share"],
            "95 % low": 100 * low,
            "95 % high": 100 * high,
        }
    ).dropna(axis="columns", how="all")


#: Verdict of a claim -> the mark beside it: its class and its sign.
VERDICTS = {
    "supported": ("yes", "✓"),
    "supported, but population and site cannot be told apart": ("unsure", "≈"),
    "not supported": ("no", "–"),
    "not testable with these data": ("open", "?"),
}


def claim_rows(results: Results) -> list[dict[str, str]]:
    """Return the claims for the page: `statement, verdict, evidence, source, kind, sign` each."""
    table = results.extra.get("claims", pd.DataFrame(columns=["statement", "verdict", "evidence", "source"]))
    found = []
    for record in table.fillna("").to_dict("records"):
        kind, sign = VERDICTS.get(str(record["verdict"]), ("open", "?"))
        texts = {key: str(record.get(key, "")) for key in ("statement", "verdict", "evidence", "source")}
        found.append({**texts, "kind": kind, "sign": sign})
    return found


def _later(results: Results, labels: dict[str, str]) -> list[Block]:
    """Return the tables of the steps that question the comparison, as those steps wrote them."""
    found = []
    for name, title, columns in (
        (
            "site_bound",
            "Site effects that would be enough",
            ["contrast", "status", "site_sd_bound", "sentence", "note"],
        ),
        ("recalibrated", "Recalibrated by the controls", None),
        ("controls_effect", "What the controls measure", None),
        ("permutation", "Permutation tests", None),
        ("leave_one_out", "Without one batch, without one site", None),
        ("misclassification", "Labelling errors that would be enough", None),
        ("specification_summary", "Agreement of the specifications", None),
        ("power", "What could have been found", None),
        ("plans", "Plans for new populations", None),
    ):
        table = results.extra.get(name)
        if table is None or table.empty:
            continue
        if name == "power":
            keys = {"cell_type": "focus", "annotator": "annotator", "denominator": "denominator"}
            for column, key in keys.items():
                table = table[table[column] == results.primary[key]]
        table = table[[c for c in columns if c in table]] if columns else table
        if "contrast" in table:
            table = table.assign(contrast=[_contrast(str(c), labels) for c in table["contrast"]])
        unit = "Estimates and their limits are natural logarithms of odds ratios unless the column says otherwise."
        found.append(Block(name.replace("_", "-"), title, unit, table.dropna(axis="columns", how="all")))
    return found


#: Status -> what a block's key and title end in. Contrasts inside a site confirm, those between sites describe: they
#: share neither a table nor a correction for multiple testing.
_FAMILIES = {
    "within-site": ("-within", "within one site (confirmatory)"),
    "between-site": ("", "between sites (descriptive: population and site together)"),
}


def _by_family(
    name: str, title: str, note: str, estimates: pd.DataFrame, labels: dict[str, str], keys: list[str], **options: bool
) -> list[Block]:
    """Return one block a family of contrasts; those without an estimate have a table of their own."""
    return [
        Block(
            name + suffix,
            f"{title}, {words}",
            note,
            _readable(estimates[estimates["status"] == status], labels, keys),
            **options,
        )
        for status, (suffix, words) in _FAMILIES.items()
    ]


def blocks(results: Results, labels: dict[str, str]) -> dict[str, list[Block]]:
    """Choose the tables of each section of the page.

    Returns
    -------
    Section (`contrasts`, `robustness`, `samples`, `missing`, `excluded`) -> its tables; empty tables are left out.
    """
    focus, model = results.primary["focus"], results.primary.get("model")
    estimates = results.focus_estimates()
    every = results.estimates
    shifts = every[(every["model"] == model) & (every["annotator"] == results.primary["annotator"])]
    excluded = results.excluded.assign(population=[labels.get(p, p) for p in results.excluded["population"]])
    tests = results.tests[results.tests["cell_type"] == focus]
    ratios = "Ratios are odds ratios (log10-ols: ratios of shares); the interval is on the same scale."
    found = {
        "contrasts": [
            *_by_family(
                "contrasts-primary",
                f"Contrasts of the {results.share_words} ({model})",
                ratios,
                estimates[estimates["model"] == model],
                labels,
                [],
                is_open=True,
            ),
            *_by_family(
                "contrasts-all",
                f"{focus} under every model, denominator and annotator",
                f"{ratios} Models of another unit (propeller-asin, clr) have no ratio.",
                every[every["cell_type"] == focus],
                labels,
                ["model", "denominator", "annotator"],
            ),
            *_by_family("shifts", f"All cell types ({model})", ratios, shifts, labels, ["cell_type", "denominator"]),
            Block(
                "tests",
                "Tests over all populations at once",
                "A small p-value says that not all populations, with their sites, are alike; not which differ, nor "
                "why.",
                tests.drop(columns="cell_type").dropna(axis="columns", how="all"),
            ),
        ],
        "robustness": _later(results, labels),
        "samples": [
            Block(
                "samples",
                f"{results.share_words}, sample by sample",
                "Intervals are Wilson's, from the number of cells alone.",
                _samples(results, labels),
                is_open=not results.estimated,
            )
        ],
        "missing": [Block("missing", "Without an estimate", "", _not_estimable(results, labels), is_open=True)],
        "excluded": [Block("excluded", "Samples left out of the models", "", excluded)],
    }
    return {section: [b for b in some if len(b.table)] for section, some in found.items()}
