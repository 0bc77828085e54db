"""Whether the effect of a column is the same in several populations: the model with the interaction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from aida_tools.claims.answers import Missing, why_no_twin
from aida_tools.claims.evidence import numerator, used_samples
from aida_tools.claims.model import Interaction
from aida_tools.claims.verdict import TWIN, Check
from aida_tools.design.contrasts import Contrast
from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.design.questions import batch_codes
from aida_tools.models.cluster import MODEL as CLUSTER
from aida_tools.models.data import Data, Estimate, Fit
from aida_tools.models.omnibus import wald
from aida_tools.models.registry import MODELS
from aida_tools.results.refit import Comparison


class Slopes(NamedTuple):
    """A Wald F test of all interaction terms.

    Attributes
    ----------
    statistic, df, df_residual, p_value
        F, its degrees of freedom, and its p-value.
    status
        `within-site` only where no effect of a site can enter a difference of slopes.
    slopes
        Population -> log odds ratio for one unit of the column.
    twin
        The same test by the cluster-robust model.
    """

    statistic: float
    df: int
    df_residual: float
    p_value: float
    status: str
    slopes: dict[str, Estimate]
    twin: Check


def interaction(asked: Comparison, test: Interaction) -> tuple[Slopes, list[str]]:
    """Test that the effect of a column is the same in several populations.

    Returns
    -------
    The test, and the types that were added up.

    Raises
    ------
    Missing
        If cells or populations are not in the comparison, or the model cannot be fitted.
    """
    counts, name, types = numerator(asked, test)
    samples = _samples(used_samples(asked, counts), test)
    model = MODELS[asked.odds_model]
    counts = counts.take(pd.Index(asked.samples["sample_id"]).get_indexer(samples["sample_id"]))
    covariates = " + sex" if samples["sex"].nunique() > 1 and test.column != "sex" else ""
    formula = parse_formula(f"~ population * {test.column}{covariates}", samples.columns)
    design = build_design(formula.plus("batch") if model.by_batch else formula, samples)
    terms = [i for i, column in enumerate(design.names) if ":" in column]
    if len(terms) < len(test.populations) - 1:
        raise Missing(f"the samples cannot tell the effect of {test.column} apart between the populations")
    weights = np.eye(len(design.names))[terms]

    def fitted(by: str) -> Fit:
        types = counts.only(name) if MODELS[by].one_type else counts
        data = Data(
            types.counts, types.totals, design.matrix, batch_codes(samples), bool(asked.options["robust"]), types.unit
        )  # fmt: skip
        return MODELS[by].fit(data)[types.types.index(name)]

    fit = fitted(model.name)
    if not fit.converged:
        raise Missing(f"the model of {test.column} by population was not fitted: {fit.message}")
    statistic, df, df_residual, p = wald(fit, weights)
    if not np.isfinite(p):
        raise Missing(f"no degrees of freedom are left to compare the effects of {test.column}")
    why = why_no_twin(asked, counts)
    twin = Check(TWIN, why_not=why) if why else _check(fitted(CLUSTER.name), weights)
    up, down = design.sides(Contrast(test.column))
    slopes = {}
    for population in test.populations:
        here = (samples["population"] == population).to_numpy()
        slopes[population] = fit.contrast(design.reduce((up - down)[here].mean(axis=0)))
    one_site = samples["site"].notna().all() and samples["site"].nunique() == 1
    status = "within-site" if one_site else "between-site"
    return Slopes(statistic, df, df_residual, p, status, slopes, twin), types


def _samples(samples: pd.DataFrame, test: Interaction) -> pd.DataFrame:
    """Return the samples of the populations in which the column and the sex are known."""
    if test.column not in samples or not pd.api.types.is_numeric_dtype(samples[test.column]):
        raise Missing(f"'{test.column}' is not a number in the comparison's samples")
    for population in test.populations:
        if not (samples["population"] == population).any():
            raise Missing(f"no sample of population {population} is in the comparison")
    known = samples[test.column].notna() & samples["sex"].ne("unknown")
    return samples[samples["population"].isin(test.populations) & known].reset_index(drop=True)


def _check(fit: Fit, weights: np.ndarray) -> Check:
    """Return what a second model says of the same hypothesis."""
    if not fit.converged:
        return Check(TWIN, why_not=fit.message)
    _, _, df, p = wald(fit, weights)
    return Check(TWIN, p) if df >= 1 else Check(TWIN, why_not="less than one degree of freedom is left")
