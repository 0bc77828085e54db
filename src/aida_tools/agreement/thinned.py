"""Whether the share of the focus type moves when every site is thinned to the depth of the shallowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from aida_tools.agreement import kernel
from aida_tools.agreement.inputs import ALL, Answers, Cells
from aida_tools.core.names import THINNED

#: Stratum of the row that says how far the sites are apart; with one site, how far its batches are.
SPREAD = {"site": "between sites", "batch": "between batches"}


def pairs(annotators: Sequence[Answers]) -> list[tuple[Answers, Answers]]:
    """Return every annotator that also labelled the thinned counts, with its labels of those."""
    known = {one.name: one for one in annotators}
    return [(one, known[f"{name}{THINNED}"]) for name, one in known.items() if f"{name}{THINNED}" in known]


def changes(one: Answers, thinned: Answers, cells: Cells, within: str, focus: str) -> Iterator[pd.DataFrame]:
    """Give the rate of the focus type in a set at full and at matched depth, by site and batch.

    Returns
    -------
    Rows of `THINNED`; each rate is among the cells that the labels of that depth put in the set.
    """
    counted = [cells.tabulate(f, f, a.inside(within)) for a in (one, thinned) for f in [a.among({focus})]]
    tables = np.stack(counted, axis=1)
    apart = "site" if any(len(s.levels) > 1 for s in cells.chosen("site")) else "batch"
    for s in cells.chosen(ALL, "site", "batch"):
        grouped = s.gather(tables)
        hits, totals, n = grouped[..., 1, 1], grouped.sum(axis=(2, 3)), len(s.levels)
        found = kernel.difference(hits, totals, s.level, n)
        by_level = [kernel.sums(values, s.level, n) for values in (hits, totals)]
        with np.errstate(invalid="ignore"):
            rate = by_level[0] / by_level[1]
        table = pd.DataFrame(
            {
                "annotator": one.name, "within": within, "stratum": s.name, "level": s.levels, "rate": rate[:, 0],
                "rate_thinned": rate[:, 1], "difference": found.estimate, "donor_std_error": found.donor_std_error,
                "donor_ci_low": found.donor_ci_low, "donor_ci_high": found.donor_ci_high, "n_cells": found.n_cells,
                "n_donors": found.n_donors,
            }
        )  # fmt: skip
        states = {
            "undefined": (table["difference"].isna(), f"no cell in '{within}' at one of the two depths"),
            "one_donor": (table["n_donors"] < 2, "one donor: no interval"),
            "no_spread": (table["donor_std_error"].isna(), "the same change in every donor: no interval"),
        }
        conditions = [condition for condition, _ in states.values()]
        notes = pd.Series(np.select(conditions, [note for _, note in states.values()], "")).replace("", None)
        yield table.assign(status=np.select(conditions, list(states), "ok"), note=notes)
        if s.name == apart and len(table):
            yield _spread(table)


def _spread(levels: pd.DataFrame) -> pd.DataFrame:
    """Return the distance of the highest and the lowest level, at full and at matched depth, as one row."""
    known = levels.dropna(subset=["difference"])
    stratum = str(levels["stratum"].iloc[0])
    rates = known.set_index("level")[["rate", "rate_thinned"]]
    row = levels[["annotator", "within"]].head(1).assign(stratum=SPREAD[stratum], level="highest - lowest")
    if len(known) < 2:
        return row.assign(status="undefined", note=f"one {stratum} only")
    row[["rate", "rate_thinned"]] = (rates.max() - rates.min()).to_numpy()
    named = [
        f"{words} {rates[column].idxmax()} is highest and {rates[column].idxmin()} lowest"
        for column, words in (("rate", "as measured"), ("rate_thinned", "at matched depth"))
    ]
    return row.assign(
        difference=row["rate_thinned"] - row["rate"],
        n_cells=known["n_cells"].sum(),
        status="point",
        note=f"{'; '.join(named)}; no interval is computed for a range",
    )
