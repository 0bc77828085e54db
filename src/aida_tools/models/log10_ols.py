"""Least squares on the log10 share: the reference study's model."""

from __future__ import annotations

import numpy as np

from aida_tools.core.words import counted
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.linear import least_squares
from aida_tools.models.model import Model


def fit_log10(data: Data) -> list[Fit]:
    """Fit `log10(share)` by least squares; samples without a cell of a type are left out of that type's model.

    This is what the reference study did, on purpose: `lm(log10(Proportion) ~ Age + Sex + <population>)`.
    """
    fits = []
    p = data.design.shape[1]
    for counts in data.counts.T:
        used = counts > 0
        design = data.design[used]
        if used.sum() <= p or np.linalg.matrix_rank(design) < p:
            some = counted(int(used.sum()), "sample")
            why = f"only {some} with a {data.unit} of this type, in which the design is singular"
            fits.append(failed(p, why, "too-few"))
            continue
        fit = least_squares(np.log10(counts[used] / data.totals[used]), design)
        fits.append(Fit(fit.coef, fit.cov, fit.df, precision=fit.precision, used=used))
    return fits


MODEL = Model(
    name="log10-ols",
    fit=fit_log10,
    link="log10",
    unit="log10 of the ratio of shares",
    words="least squares on log10 shares, samples without a cell of the type left out (the reference study's model)",
    reference="Kock et al. 2025, doi 10.1016/j.cell.2025.02.017: lm(log10(Proportion) ~ ...), zeros dropped",
    marker=("o", "#D55E00"),
    one_type=True,
    drops_zeros=True,
    of_shares=True,
    recruited_rest=True,
)
