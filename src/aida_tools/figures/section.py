"""The sections of the page on what was compared: contrasts, samples, and what could not be estimated."""

from __future__ import annotations

import pandas as pd

from aida_tools.core.names import EMPTY_STATUSES
from aida_tools.core.words import counted, labelled, listed
from aida_tools.design.contrasts import POPULATION
from aida_tools.figures.summary import cell_intervals
from aida_tools.models.registry import MODELS
from aida_tools.results.page import Block, Labels, Section, register
from aida_tools.results.results import Results
from aida_tools.results.scale import to_ratio
from aida_tools.results.words import aliases, compared, effect, per_step


def _readable(results: Results, estimates: pd.DataFrame, labels: Labels, keys: list[str]) -> pd.DataFrame:
    """Turn rows of `estimates.tsv` into what a reader compares: ratios, shares in per cent, words."""
    asked = {text: results.contrast(text) for text in estimates["contrast"].unique()}
    found = (to_ratio(per_step(r, asked[r["contrast"]])) for r in estimates.to_dict("records"))
    said = [ratio or (None, None, None, None) for ratio in found]
    ratio = pd.DataFrame(said, columns=["quantity", "ratio", "low", "high"], index=estimates.index)
    names = {text: effect(contrast, labels) for text, contrast in asked.items()}
    table = pd.DataFrame({"contrast": estimates["contrast"].map(names)}, index=estimates.index)
    for key in keys:
        table[key.replace("_", " ")] = estimates[key]
    table["status"] = estimates["status"]
    table["ratio"], table["95 % low"], table["95 % high"] = ratio["ratio"], ratio["low"], ratio["high"]
    table["p"], table["adjusted p"] = estimates["p_value"], estimates["q_value"]
    table["share, %"], table["against, %"] = 100 * estimates["share_a"], 100 * estimates["share_b"]
    table["samples"], table["against "] = estimates["n_samples_a"], estimates["n_samples_b"]
    table["without a cell"] = estimates["n_zero"]
    # What a contrast between sites cannot be told apart from is said once, above the tables.
    inside = estimates["aliased_with"].where(estimates["status"] != "between-site")
    table["note"] = [
        labelled("; ".join(t for t in texts if isinstance(t, str)), labels) or None
        for texts in zip(inside, estimates["note"], strict=True)
    ]
    return table.dropna(axis="columns", how="all").reset_index(drop=True)


#: Status -> what a block's key and title end in. Contrasts within sites confirm, the others describe: they share
#: neither a table nor a correction for multiple testing.
_FAMILIES = {
    "within-site": ("-within", "within sites (confirmatory)"),
    "indirect": ("-indirect", "indirect (through other populations)"),
    "between-batch": ("-batch", "between batches (descriptive: {} and batch together)"),
    "between-site": ("", "between sites (descriptive: {} and site together)"),
}
#: Status -> what its contrasts compare.
_KINDS = {
    "within-site": "A within-site contrast compares populations measured at the same place: the site cannot be its "
    "reason.",
    "indirect": "An indirect contrast compares populations that never shared a site, through others that were measured "
    "with both: it is wrong if the donors of these differ between the sites.",
    "between-batch": "A between-batch contrast compares populations that share a site but no batch, or whose "
    "batches are not recorded: together with their batches.",
    "between-site": "A between-site contrast compares populations together with their sites.",
}


def _ratios(models: list[str]) -> str:
    """Say what the ratios of some models are, and which models have none."""
    known = [MODELS[m] for m in models]
    shares = [m.name for m in known if m.ratio and m.ratio != "odds ratio"]
    none = [m.name for m in known if not m.ratio]
    only = all(m.ratio == known[0].ratio for m in known if m.ratio) and known[0].ratio
    text = f"Ratios are {(only or 'odds ratio').replace('ratio', 'ratios')}"
    text += f" (of {listed(shares)}: ratios of shares)" if shares and not only else ""
    text += ", with 95 % intervals."
    if none:
        text += f" {listed(none)} {'have' if len(none) > 1 else 'has'} another unit, without a ratio."
    return text


def contrasts(results: Results, labels: Labels) -> list[Block]:
    """Return the tables of contrasts: the primary one, every analysis of the focus type, all cell types."""
    focus, model = results.primary["focus"], results.primary.get("model")
    own, every = results.focus_estimates(), results.estimates[~results.estimates["superseded"]]
    everywhere = every[every["cell_type"] == focus]
    shifts = every[(every["model"] == model) & (every["annotator"] == results.primary["annotator"])]
    ways = ["model", "denominator", "annotator"]
    what = POPULATION if compared(results) == [POPULATION] else "covariate"
    found = [
        Block(
            key + suffix,
            f"{title}, {words.format(what)}",
            _ratios(list(rows["model"].unique())),
            _readable(results, rows[rows["status"] == status], labels, keys),
            is_open=key == "contrasts-primary",
        )
        for key, title, rows, keys in (
            ("contrasts-primary", f"Contrasts of the {results.share_words} ({model})", own[own["model"] == model], []),
            ("contrasts-all", f"{focus} under every model, denominator and annotator", everywhere, ways),
            ("shifts", f"All cell types ({model})", shifts, ["cell_type", "denominator"]),
        )
        if len(rows)
        for status, (suffix, words) in _FAMILIES.items()
    ]
    tests = results.tests[results.tests["cell_type"] == focus].drop(columns="cell_type")
    note = "A small p-value says that the populations, with their sites, are not all alike; not which differ, nor why."
    tests = tests.dropna(axis="columns", how="all")
    return [*found, Block("tests", "Tests over all populations at once", note, tests)]


def _kinds(results: Results, labels: Labels) -> list[str]:
    """Say what the kinds of contrast are that occur, and what those between sites or batches cannot tell apart."""
    if not results.estimated or compared(results) != [POPULATION]:
        return []
    there = set(results.focus_estimates()["status"])
    return [" ".join(text for status, text in _KINDS.items() if status in there), *aliases(results, labels)]


def samples(results: Results, labels: Labels) -> list[Block]:
    """Return the table of the samples' shares of the focus type."""
    shares = results.focus_shares()
    low, high = cell_intervals(shares["n"].to_numpy(float), shares["total"].to_numpy(float))
    table = pd.DataFrame(
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
    title = f"{results.share_words}, sample by sample"
    note = "Intervals are Wilson's, from the number of cells alone."
    return [Block("samples", title, note, table, is_open=not results.estimated)]


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def missing(results: Results, labels: Labels) -> list[Block]:
    """Return what has no estimate and why, one row a model, denominator and reason; and the samples left out."""
    empty = results.estimates[results.estimates["status"].isin(EMPTY_STATUSES)]
    keys = ["annotator", "denominator", "model", "status", "note"]
    rows = [
        [
            *values[:-1],
            labelled(str(values[-1]), labels),
            _some(list(dict.fromkeys(group["cell_type"]))),
            _some([results.contrast(c).words(labels) for c in dict.fromkeys(group["contrast"])]),
            len(group),
        ]
        for values, group in empty.groupby(keys, sort=False, dropna=False)
    ]
    table = pd.DataFrame(rows, columns=[*keys[:-1], "why", "cell types", "contrasts", "rows"])
    excluded = results.excluded.assign(population=[labels.get(p, p) for p in results.excluded["population"]])
    return [
        Block("missing", "Without an estimate", "", table, is_open=True),
        Block("excluded", "Samples left out of the models", "", excluded),
    ]


def _answered(results: Results, labels: Labels) -> list[str]:
    if results.estimates["status"].isin(EMPTY_STATUSES).any():
        return []
    return [
        "Every contrast that was asked for has an estimate." if results.estimated else "No contrast could be formed."
    ]


def _left_out(results: Results, labels: Labels) -> list[str]:
    reasons = sorted((results.options.get("excluded") or {}).items(), key=lambda reason: -reason[1])
    said = listed([f"{counted(n, 'sample')} ({why})" for why, n in reasons])
    return [f"Left out of the models: {said}." if said else "No sample was left out of the models."]


def left_out(results: Results, labels: Labels) -> list[Block]:
    """Return how many samples, donors and cells the models did not use, a row a reason."""
    lost = results.excluded.merge(results.samples[["sample_id", "n_cells"]], on="sample_id")
    by_reason = lost.groupby("reason", sort=False)
    table = by_reason.agg(
        samples=("sample_id", "nunique"), donors=("donor_id", "nunique"), cells=("n_cells", "sum")
    ).sort_values("samples", ascending=False, kind="stable")
    before = results.options.get("before") or {}
    of = [counted(before[what], word) for what, word in _COUNTED.items() if what in before]
    note = f"Of {listed(of)}; the table of samples left out names each of them." if of else ""
    return [Block("left-out", "What was left out of the models", note, table.reset_index())]


#: What `before` and `after` of a record count.
_COUNTED = {"samples": "sample", "donors": "donor", "cells": "cell"}


def without_site(results: Results, labels: Labels) -> list[Block]:
    """Return the focus type's contrasts without a term for the site, each below the one that is reported."""
    old = results.superseded()
    if old.empty:
        return []
    keys = ["model", "contrast"]
    new = results.focus_estimates().merge(old[keys].drop_duplicates(), on=keys)
    both = pd.concat([new.assign(reported=True), old.assign(reported=False)], ignore_index=True)
    order = both.groupby(keys, sort=False).ngroup()
    both = both.assign(order=order).sort_values(["order", "reported"], ascending=[True, False], kind="stable")
    note = (
        "The formula was given without a term for the site, and the effects of sites enter these contrasts. They were "
        "fitted again with such a term, which leaves them estimable: this page reports the rows with it."
    )
    table = _readable(results, both, labels, ["model", "formula", "reported"])
    return [Block("without-site", "Without a term for the site", note, table, is_open=True)]


register(Section("measured", "What was measured", place=20, sentences=_left_out, blocks=left_out))
register(Section("contrasts", "Contrasts", place=60, sentences=_kinds, blocks=contrasts))
register(Section("context", "The rest of the picture", place=70))
register(Section("samples", "Samples", place=80, blocks=samples))
register(Section("missing", "What could not be estimated, and why", place=90, sentences=_answered, blocks=missing))
