"""What a user is told of one drawn cohort of a calibration design."""

from __future__ import annotations

from functools import cache

import pandas as pd

from aida_tools.models.cluster import MODEL as CLUSTER
from aida_tools.models.mixed import MODEL as MIXED
from aida_tools.results.results import Results
from tests.calibration import judge, run


@cache
def compared(scenario: str, number: int = 1) -> Results:
    """Compare the populations of cohort `number`, by the primary model and its cluster-robust twin."""
    return judge.compared(run.draw(scenario, number), MIXED.name, CLUSTER.name)


def row(results: Results, contrast: str, model: str = MIXED.name) -> pd.Series:
    """Return what is reported of a contrast."""
    table = results.focus_estimates()
    [index] = table.index[(table["contrast"] == contrast) & (table["model"] == model)]
    return table.loc[index]


def set_aside(results: Results, contrast: str, model: str = MIXED.name) -> pd.Series:
    """Return the same contrast without a term for the site, beside which another is reported."""
    table = results.superseded()
    [index] = table.index[(table["contrast"] == contrast) & (table["model"] == model)]
    return table.loc[index]
