"""Plausible site effects: the likelihood against metafor, the integrals against R and against simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aida_tools.robustness import reml
from aida_tools.robustness.prior import SITE_SDS, site_prior

Y = np.array([-3.02, -2.61, -3.35, -2.88, -3.14])
V = np.array([0.020, 0.035, 0.015, 0.050, 0.028])


@pytest.fixture(scope="module")
def oracle() -> pd.Series:
    path = Path(__file__).parents[1] / "oracles" / "site_prior.tsv"
    return pd.read_csv(path, sep="\t", comment="#").set_index("name")["value"]


def loglik(sd: float) -> float:
    return reml.fit(Y, V, np.ones((5, 1)), [np.arange(5)], fixed={0: sd}).loglik


def test_the_restricted_likelihood_agrees_with_metafor(oracle: pd.Series) -> None:
    for name, want in oracle[oracle.index.str.startswith("loglik")].items():
        assert loglik(float(str(name).split("_")[1])) - loglik(0.0) == pytest.approx(want, abs=1e-9)


def test_the_distribution_and_its_integrals_agree_with_r(oracle: pd.Series) -> None:
    prior = site_prior(np.nan, [np.array([loglik(float(sd)) for sd in SITE_SDS])])
    assert prior.scale == 0.3
    assert prior.mean(prior.sd) == pytest.approx(oracle["mean_sd"], rel=2e-4)
    assert prior.quantile(float(oracle["below_0.2"])) == pytest.approx(0.2, rel=1e-3)
    shares = oracle[oracle.index.str.startswith("share")]
    assert len(shares) == 3
    for name, want in shares.items():
        limit, spread = (float(part) for part in str(name).split("_")[1:])
        assert prior.share_below(limit, spread) == pytest.approx(want, abs=2e-4)


def test_without_data_it_is_the_half_normal() -> None:
    prior = site_prior(0.1)
    np.testing.assert_allclose(prior.density, prior.start, rtol=1e-5)
    half = stats.halfnorm(scale=0.3)
    for level in (0.05, 0.5, 0.95):
        assert prior.quantile(level) == pytest.approx(half.ppf(level), rel=1e-3)
    assert prior.mean(np.ones(len(prior.sd))) == pytest.approx(1)


def test_sites_vary_no_less_than_batches() -> None:
    assert site_prior(0.5).scale == 0.5
    assert site_prior(0.2).scale == 0.3
    assert site_prior(0.5).quantile(0.5) == pytest.approx(stats.halfnorm(scale=0.5).median(), rel=1e-3)


def test_the_share_of_site_effects_is_that_of_simulated_ones() -> None:
    """A million standard deviations and site effects, three sites of weights 1, -0.7 and -0.3."""
    rng = np.random.default_rng(1)
    weights = np.array([1, -0.7, -0.3])
    sd = np.abs(rng.normal(0, 0.3, 1_000_000))
    added = (rng.normal(size=(1_000_000, 3)) * sd[:, None]) @ weights
    prior, spread = site_prior(np.nan), float(weights @ weights)
    for limit in (0.4, 0.1, -0.2):
        # Four standard errors of a share among a million.
        assert prior.share_below(limit, spread) == pytest.approx(float((added < limit).mean()), abs=0.002)


def test_measurements_multiply() -> None:
    one = -((SITE_SDS - 0.4) ** 2) / 0.02
    both, start = site_prior(np.nan, [one, one]), site_prior(np.nan)
    near = (both.sd > 0.2) & (both.sd < 0.6)
    told = np.log(both.density[near] / both.start[near])
    want = -2 * (both.sd[near] - 0.4) ** 2 / 0.02
    np.testing.assert_allclose(told - told.max(), want - want.max(), atol=1e-6)
    assert both.quantile(0.5) > site_prior(np.nan, [one]).quantile(0.5) > start.quantile(0.5)


def test_an_estimate_of_nothing_keeps_its_sign_half_the_time() -> None:
    prior = site_prior(np.nan)
    assert prior.share_below(1e-12, 2.0) == pytest.approx(0.5, abs=0.01)
    assert prior.share_below(50.0, 2.0) == pytest.approx(1)
    assert prior.share_below(-50.0, 2.0) == pytest.approx(0, abs=1e-6)


def test_the_curve_is_that_of_the_densities() -> None:
    prior = site_prior(0.5)
    curve = pd.DataFrame(prior.curve())
    assert curve["site_sd"].is_monotonic_increasing
    np.testing.assert_allclose(curve["start"], stats.halfnorm.pdf(curve["site_sd"], scale=0.5), rtol=1e-9)
    assert np.trapezoid(curve["density"], curve["site_sd"]) == pytest.approx(1, abs=5e-3)
    assert 60 < len(curve) < 400
