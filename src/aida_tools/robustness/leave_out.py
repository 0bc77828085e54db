"""Every contrast again, without one batch or one site."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.design.contrasts import REST, Contrast
from aida_tools.results.refit import Comparison
from aida_tools.results.scale import on_log_odds
from aida_tools.robustness.tables import LEAVE_ONE_OUT


def _tasks(compared: Comparison) -> Iterator[tuple[str, str, np.ndarray, list[Contrast]]]:
    """Yield unit, name, remaining samples and contrasts of each refit."""
    used = compared.selection.samples
    yield "none", "", compared.everyone, compared.contrasts
    for unit in ("batch", "site"):
        names = sorted(used[unit].dropna().unique())
        for name in names if len(names) > 1 else []:
            populations = set(used.loc[used[unit] == name, "population"])
            sides = [c for c in compared.contrasts if unit == "site" or c.b == REST or populations & {c.a, c.b}]
            if sides:
                yield unit, name, (compared.samples[unit] != name).to_numpy(), sides


def leave_out_table(compared: Comparison, *, threads: int = 1) -> pd.DataFrame:
    """Return `leave_one_out.tsv`.

    Parameters
    ----------
    compared
        The comparison.
    threads
        How many refits run at a time.
    """
    tasks = list(_tasks(compared))
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda task: [on_log_odds(r) for r in compared.refit(task[3], mask=task[2])], tasks))
    rows: list[dict[str, Any]] = []
    for (unit, name, _, _), found in zip(tasks, answers, strict=True):
        rows += [{"unit": unit, "left_out": name or None, **r} for r in found]
    table = LEAVE_ONE_OUT.frame(rows)
    whole = table[table["unit"] == "none"].set_index("contrast")["estimate"]
    table["change"] = table["estimate"] - table["contrast"].map(whole).astype(float)
    return table
