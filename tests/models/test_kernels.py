"""The small steps that fits are made of, each against numbers worked out by hand or by another library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special

from aida_tools.design.questions import Question
from aida_tools.models.betabinomial import fit_betabinomial, fit_one, maximise, working_weights
from aida_tools.models.data import Data, Fit, failed
from aida_tools.models.fitting import _wald_row
from aida_tools.models.likelihood import _gammas, all_terms
from aida_tools.models.links import Link, inverse_link, mean_share, per_log_odds
from aida_tools.models.mixed import MODEL as MIXED
from aida_tools.models.mixed import fit_mixed
from aida_tools.models.omnibus import Hypothesis
from aida_tools.models.quasi_share import fit_quasi_share
from aida_tools.models.quasibinomial import deviance, irls

TOP = np.array([1.0, -2.0])


def hill(point: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """-(x - 1)^2 - 2 (y + 2)^2, its gradient and Hessian."""
    away, curve = point - TOP, np.array([1.0, 2.0])
    return -float(curve @ away**2), -2 * curve * away, -2 * np.diag(curve)


@pytest.mark.parametrize(
    ("start", "lower", "upper", "wanted"),
    [
        # Inside: Newton is there at once.
        ([5.0, 5.0], [-9, -9], [9, 9], TOP),
        # One parameter is held at a bound, the other goes on.
        ([5.0, 5.0], [-9, 0], [9, 9], [1.0, 0.0]),
        ([-5.0, 5.0], [-9, -9], [0.5, 9], [0.5, -2.0]),
        # Both are pulled out of the corner in which they start.
        ([0.0, 0.0], [-9, 0], [0, 9], [0.0, 0.0]),
    ],
)
def test_a_maximum_is_found_within_its_bounds(start: list, lower: list, upper: list, wanted: Any) -> None:
    found, reached = maximise(hill, np.array(start), np.array(lower, float), np.array(upper, float))
    assert found == pytest.approx(np.asarray(wanted), abs=1e-9)
    assert reached is True


def test_what_has_no_maximum_is_not_called_one() -> None:
    found, reached = maximise(
        lambda x: (float(x[0]), np.ones(1), np.full((1, 1), -1e-3)), np.zeros(1), np.full(1, -1e9), np.full(1, 1e9)
    )
    assert found[0] > 1000
    assert not reached


def test_a_likelihood_that_rises_for_ever_but_by_nothing_has_settled() -> None:
    """A batch without a cell: log-likelihood -exp(x), whose maximum is at minus infinity."""

    def falling(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        e = np.exp(x)
        return -float(e[0]), -e, -np.diag(e)

    found, reached = maximise(falling, np.zeros(1), np.full(1, -500.0), np.full(1, 500.0))
    assert reached
    assert found[0] < -8


def test_the_deviance_is_that_of_statsmodels() -> None:
    counts, totals = np.array([0.0, 3, 10, 7]), np.array([10.0, 10, 10, 20])
    mean = np.array([0.1, 0.2, 0.9, 0.5])
    wanted = sm.families.Binomial().deviance(counts / totals, mean, var_weights=totals)
    assert deviance(counts, totals, mean) == pytest.approx(wanted, rel=1e-12)


def test_without_batches_a_mean_share_is_that_of_the_logistic_function() -> None:
    eta = np.array([-3.0, -1.0, 0.5])
    assert mean_share("logit", eta) == pytest.approx(special.expit(eta).mean(), rel=1e-12)
    assert mean_share("logit", eta, 1.0) > mean_share("logit", eta) + 0.005


@pytest.mark.parametrize("x", [0.05, 0.7, 3.2, 9.99, 10.0, 11.3, 40.0, 1e5])
def test_log_gamma_and_its_derivatives_are_scipys(x: float) -> None:
    wanted = [float(f) for f in (special.gammaln(x), *(special.polygamma(k, x) for k in range(3)))]
    assert _gammas(x) == pytest.approx(wanted, rel=1e-13, abs=1e-14)


@pytest.mark.parametrize("link", ["logit", "log10", "asin"])
@pytest.mark.parametrize("share", [0.02, 0.4])
def test_a_difference_of_log_odds_on_the_scale_of_a_link(link: Link, share: float) -> None:
    """A step of the log-odds by 1e-5, and the step of the linear predictor that makes the same share."""
    eta = {"logit": special.logit(share), "log10": np.log10(share), "asin": np.arcsin(np.sqrt(share))}[link]
    h = 1e-5
    step = h * per_log_odds(link, share)
    moved = inverse_link(link, np.array([eta + step]), 0.0)[0][0]
    assert special.logit(moved) == pytest.approx(special.logit(share) + h, abs=1e-9)


def test_a_regression_that_was_stopped_has_not_settled() -> None:
    rng = np.random.default_rng(3)
    totals, x = np.full(40, 100.0), np.column_stack([np.ones(40), rng.normal(size=40)])
    counts = rng.binomial(100, special.expit(x @ [-1.0, 0.8])).astype(float)
    assert irls(counts, totals, x)[3] is True
    assert irls(counts, totals, x, iterations=1)[3] is False


def test_columns_that_cannot_be_told_apart_are_a_state() -> None:
    rng = np.random.default_rng(4)
    column = rng.normal(size=30)
    fit = fit_one(rng.binomial(50, 0.3, 30).astype(float), np.full(30, 50.0), np.column_stack([column, column]))
    assert not fit.converged
    assert "separation" in fit.message


def test_shares_that_are_nearly_all_or_nothing_have_a_precision_below_one() -> None:
    """Beta(0.1, 0.1): precision 0.2."""
    rng = np.random.default_rng(5)
    counts = rng.binomial(200, rng.beta(0.1, 0.1, 400)).astype(float)
    fit = fit_betabinomial(Data(counts[:, None], np.full(400, 200.0), np.ones((400, 1))))[0]
    assert fit.precision == pytest.approx(0.2, rel=0.25)


@pytest.mark.parametrize("precision", [8.0, 50.0, 3000.0])
def test_weights_are_by_moments_and_their_sum_by_the_likelihood(precision: float) -> None:
    rng = np.random.default_rng(1)
    totals = rng.integers(50, 900, 400).astype(float)
    eta = rng.normal(-2, 0.5, 400)
    mean = special.expit(eta)
    counts = rng.binomial(totals.astype(int), rng.beta(precision * mean, precision * (1 - mean))).astype(float)
    weights = working_weights(counts, totals, eta, precision)
    assert weights.sum() == pytest.approx(-all_terms(counts, totals, eta, float(np.log(precision)))[3].sum())
    # Of a share's variance, p (1 - p) (1 + (n - 1) / (phi + 1)) / n, as log-odds.
    variance = (1 + (totals - 1) / (precision + 1)) / (totals * mean * (1 - mean))
    assert weights * variance == pytest.approx(np.full(400, (weights * variance)[0]))


def wald_note(fit: Fit, nothing: str = "") -> dict[str, Any]:
    question = Question(None, None, None, np.array([0.0, 1.0]), None, None, "", "", 1)  # type: ignore[arg-type]
    denominator = SimpleNamespace(annotator="a", name="all", types=["t"], unit="cell")
    setting: Any = SimpleNamespace(denominator=denominator, nothing=lambda k: nothing)
    return _wald_row(setting, MIXED, Data(*[np.ones((2, 2))] * 3), Hypothesis("population", [question], ""), 0, fit)


@pytest.mark.parametrize(
    ("fit", "nothing", "note"),
    [
        (failed(2, "it did not converge"), "", "it did not converge"),
        (failed(2, ""), "", "not fitted"),
        (failed(2, "it did not converge"), "no sample has a cell of this type", "no sample has a cell of this type"),
        (Fit(np.zeros(2), np.eye(2), 0.0), "", "not fitted"),
        (
            Fit(np.zeros(2), np.diag([1.0, 1e3]), 5.0),
            "",
            "separated: a population has no cell of this type, or no other",
        ),
        (Fit(np.zeros(2), np.diag([1.0, 0.0]), 5.0), "", "the fit gave no finite standard error"),
        (Fit(np.zeros(2), np.eye(2), 0.5), "", "less than one degree of freedom is left"),
    ],
)
def test_a_test_over_populations_that_cannot_be_made_says_why(fit: Fit, nothing: str, note: str) -> None:
    row = wald_note(fit, nothing)
    assert row["note"] == note
    assert "p_value" not in row


def test_samples_of_a_donor_are_compared_with_the_freedom_that_they_have_inside_donors() -> None:
    """20 donors, four samples each, of which two after: 80 samples less 20 donors and one difference."""
    rng = np.random.default_rng(6)
    donors, after = np.repeat(np.arange(20), 4), np.tile([0.0, 1.0, 0.0, 1.0], 20)
    eta = -2 + rng.normal(0, 0.5, 20)[donors] + rng.normal(0, 0.1, 80)
    counts = rng.binomial(800, special.expit(eta)).astype(float)
    data = Data(counts[:, None], np.full(80, 800.0), np.column_stack([np.ones(80), after]), donors=donors)
    fit = fit_mixed(data)[0]
    assert fit.contrast(np.array([0.0, 1.0])).df == pytest.approx(59, rel=0.02)
    # The mean of all is known as well as there are donors.
    assert fit.contrast(np.array([1.0, 0.5])).df < 25


def test_what_batches_cancel_in_is_not_judged_by_batches() -> None:
    rng = np.random.default_rng(7)
    groups, side = np.repeat(np.arange(8), 10), np.tile([0.0, 1.0], 40)
    counts = rng.binomial(500, special.expit(-2 + rng.normal(0, 0.3, 8)[groups] + rng.normal(0, 0.3, 80))).astype(float)
    data = Data(counts[:, None], np.full(80, 500.0), np.column_stack([np.ones(80), side]), groups)
    df_of: Any = fit_mixed(data)[0].df_of
    assert df_of._between(np.zeros(8)) == df_of.between
    # The mean of all: eight batches less one.
    assert df_of._between(np.full(8, 1 / 8)) == pytest.approx(7, rel=0.01)


def test_shares_are_of_their_totals() -> None:
    rng = np.random.default_rng(8)
    share, design = rng.beta(2, 8, (30, 2)), np.column_stack([np.ones(30), rng.normal(size=30)])
    one, percent = (fit_quasi_share(Data(top * share, np.full(30, top), design)) for top in (1.0, 100.0))
    for a, b in zip(one, percent, strict=True):
        assert a.coef == pytest.approx(b.coef, rel=1e-9)
        assert a.coef[1] != 0
