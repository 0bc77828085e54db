"""Standardised shares: algebra and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from aida_tools.models.data import Fit
from aida_tools.models.links import Link, inverse_link, mean_share
from aida_tools.models.standardise import side, standardised

RNG = np.random.default_rng(2)
FIT = Fit(np.array([-2.5, 0.4, 0.01]), np.diag([0.01, 0.02, 1e-5]), 30.0)
AGE = RNG.uniform(20, 70, 50)
A, B = (np.column_stack([np.ones(50), np.full(50, on), AGE - 45]) for on in (1.0, 0.0))


def test_without_covariates_it_is_the_group_itself() -> None:
    rows = np.ones((9, 1))
    fit = Fit(np.array([-2.0]), np.array([[0.04]]), 12.0)
    got = standardised(side("logit", rows, fit), side("logit", rows, fit), fit.cov, 12.0)
    t = stats.t.ppf(0.975, 12)
    assert got["share_a"] == pytest.approx(special.expit(-2.0))
    assert (got["share_a_low"], got["share_a_high"]) == pytest.approx(
        tuple(special.expit([-2 - t * 0.2, -2 + t * 0.2]))
    )
    assert (got["difference"], got["ratio"], got["ratio_low"], got["ratio_high"]) == pytest.approx((0, 1, 1, 1))


@pytest.mark.parametrize(("link", "group_sd"), [("logit", 0.0), ("logit", 0.4), ("log10", 0.0), ("asin", 0.0)])
def test_slopes_are_derivatives(link: Link, group_sd: float) -> None:
    eta = {"logit": np.linspace(-6, 2, 9), "log10": np.linspace(-4, -0.1, 9), "asin": np.linspace(0.05, 1.5, 9)}[link]
    h = 1e-6
    up, down = (inverse_link(link, eta + step, group_sd)[0] for step in (h, -h))
    np.testing.assert_allclose(inverse_link(link, eta, group_sd)[1], (up - down) / (2 * h), rtol=1e-6)


def test_delta_method_is_the_spread_of_drawn_coefficients() -> None:
    got = standardised(side("logit", A, FIT), side("logit", B, FIT), FIT.cov, np.inf)
    drawn = np.random.default_rng(0).multivariate_normal(FIT.coef, FIT.cov, 20_000)
    shares = [special.expit(drawn @ rows.T).mean(axis=1) for rows in (A, B)]
    for value, name in ((shares[0] - shares[1], "difference"), (np.log(shares[0] / shares[1]), "ratio")):
        low, high = np.array([got[f"{name}_low"], got[f"{name}_high"]])
        width = np.log(high / low) if name == "ratio" else high - low
        assert width == pytest.approx(2 * 1.96 * value.std(), rel=0.04)
    assert got["ratio"] == pytest.approx(shares[0].mean() / shares[1].mean(), rel=0.01)


def test_batches_are_averaged_over() -> None:
    """A normal intercept pulls the mean share towards a half; checked by drawing it."""
    drawn = special.expit(-2.5 + 0.5 * np.random.default_rng(1).normal(size=400_000)).mean()
    assert mean_share("logit", np.array([-2.5]), 0.5) == pytest.approx(drawn, rel=2e-3)
    assert mean_share("logit", np.array([-2.5]), 0.5) > special.expit(-2.5)


def test_a_log_ratio_gives_no_share() -> None:
    assert np.isnan(mean_share("clr", np.array([0.3])))


def test_a_share_of_nothing_has_no_interval() -> None:
    with np.errstate(under="ignore"):
        nothing = replace(FIT, coef=np.zeros(3))
        got = standardised(side("asin", A * 0, nothing), side("asin", B * 0, nothing), FIT.cov, 30.0)
    assert got["share_a"] == 0
    assert np.isnan(got["share_a_low"])
    assert "ratio" not in got
