"""What a user of `compare`, `robustness` and `claims` would be told of a cohort: estimate, status and verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from designs import KNOWN, REFUSED, Asked
from simulate import Cohort

from aida_tools.api import compare_populations
from aida_tools.claims.model import Claim, Claims, Direction, Source, Test
from aida_tools.claims.run import examine
from aida_tools.claims.verdict import ALPHA, SUPPORTED
from aida_tools.core.errors import AidaError
from aida_tools.results.refit import Comparison
from aida_tools.results.results import Results
from aida_tools.robustness.controls import Controls, site_difference

FOCUS = "focus"
_SOURCE = Source(name="a reader of the estimates", url="https://example.org")


def compared(cohort: Cohort, *models: str) -> Results:
    """Compare the populations of a cohort, as from a notebook."""
    types = [FOCUS, *(f"other {k}" for k in range(1, cohort.counts.shape[1]))]
    wide = pd.DataFrame(cohort.counts, columns=types).assign(sample_id=cohort.samples["sample_id"].to_numpy())
    counts = wide.melt("sample_id", var_name="cell_type", value_name="n_cells")
    return compare_populations(counts, cohort.samples, focus=FOCUS, models=models, contrasts=list(cohort.truth))


def claimed(results: Results, contrast: str, direction: Direction) -> pd.Series:
    """Return what `claims` says of the claim that a contrast is `lower` or `higher`: a row of `claims.tsv`."""
    test = Test(cell_types=[FOCUS], denominator="all", contrasts=[contrast], direction=direction, family="calibration")
    claim = Claim(id="claim", statement=f"{contrast} is {direction}", sources=[_SOURCE], test=test)
    return examine(Comparison(results), Claims(notice="This is not about a disease.", claims=[claim]))[0].iloc[0]


def judge(cohort: Cohort, model: str) -> list[dict[str, Any]]:
    """Return for each contrast in question what is reported of it.

    Returns
    -------
    `contrast, truth, status, supported`, and `estimate, std_error, df` where there is an estimate.
    """
    try:
        results = compared(cohort, model)
    except AidaError:
        return [
            {"contrast": c, "truth": truth, "status": REFUSED, "supported": False} for c, truth in cohort.truth.items()
        ]
    reported = {str(row["contrast"]): row for row in results.focus_estimates().to_dict("records")}
    rows: list[dict[str, Any]] = []
    for contrast, truth in cohort.truth.items():
        found = reported[contrast]
        # Claims refit and permute; what is not shown in the first place needs none of it.
        shown = found["status"] == "within-site" and found["p_value"] <= ALPHA
        row = {name: found[name] for name in ("status", "estimate", "std_error", "df")}
        # The claim that a reader of the estimate would make; a reservation in the verdict is no support.
        supported = shown and claimed(results, contrast, "lower" if row["estimate"] < 0 else "higher")["verdict"]
        rows.append({"contrast": contrast, "truth": truth, "supported": supported == SUPPORTED, **row})
    return rows


def judge_controls(controls: Controls, asked: Asked) -> list[dict[str, Any]]:
    """Return what the controls say of the difference of two sites, as `judge` does of contrasts."""
    found = site_difference(controls, np.array([1.0, -1.0]))
    numbers = {"estimate": found.estimate, "std_error": found.std_error, "df": found.df}
    row = {"contrast": asked.contrast, "truth": asked.truth, "supported": False}
    return [row | {"status": "not-estimable" if found.problem else KNOWN} | numbers]
