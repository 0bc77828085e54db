"""P-values against statsmodels, verdicts against the interval, and what the sentences own up to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from aida_tools.claims.model import Direction
from aida_tools.claims.verdict import (
    ALIASED,
    NOT_SUPPORTED,
    SUPPORTED,
    Evidence,
    claim_p_value,
    obstacle,
    sentence,
    verdict_of,
    weakest,
)
from aida_tools.design.contrasts import Contrast


def made(estimate: float, std_error: float = 0.1, status: str = "within-site", **more: object) -> Evidence:
    return Evidence(Contrast("population", "A", "B"), status, estimate, std_error, 40.0, **more)  # type: ignore[arg-type]


def test_p_values_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.05, 0.4, 60), rng.normal(0, 0.4, 50)
    test = stats.ttest_ind(a, b)
    evidence = Evidence("x: a - b", "within-site", a.mean() - b.mean(), (a.mean() - b.mean()) / test.statistic, test.df)
    assert claim_p_value(evidence, "higher") == pytest.approx(
        min(1, 2 * stats.ttest_ind(a, b, alternative="greater").pvalue)
    )
    assert claim_p_value(evidence, "lower") == pytest.approx(
        min(1, 2 * stats.ttest_ind(a, b, alternative="less").pvalue)
    )
    bound = float(np.log(1.3))
    assert claim_p_value(evidence, "similar", 1.3) == pytest.approx(min(1, 2 * ttost_ind(a, b, -bound, bound)[0]))


@pytest.mark.parametrize("estimate", np.linspace(-0.5, 0.5, 21))
@pytest.mark.parametrize("direction", ["lower", "higher", "similar"])
def test_a_claim_is_shown_exactly_where_the_interval_is_on_its_side(direction: Direction, estimate: float) -> None:
    e = made(float(estimate))
    low, high = e.interval
    side = {"lower": high < 0, "higher": low > 0, "similar": -np.log(1.4) < low and high < np.log(1.4)}[direction]
    assert (claim_p_value(e, direction, 1.4) < 0.05) == side


def test_all_contrasts_must_show_it_and_one_between_sites_aliases_the_claim() -> None:
    strong, weak = made(-0.9), made(-0.21, status="between-site")
    assert weakest([strong, weak], "lower", 1.2) is weak
    q = claim_p_value(weak, "lower")
    assert verdict_of([strong, weak], q) == ALIASED
    assert verdict_of([strong, strong], claim_p_value(strong, "lower")) == SUPPORTED
    assert verdict_of([strong, weak], 0.051) == NOT_SUPPORTED


def test_the_intersection_union_test_keeps_its_level() -> None:
    """Lowest of all: one of the two true differences is nothing, the other is large."""
    rng = np.random.default_rng(2)
    declared = 0
    for z in rng.normal(size=(2000, 2)):
        pair = [Evidence("x", "within-site", 0.1 * z[0], 0.1, np.inf), Evidence("y", "within-site", -1.0, 0.1, np.inf)]
        declared += claim_p_value(weakest(pair, "lower", 1.2), "lower") <= 0.05
    # One-sided at 0.025 by construction.
    assert declared / 2000 == pytest.approx(0.025, abs=0.011)


def test_lack_of_evidence_is_told_from_evidence_of_absence() -> None:
    wide, narrow = made(-0.05, 0.1), made(0.01, 0.03)
    lack = sentence([wide], "lower", 0.6)
    assert "a lack of evidence, not evidence of no difference" in lack
    low = np.exp(wide.interval[0])
    assert f"excludes odds ratios below {low:.3g}" in lack
    # 80 % power at the t of 40 degrees of freedom.
    found = np.exp(-0.1 * (stats.t.ppf(0.975, 40) + stats.t.ppf(0.8, 40)))
    assert f"has 80 % power to find an odds ratio of {found:.2g}" in lack
    absence = sentence([narrow], "lower", 0.8)
    assert "evidence that any difference is small" in absence
    assert "lack of evidence, not" not in absence


def test_the_other_way_is_said() -> None:
    assert "show the opposite" in sentence([made(0.5)], "lower", 1.0)
    assert "show the opposite" in sentence([made(-0.5)], "higher", 1.0)


def test_a_supported_claim_between_sites_says_what_it_cannot_tell() -> None:
    text = sentence([made(-0.5, status="between-site")], "lower", 0.001)
    assert "cannot tell the two apart" in text
    # The site SD t at which 0.5 is just 2.02 standard errors: 0.1^2 + 2 t^2 = (0.5 / 2.02)^2.
    sd = np.sqrt(((0.5 / stats.t.ppf(0.975, 40)) ** 2 - 0.01) / 2)
    assert f"standard deviation of {sd:.2f} on" in text
    assert "cannot tell" not in sentence([made(-0.5)], "lower", 0.001)
    alias = sentence([made(-0.5, aliased_with="no batch holds both A and B")], "lower", 0.001)
    assert "But no batch holds both A and B." in alias


def test_correction_alone_can_take_a_claim_back() -> None:
    text = sentence([made(-0.22)], "lower", 0.09)
    assert "not after correction" in text


@pytest.mark.parametrize(
    ("estimate", "error", "words"),
    [(0.5, 0.05, "lies outside"), (0.0, 0.3, "Neither a difference"), (0.2, 0.05, "A difference is shown, but")],
)
def test_what_is_not_similar_is_told_apart(estimate: float, error: float, words: str) -> None:
    assert words in sentence([made(estimate, error)], "similar", 0.9)


def test_missing_estimates_are_named() -> None:
    gone = Evidence(Contrast("population", "A", "rest"), "too-few", note="A has 1 sample")
    assert obstacle([made(-1.0), gone]) == "A against all others: A has 1 sample"
    assert not gone.known
