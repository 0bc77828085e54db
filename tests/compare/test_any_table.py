"""Whatever table comes: every contrast ends as numbers or as a state with its reason, never as a crash."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aida_tools.compare.run import compare_tables
from aida_tools.compare.step import Options
from aida_tools.core.errors import AidaError
from aida_tools.core.names import EMPTY_STATUSES, ESTIMATED

FORMULAS = (
    "~ population", "~ population + age + sex", "~ population + age + sex + site", "~ population + donor_id",
    "~ population * sex + ns(age, df=3)", "~ population + batch",
)  # fmt: skip
NUMBERS = ["estimate", "std_error", "statistic", "df", "p_value", "ci_low", "ci_high"]


def any_table(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a table with columns missing, values missing, rare types, lone samples and populations tied to sites."""
    n, k = int(rng.choice([3, 8, 30, 80])), int(rng.integers(2, 5))
    population = rng.choice([f"P{i}" for i in range(rng.integers(1, 5))], n)
    if rng.random() < 0.3:
        population[0] = "P9"
    site = np.array(["S" + p[1] for p in population]) if rng.random() < 0.5 else rng.choice(["S0", "S1"], n)
    samples = pd.DataFrame({"sample_id": [f"s{i}" for i in range(n)], "population": population})
    columns = {
        "site": site,
        "batch": [f"{s}_{b}" for s, b in zip(site, rng.integers(int(rng.choice([1, 2, 6])), size=n), strict=True)],
        "age": rng.integers(20, 70, n).astype(float),
        "sex": rng.choice(["female", "male", "unknown"], n, p=[0.5, 0.4, 0.1]),
        "is_control": rng.random(n) < 0.1,
    }
    for name, values in columns.items():
        if rng.random() < 0.7:
            samples[name] = values
            if name in ("site", "batch", "age") and rng.random() < 0.3:
                samples.loc[rng.random(n) < 0.3, name] = None
    if rng.random() < 0.3:
        samples["donor_id"], samples["sex"] = [f"d{i // 2}" for i in range(n)], "female"
    if rng.random() < 0.2:
        samples.loc[rng.random(n) < 0.2, "population"] = None
    mix = rng.dirichlet(np.full(k, rng.choice([0.05, 1.0, 5.0])))
    counts = np.array([rng.multinomial(rng.poisson(rng.choice([3, 50, 1000])), rng.dirichlet(mix * 50 + 1e-3))
                       for _ in range(n)])  # fmt: skip
    if rng.random() < 0.3:
        counts[:, 0] = 0
    if rng.random() < 0.3:
        counts[population == population[0], 1] = 0
    wide = pd.DataFrame(counts, columns=[f"t{i}" for i in range(k)], index=samples["sample_id"])
    return samples, wide.rename_axis(columns="cell_type").stack().rename("n_cells").reset_index()


@pytest.mark.parametrize("seed", range(24))
def test_every_row_is_numbers_or_a_reason(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples, counts = any_table(rng)
    options = Options(formula=FORMULAS[seed % len(FORMULAS)], one_vs_rest=True, min_cells=int(rng.choice([0, 5])))
    try:
        tables, record = compare_tables(counts, samples, options=options)
    except AidaError as error:
        if "no sample is left" not in str(error):
            raise
        return
    rows = tables["estimates"]
    empty = rows["estimate"].isna()
    assert rows.loc[empty, "status"].isin(EMPTY_STATUSES).all()
    assert rows.loc[empty, "note"].notna().all()
    numbers = rows.loc[~empty, NUMBERS].to_numpy(float)
    assert np.isfinite(numbers).all()
    assert (rows.loc[~empty, "std_error"].astype(float) > 0).all()
    assert rows.loc[~empty, "status"].isin(ESTIMATED).all()
    assert rows.loc[rows["status"].isin(ESTIMATED[1:]), "aliased_with"].notna().all()
    kept = tables["shares"].loc[tables["shares"]["included"], "sample_id"].nunique()
    left_out = tables["excluded"]["sample_id"].nunique()
    assert kept + left_out == len(samples)
    assert record["after"]["samples"] <= record["before"]["samples"]
