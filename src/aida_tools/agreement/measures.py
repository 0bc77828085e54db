"""Measures of labels, each in every level of every stratum: the rows of `agreement.tsv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from aida_tools.agreement import kernel
from aida_tools.agreement.inputs import ALL, Answers, Cells, Stratum
from aida_tools.annotate.combine import UNRESOLVED


def arrange(
    stratum: Stratum, keys: dict[str, str | None], estimates: kernel.Estimates, undefined: str, **more: float | None
) -> pd.DataFrame:
    """Arrange one measure in all levels of a stratum, each with its status.

    Parameters
    ----------
    stratum
        The stratum.
    keys
        `annotator_a`, `annotator_b`, `within`, `measure`.
    estimates
        The measure; arrays of shape (n_levels,).
    undefined
        Why it may not exist.
    more
        Further columns.
    """
    table = pd.DataFrame(asdict(estimates)).assign(**keys, **more, stratum=stratum.name, level=stratum.levels)
    return state(table, undefined)


def state(table: pd.DataFrame, undefined: str) -> pd.DataFrame:
    """Add the columns `status` and `note` to a table with the columns of `kernel.Estimates` and `measure`."""
    share, measure = table["estimate"], table["measure"]
    is_share = ~measure.isin(["kappa", "expected_to_observed", "soft_to_observed"])
    states = {
        "undefined": (share.isna(), undefined),
        "one_answer": (
            (measure == "kappa") & table["std_error"].isna() & (share < 1),
            "one annotator gives these cells a single answer: kappa is 0 whatever the other says",
        ),
        "point": (
            measure == "calibration_error",
            "a mean of absolute distances: biased upward where cells are few, and without an interval",
        ),
        "no_spread": (
            ((share == 1) & (is_share | (measure == "kappa"))) | ((share == 0) & is_share),
            "the same in all cells: no interval between donors",
        ),
        "one_donor": (table["n_donors"] < 2, "one donor: the interval is of its cells alone"),
        "no_error": (table["donor_ci_low"].isna(), "no spread between donors to make an interval from"),
    }
    conditions = [condition for condition, _ in states.values()]
    notes = pd.Series(np.select(conditions, [note for _, note in states.values()], ""), index=table.index)
    return table.assign(status=np.select(conditions, list(states), "ok"), note=notes.replace("", None))


def rates(one: Answers, cells: Cells, within: str, focus: str) -> Iterator[pd.DataFrame]:
    """Give an annotator's rate of the focus type in a set."""
    is_focus = one.among({focus})
    keys = {"annotator_a": one.name, "annotator_b": None, "within": within, "measure": "rate"}
    counted = cells.tabulate(is_focus, is_focus, one.inside(within))
    for s in cells.strata:
        tables = s.gather(counted)
        found = kernel.share(tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        yield arrange(s, keys, found, f"{one.name} puts no cell in '{within}'")


def agreements(a: Answers, b: Answers, cells: Cells, within: str, focus: str) -> Iterator[pd.DataFrame]:
    """Give kappa and the share of equal answers of two annotators in a set."""
    keys: dict[str, str | None] = {"annotator_a": a.name, "annotator_b": b.name, "within": within}
    counted = cells.tabulate(a.among({focus}), b.among({focus}), a.inside(within) & b.inside(within))
    for s in cells.strata:
        tables = s.gather(counted)
        equal = kernel.share(tables[:, 0, 0] + tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        beyond = kernel.kappa(tables, s.level, len(s.levels))
        yield arrange(s, keys | {"measure": "kappa"}, beyond, "no cells, or one answer to all of them by both")
        yield arrange(s, keys | {"measure": "agreement"}, equal, f"no cell that both put in '{within}'")


def errors(
    truth: Answers, b: Answers, cells: Cells, within: str, focus: str, unresolved: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """Give sensitivity, specificity, precision and F1 of an annotator in a set."""
    keys: dict[str, str | None] = {"annotator_a": truth.name, "annotator_b": b.name, "within": within}
    keep = truth.inside(within) & ~truth.unresolved(unresolved) & b.inside(ALL)
    counted = cells.tabulate(truth.among({focus}), b.among({focus}), keep)
    for s in cells.strata:
        tables = s.gather(counted)
        both, n = tables[:, 1, 1], len(s.levels)
        shares = {
            "sensitivity": (both, tables[:, 1].sum(axis=1), f"no {focus} by {truth.name}"),
            "specificity": (tables[:, 0, 0], tables[:, 0].sum(axis=1), f"all cells are {focus} by {truth.name}"),
            "precision": (both, tables[:, :, 1].sum(axis=1), f"no {focus} by {b.name}"),
        }
        for measure, (hits, totals, undefined) in shares.items():
            yield arrange(s, keys | {"measure": measure}, kernel.share(hits, totals, s.level, n), undefined)
        yield arrange(s, keys | {"measure": "f1"}, kernel.f1(tables, s.level, n), f"no {focus} by either")


def unresolved_shares(one: Answers, cells: Cells, names: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Give the share of cells an annotator leaves unresolved, in all, by site, batch and depth."""
    open_ = one.unresolved(names)
    keys = {"annotator_a": one.name, "annotator_b": None, "within": ALL, "measure": UNRESOLVED}
    counted = cells.tabulate(open_, open_, np.ones(len(open_), dtype=bool))
    for s in cells.chosen(ALL, "site", "batch", "depth"):
        tables = s.gather(counted)
        found = kernel.share(tables[:, 1, 1], tables.sum(axis=(1, 2)), s.level, len(s.levels))
        yield arrange(s, keys, found, "no cells")
