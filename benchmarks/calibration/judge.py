"""What a user of `compare`, `claims` and `robustness` is told of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from designs import KNOWN, Asked
from scipy import stats
from simulate import Cohort

from aida_tools.api import compare_populations
from aida_tools.claims.model import Claim, Claims, Direction, Source, Test
from aida_tools.claims.run import examine
from aida_tools.claims.verdict import ALPHA, SUPPORTED
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


def supported(cohort: Cohort, model: str, told: Mapping[Any, Any]) -> bool:
    """Tell whether a claim that is not true would be called `supported`, without a reservation.

    Parameters
    ----------
    cohort, model
        What was compared, and how.
    told
        A contrast of it as reported, with its `truth`. Claims refit and permute: they are asked only where they could
        say so, of a contrast within sites that is shown although the truth is 0.
    """
    p = 2 * stats.t.sf(abs(told["estimate"] / told["std_error"]), told["df"])
    if told["truth"] != 0 or told["status"] != "within-site" or p > ALPHA:
        return False
    direction: Direction = "lower" if told["estimate"] < 0 else "higher"
    return bool(claimed(compared(cohort, model), told["contrast"], direction)["verdict"] == SUPPORTED)


def judge_controls(controls: Controls, asked: Asked) -> list[dict[str, Any]]:
    """Return what the controls say of the difference of two sites, as rows of contrasts."""
    found = site_difference(controls, np.array([1.0, -1.0]))
    numbers = {"estimate": found.estimate, "std_error": found.std_error, "df": found.df}
    row = {"contrast": asked.contrast, "truth": asked.truth, "supported": False}
    return [row | {"status": "not-estimable" if found.problem else KNOWN} | numbers]
