"""All cell types at once: who shifts, how far, and where the focus type stands among them."""

from __future__ import annotations

import pandas as pd

from aida_tools.claims.tables import SHIFTS
from aida_tools.design.contrasts import split
from aida_tools.models.adjust import false_discovery_rate

#: What a table of shifts is about: one contrast of one denominator under one annotator.
TABLE = ["annotator", "denominator", "contrast"]


def shifts(estimates: pd.DataFrame, focus: str, model: str) -> pd.DataFrame:
    """Rank the cell types of every population against the rest, of age and of sex.

    Parameters
    ----------
    estimates
        As `compare` writes them.
    focus
        The cell type whose place is wanted.
    model
        Whose estimates.

    Returns
    -------
    One row a contrast and cell type, by annotator, denominator, contrast and rank, as `SHIFTS` describes them. Types
    without an estimate come last, without a rank.
    """
    table = estimates[estimates["model"] == model].copy()
    asked = split(table["contrast"])
    table["kind"] = asked["column"]
    populations = asked["of_populations"]
    # With two populations their pair is all there is: nobody is left for a rest.
    alone = table.loc[populations, "contrast"].nunique() == 1
    table = table[~populations | (asked["kind"] == "rest") | alone]
    table["is_focus"] = table["cell_type"] == focus
    groups = table.groupby(TABLE, sort=False)
    table["q_value"] = groups["p_value"].transform(lambda p: false_discovery_rate(p.to_numpy(float)))
    table["rank"] = groups["p_value"].rank(method="min")
    table["rank_size"] = table["estimate"].abs().groupby([table[c] for c in TABLE]).rank(ascending=False, method="min")
    table["n_types"] = groups["estimate"].transform("count")
    table = table.reset_index(names="_order").sort_values([*TABLE, "rank", "_order"], na_position="last")
    return SHIFTS.frame(table.reset_index(drop=True))
