"""Beta-binomial regression with the batches as columns of the design: only donors of one batch are compared."""

from __future__ import annotations

from dataclasses import replace

from aida_tools.models.betabinomial import fit_betabinomial
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.model import LOG_ODDS, Model


def fit_by_batch(data: Data) -> list[Fit]:
    """Fit each type with the batches as columns of the design.

    So many coefficients make the samples look alike: as least squares does, the variance is divided by n - p and not n.
    """
    n, p = data.design.shape
    if data.groups is None:
        return [failed(p, "no batch is recorded to compare inside of", "too-few")] * data.counts.shape[1]
    return [
        replace(fit, cov=fit.cov * n / (n - p), message="" if fit.converged else fit.message)
        for fit in fit_betabinomial(data)
    ]


MODEL = Model(
    name="betabinomial-batch",
    fit=fit_by_batch,
    link="logit",
    unit=LOG_ODDS,
    words="beta-binomial regression with fixed effects for the batch",
    reference="Beta-binomial with the batch as a factor: compares donors of the same batch only",
    marker=("s", "#009E73"),
    one_type=True,
    separates=True,
    by_batch=True,
)
