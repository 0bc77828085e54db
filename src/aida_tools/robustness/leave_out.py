"""Every contrast again, without one batch or one site: `leave_one_out.tsv`.

One row a left-out `unit` (`none`, `batch`, `site`), its name in `left_out`, and a contrast: the estimate of the primary
model without it and its `change` from the one with all samples. Without a batch only the contrasts with samples in
that batch are made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from aida_tools.compare.contrasts import REST, Contrast
from aida_tools.robustness.inputs import Compared
from aida_tools.robustness.refit import refit

COLUMNS = (
    "unit", "left_out", "contrast", "status", "estimate", "std_error", "df", "ci_low", "ci_high", "p_value", "change",
    "n_samples_a", "n_samples_b", "note",
)  # fmt: skip


def _tasks(compared: Compared) -> Iterator[tuple[str, str, np.ndarray, list[Contrast]]]:
    """Yield unit, name, remaining samples and contrasts of each refit."""
    everything = np.ones(len(compared.samples), bool)
    used = compared.selection.samples
    yield "none", "", everything, compared.contrasts
    for unit in ("batch", "site"):
        names = sorted(used[unit].dropna().unique())
        for name in names if len(names) > 1 else []:
            populations = set(used.loc[used[unit] == name, "population"])
            sides = [c for c in compared.contrasts if unit == "site" or c.b == REST or populations & {c.a, c.b}]
            if sides:
                yield unit, name, (compared.samples[unit] != name).to_numpy(), sides


def leave_out_table(compared: Compared, *, threads: int = 1) -> pd.DataFrame:
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
        answers = list(pool.map(lambda task: refit(compared, task[2], task[3]), tasks))
    rows: list[dict[str, Any]] = []
    for (unit, name, _, _), found in zip(tasks, answers, strict=True):
        rows += [{"unit": unit, "left_out": name or None, **r} for r in found]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = table[table["unit"] == "none"].set_index("contrast")["estimate"]
    table["change"] = table["estimate"].astype(float) - table["contrast"].map(whole).astype(float)
    return table
