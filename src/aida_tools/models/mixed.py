"""The primary model: beta-binomial regression with intercepts for batches and, where they repeat, for donors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from aida_tools.core.words import counted
from aida_tools.models.betabinomial import fit_plain, log_binomials, working_weights
from aida_tools.models.containment import Containment, batch_freedom, between_columns
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.laplace import Intercepts, Restricted
from aida_tools.models.model import LOG_ODDS, Model

#: Degrees of freedom that the batches of a site must leave for a standard deviation of their own: three batches of one
#: population. With fewer the standard deviation of all sites is taken.
OWN_FREEDOM = 2.0


def why_no_batches(data: Data) -> str:
    """Say why no batch intercept can be fitted; empty if one can."""
    if data.groups is None:
        return "no batch is recorded"
    if data.n_groups > (between := between_columns(data)):
        return ""
    return f"{counted(data.n_groups, 'batch', 'batches')}, {counted(between, 'between-batch coefficient')}"


def own_variance(data: Data) -> np.ndarray:
    """Return which batches have a standard deviation of their site's own, shape (g,), boolean."""
    if data.sites is None:
        return np.ones(data.n_groups, bool)
    freedom = batch_freedom(data)
    return np.asarray(np.bincount(data.sites, freedom)[data.sites] > OWN_FREEDOM - 1e-6)


def _fit_one(counts: np.ndarray, data: Data, plain: Fit, *, batches: bool, own: np.ndarray) -> Fit:
    """Fit one cell type; `own` as of `own_variance`."""
    if not plain.converged:
        return plain
    totals = data.totals.astype(float)
    one = np.zeros(data.n_groups, int)
    groups = one if data.sites is None or not own.any() else data.sites
    codes = data.groups if batches else None

    def restricted(intercepts: Intercepts) -> Restricted:
        return Restricted(counts, totals, data.design, intercepts, plain.coef)

    held: dict[int, float] = {}
    if batches and own.any() and not own.all():
        together = restricted(Intercepts(codes, one, donors=data.donors)).fit(plain.precision)
        held = {int(k): float(together.sds[0]) for k in np.unique(groups[~own])}
    try:
        found = restricted(Intercepts(codes, groups, held, data.donors)).fit(plain.precision)
    except np.linalg.LinAlgError:
        return failed(data.design.shape[1], "the fit did not converge: its information matrix is singular")
    eta = data.design @ found.coef
    weights = working_weights(counts, totals, eta, found.precision)
    fit = replace(
        plain,
        coef=found.coef,
        cov=found.cov,
        precision=found.precision,
        converged=found.reached,
        message="" if found.reached else "the fit did not converge",
        loglik=found.loglik + log_binomials(counts, totals),
        batch_sd=found.sds[groups] if batches else None,
        pooled=~own if batches else None,
        donor_sd=found.donor_sd,
        weights=weights,
    )
    df = Containment(data, fit)
    # Only what donors vary by is estimated; the error of counting is known.
    counting = totals * special.expit(eta) * special.expit(-eta)
    estimated = float(np.clip(1 - weights / counting, 0, 1).mean())
    cov = fit.cov * (1 + (df.shortfall - 1) * estimated)
    return replace(fit, cov=cov, df=min(df.between, df.inside) if batches else df.inside, df_of=df)


def fit_mixed(data: Data) -> list[Fit]:
    """Fit each type with a normal intercept for each batch and, where donors repeat, for each donor.

    Restricted maximum likelihood (see `laplace`), t with the degrees of freedom of `Containment`. Batches of a site
    have a standard deviation of their own where they are enough to tell it (`OWN_FREEDOM`). Where the batches are no
    more than the coefficients told between them (one batch a site, or none recorded) their intercept is left out, and
    the fit's message says so.
    """
    note = why_no_batches(data)
    if note:
        note = f"batch variance cannot be estimated ({note}); the interval ignores it"
    own = np.ones(0, bool) if note else own_variance(data)
    counts = np.ascontiguousarray(data.counts.T, dtype=float)
    pairs = zip(counts, fit_plain(data), strict=True)
    fits = [_fit_one(y, data, plain, batches=not note, own=own) for y, plain in pairs]
    return [replace(fit, message=fit.message or note) for fit in fits]


MODEL = Model(
    name="betabinomial-mixed",
    fit=fit_mixed,
    link="logit",
    unit=LOG_ODDS,
    words="beta-binomial regression by restricted maximum likelihood with a random intercept for the batch, and for "
    "the donor where donors have several samples",
    reference="Beta-binomial with normal intercepts, restricted maximum likelihood by Laplace's approximation; Brooks "
    "et al. 2017 (glmmTMB), doi 10.32614/RJ-2017-066",
    marker=("o", "#1a1a1a"),
    one_type=True,
    separates=True,
    knows_donors=True,
)
