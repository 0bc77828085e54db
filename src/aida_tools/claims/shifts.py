"""All cell types at once: who shifts, how far, and where the focus type stands among them."""

from __future__ import annotations

import pandas as pd

from aida_tools.compare.adjust import false_discovery_rate
from aida_tools.compare.contrasts import REST

#: What a table of shifts is about: one contrast of one denominator under one annotator.
TABLE = ["annotator", "denominator", "contrast"]
COLUMNS = [
    "cohort", *TABLE, "kind", "status", "cell_type", "is_focus", "model", "estimate", "ci_low", "ci_high", "share_a",
    "share_b", "p_value", "q_value", "rank", "rank_size", "n_types", "note",
]  # fmt: skip


def kind_of(contrast: str) -> str:
    """Return `population`, `sex`, `age` ... for a contrast that is an exploratory table, empty for a pair of many."""
    column, colon, sides = contrast.partition(": ")
    if column == "population" and colon and not sides.endswith(f" - {REST}"):
        return ""
    return column


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
    One row a contrast and cell type, by annotator, denominator, contrast and rank. `q_value` is the Benjamini-Hochberg
    false discovery rate over the cell types of that one contrast, the focus type among them; `rank` is by p-value and
    `rank_size` by the size of the estimate, 1 the first. Types without an estimate come last, without a rank.
    """
    table = estimates[estimates["model"] == model].copy()
    table["kind"] = table["contrast"].map(kind_of)
    # With two populations their pair is all there is: nobody is left for a rest.
    population = table["contrast"].str.startswith("population: ")
    if population.any() and table.loc[population, "contrast"].nunique() == 1:
        table.loc[population, "kind"] = "population"
    table = table[table["kind"] != ""]
    table["is_focus"] = table["cell_type"] == focus
    groups = table.groupby(TABLE, sort=False)
    table["q_value"] = groups["p_value"].transform(lambda p: false_discovery_rate(p.to_numpy(float)))
    table["rank"] = groups["p_value"].rank(method="min").astype("Int64")
    table["rank_size"] = table["estimate"].abs().groupby([table[c] for c in TABLE]).rank(ascending=False, method="min")
    table["rank_size"] = table["rank_size"].astype("Int64")
    table["n_types"] = groups["estimate"].transform("count")
    table = table.reset_index(names="_order").sort_values([*TABLE, "rank", "_order"], na_position="last")
    return table[COLUMNS].reset_index(drop=True)
