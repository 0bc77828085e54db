"""A small made-up cohort, and its comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.core.schema import write_tsv


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Populations A, B and C in the same batches of one site; in C the type `bent` falls with age."""
    folder = tmp_path_factory.mktemp("three")
    rng = np.random.default_rng(5)
    n = 360
    population = np.array(["A", "B", "C"])[np.arange(n) % 3]
    age = rng.integers(20, 75, n)
    batch = np.arange(n) // 20
    slope = np.where(population == "C", -0.03, 0.0)
    noise = rng.normal(0, 0.1, 18)[batch] + rng.normal(0, 0.3, n)
    shares = [special.expit(-2 + s * (age - 45) + noise) for s in (slope, -0.02)]
    cells = rng.multinomial(600, np.column_stack([*shares, 1 - shares[0] - shares[1]]))
    ids = [f"d{i}" for i in range(n)]
    write_tsv(
        pd.DataFrame({"sample_id": ids, "population": population, "site": "X", "batch": [f"b{b}" for b in batch],
                      "sex": rng.choice(["female", "male"], n), "age": age}),
        folder / "samples.tsv",
    )  # fmt: skip
    write_tsv(
        pd.concat(
            pd.DataFrame({"sample_id": ids, "cell_type": t, "n_cells": cells[:, k]})
            for k, t in enumerate(["bent", "parallel", "rest"])
        ),
        folder / "counts.tsv",
    )
    return folder


@pytest.fixture(scope="session")
def three_compared(three: Path) -> Path:
    """Its comparison by the primary model and the cluster-robust one."""
    options = Options(models=("betabinomial-mixed", "betabinomial-cluster"), focus="bent")
    compare(three / "counts.tsv", three / "samples.tsv", three / "compare", options=options)
    return three / "compare"
