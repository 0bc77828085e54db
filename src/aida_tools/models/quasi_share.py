"""Logistic regression of shares without counts: every share weighs alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.model import LOG_ODDS, Model
from aida_tools.models.quasibinomial import fit_one


def fit_quasi_share(data: Data) -> list[Fit]:
    """Fit each type's shares with equal weights, in the samples where it was measured."""
    n, p = data.design.shape
    fits = []
    for share in (data.counts / data.totals[:, None]).T:
        used = ~np.isnan(share)
        design = data.design[used]
        if used.sum() <= p or np.linalg.matrix_rank(design) < p:
            why = f"measured in {used.sum()} of {n} samples, and the design is singular in them"
            fits.append(failed(p, why, "too-few"))
        else:
            fits.append(replace(fit_one(share[used], np.ones(int(used.sum())), design), used=used))
    return fits


MODEL = Model(
    name="quasi-share",
    fit=fit_quasi_share,
    link="logit",
    unit=f"{LOG_ODDS}; every share weighs alike, whatever the cells behind it",
    words="quasi-binomial regression of shares with equal weights",
    reference="Fractional logit of shares without counts; Papke and Wooldridge 1996",
    marker=("<", "#999933"),
    one_type=True,
    separates=True,
    of_counts=False,
    of_shares=True,
)
