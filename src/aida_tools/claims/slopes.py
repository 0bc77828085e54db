"""Whether the effect of a column is the same in several populations: the model with the interaction."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from aida_tools.claims.answers import Missing, why_no_twin
from aida_tools.claims.evidence import numerator, used_samples
from aida_tools.claims.model import Interaction
from aida_tools.claims.verdict import TWIN, Check
from aida_tools.core.names import weakest_of
from aida_tools.design.contrasts import Contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import parse_formula
from aida_tools.design.sites import standing, tolerable
from aida_tools.models.cluster import MODEL as CLUSTER
from aida_tools.models.contributions import contributions
from aida_tools.models.data import Data, Estimate, Fit
from aida_tools.models.model import Model
from aida_tools.models.omnibus import wald
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs, Setting
from aida_tools.results.refit import Comparison


class Slopes(NamedTuple):
    """A Wald F test of all interaction terms.

    Attributes
    ----------
    statistic, df, df_residual, p_value
        F, its degrees of freedom, and its p-value.
    status
        `within-site` only where no effect of a site, on shares or on slopes, enters a difference of slopes.
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
    counts = counts.take(pd.Index(asked.samples["sample_id"]).get_indexer(samples["sample_id"]))
    covariates = " + sex" if samples["sex"].nunique() > 1 and test.column != "sex" else ""
    formula = parse_formula(f"~ population * {test.column}{covariates}", samples.columns)
    designs = Designs(samples, formula, [Contrast(test.column)])
    robust = bool(asked.options["robust"])
    by = _Fitted.of(MODELS[asked.odds_model], designs, counts, name, robust=robust)
    if not by.fit.converged:
        raise Missing(f"the model of {test.column} by population was not fitted: {by.fit.message}")
    if len(by.weights) < len(test.populations) - 1:
        raise Missing(f"the samples cannot tell the effect of {test.column} apart between the populations")
    statistic, df, df_residual, p = wald(by.fit, by.weights)
    if not np.isfinite(p):
        raise Missing(f"no degrees of freedom are left to compare the effects of {test.column}")
    why = why_no_twin(asked, counts)
    twin = Check(TWIN, why_not=why) if why else _check(_Fitted.of(CLUSTER, designs, counts, name, robust=robust))
    vectors = by.slopes(test)
    status = _status(test.column, by, list(vectors.values()))
    return Slopes(
        statistic, df, df_residual, p, status, {k: by.fit.contrast(v) for k, v in vectors.items()}, twin
    ), types


class _Fitted(NamedTuple):
    """One model in its design; `weights` has a row for each interaction term."""

    setting: Setting
    data: Data
    fit: Fit
    weights: np.ndarray

    @classmethod
    def of(cls, model: Model, designs: Designs, counts: Denominator, name: str, *, robust: bool) -> _Fitted:
        setting = designs.settings(counts.only(name) if model.one_type else counts, model)[0]
        data = setting.data(robust=robust)
        fit = model.fit(data)[setting.denominator.types.index(name)]
        columns = setting.design.names
        return cls(setting, data, fit, np.eye(len(columns))[[":" in column for column in columns]])

    def slopes(self, test: Interaction) -> dict[str, np.ndarray]:
        """Return the weights of each population's slope, shape (p,)."""
        design, population = self.setting.design, self.setting.samples["population"]
        up, down = design.sides(Contrast(test.column))
        return {p: design.reduce((up - down)[(population == p).to_numpy()].mean(axis=0)) for p in test.populations}


def _status(column: str, by: _Fitted, slopes: list[np.ndarray]) -> str:
    """Return the weakest status of the differences between slopes, each given by its weights, shape (p,).

    A site may shift its samples, and it may tilt them: with populations at sites of their own a tilt is a difference
    of slopes, although no shift is. A tilt of one unit a standard deviation of the column counts as a shift of one.
    """
    values, places = by.setting.samples[column].to_numpy(float), by.setting.places
    effects, tilt = contributions(by.data, by.fit), (values - values.mean()) / values.std()
    found = []
    for one, other in combinations(slopes, 2):
        weights = effects @ (one - other)
        harmless = tolerable(by.fit.contrast(one - other).std_error, 1.0)
        leaks = places.leaks(np.column_stack([weights, tilt * weights]), [Contrast(column)] * 2)
        inside = places.inside_batches(by.setting.design, one - other)
        told = (standing(Contrast(column), each, places, harmless, inside=inside, fixable=False) for each in leaks)
        found += [each.status for each in told]
    return weakest_of(found)


def _samples(samples: pd.DataFrame, test: Interaction) -> pd.DataFrame:
    """Return the samples of the populations in which the column and the sex are known."""
    if test.column not in samples or not pd.api.types.is_numeric_dtype(samples[test.column]):
        raise Missing(f"'{test.column}' is not a number in the comparison's samples")
    for population in test.populations:
        if not (samples["population"] == population).any():
            raise Missing(f"no sample of population {population} is in the comparison")
    known = samples[test.column].notna() & samples["sex"].ne("unknown")
    return samples[samples["population"].isin(test.populations) & known].reset_index(drop=True)


def _check(by: _Fitted) -> Check:
    """Return what a second model says of the same hypothesis."""
    if not by.fit.converged:
        return Check(TWIN, why_not=by.fit.message)
    _, _, df, p = wald(by.fit, by.weights)
    return Check(TWIN, p) if df >= 1 else Check(TWIN, why_not="less than one degree of freedom is left")
