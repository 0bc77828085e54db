"""P-values against statsmodels, verdicts against the interval, and what the sentences own up to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from aida_tools.claims.model import Direction
from aida_tools.claims.verdict import (
    DISAGREE,
    NOT_SUPPORTED,
    PERMUTATION,
    SHOWN,
    SUPPORTED,
    TWIN,
    Check,
    Evidence,
    agreement,
    claim_p_value,
    obstacle,
    other_methods,
    sentence,
    united,
    verdict_of,
    weakest,
    weakest_status,
)
from aida_tools.core.names import ESTIMATED
from aida_tools.design.contrasts import Contrast

NAN = float("nan")
NUMBER_OF = {status: place for place, status in enumerate(("within-site", "indirect", "between-batch", "between-site"))}


def made(estimate: float, std_error: float = 0.1, status: str = "within-site", **more: object) -> Evidence:
    return Evidence(Contrast("population", "A", "B"), status, estimate, std_error, 40.0, **more)  # type: ignore[arg-type]


def checks(twin: float, permutation: float = NAN) -> tuple[Check, Check]:
    return tuple(  # type: ignore[return-value]
        Check(name, p, "" if p == p else "no batches") for name, p in ((TWIN, twin), (PERMUTATION, permutation))
    )


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


@pytest.mark.parametrize(
    ("direction", "margin", "estimate", "wanted"),
    [
        # t of 40 degrees of freedom and a standard error of 0.1: 2 P(T < -2), and so on.
        ("lower", 1.2, -0.2, 2 * stats.t.sf(2, 40)),
        ("lower", 1.2, 0.05, 1.0),
        ("higher", 1.2, 0.2, 2 * stats.t.sf(2, 40)),
        ("higher", 1.2, -0.05, 1.0),
        # The nearer limit, log(2) = 0.6931, is 0.5931 away on either side.
        ("similar", 2.0, 0.1, 2 * stats.t.sf(5.931, 40)),
        ("similar", 2.0, -0.1, 2 * stats.t.sf(5.931, 40)),
        # log(1.1) = 0.0953: the estimate lies outside.
        ("similar", 1.1, 0.1, 1.0),
        ("similar", 1.1, 0.0, 2 * stats.t.sf(0.953, 40)),
    ],
)
def test_the_p_value_of_a_claim(direction: Direction, margin: float, estimate: float, wanted: float) -> None:
    assert claim_p_value(made(estimate), direction, margin) == pytest.approx(wanted, rel=2e-3)


def test_the_weakest_contrast_is_weakest_for_what_is_claimed() -> None:
    low, high = made(-0.5), made(0.3)
    assert weakest([low, high], "lower", 1.2) is high
    assert weakest([low, high], "higher", 1.2) is low
    # Inside 1/1.4 to 1.4 is the one, outside the other; inside 1/3 to 3 both, 0.5 nearer to the limit.
    assert weakest([high, low], "similar", 1.4) is low
    assert weakest([low, high], "similar", 3.0) is low
    # The margin decides between a sharp estimate near log(1.2) and a blunt one at 0.
    sharp, blunt = made(0.2, 0.02), made(0.0, 0.3)
    assert weakest([sharp, blunt], "similar", 1.21) is sharp
    assert weakest([sharp, blunt], "similar", 1.25) is blunt


@pytest.mark.parametrize(("one", "other"), list(itertools.product(NUMBER_OF, repeat=2)))
def test_the_weakest_status_decides(one: str, other: str) -> None:
    evidence = [made(-1, status=one), made(-0.5, status=other)]
    assert NUMBER_OF[weakest_status(evidence)] == max(NUMBER_OF[one], NUMBER_OF[other])


def test_every_status_with_an_estimate_has_a_verdict_and_only_one_is_plain() -> None:
    assert tuple(SHOWN) == ESTIMATED
    assert [status for status, verdict in SHOWN.items() if verdict == SUPPORTED] == ["within-site"]
    assert "batch" in SHOWN["between-batch"]
    assert "site" in SHOWN["between-site"]
    assert "third population" in SHOWN["indirect"]


@pytest.mark.parametrize("status", list(NUMBER_OF))
@pytest.mark.parametrize(
    ("q", "twin", "permutation", "wanted"),
    [
        (0.001, 0.001, 0.001, "shown"),
        (0.05, 0.05, 0.05, "shown"),
        (0.0501, 0.001, 0.001, NOT_SUPPORTED),
        (0.001, 0.0501, 0.001, DISAGREE),
        (0.001, 0.001, 0.0501, DISAGREE),
        (0.001, 1.0, 1.0, DISAGREE),
        (0.06, 0.9, 0.9, NOT_SUPPORTED),
        # Who cannot be asked cannot object.
        (0.001, NAN, 0.001, "shown"),
        (0.001, 0.001, NAN, "shown"),
        (0.001, NAN, NAN, "shown"),
        (0.001, NAN, 0.06, DISAGREE),
        (0.001, 0.06, NAN, DISAGREE),
    ],
)
def test_a_verdict_needs_all_methods_that_can_be_asked(
    status: str, q: float, twin: float, permutation: float, wanted: str
) -> None:
    assert verdict_of(status, q, checks(twin, permutation)) == (SHOWN[status] if wanted == "shown" else wanted)


def test_another_method_has_to_show_every_contrast() -> None:
    def both(one: tuple[Check, Check], other: tuple[Check, Check]) -> tuple[Check, ...]:
        return united([made(-1, checks=one), made(-1, checks=other)])

    assert both(checks(0.01, 0.2), checks(0.03, 0.1)) == checks(0.03, 0.2)
    # Of one of the two it cannot be asked: the other still counts, and the reason is kept.
    twin, permutation = both(checks(0.01), checks(NAN, 0.04))
    assert (twin.p_value, twin.why_not) == (0.01, "no batches")
    assert (permutation.p_value, permutation.why_not) == (0.04, "no batches")
    nobody = both(checks(NAN), checks(NAN))
    assert [check.asked for check in nobody] == [False, False]
    assert [check.why_not for check in nobody] == ["no batches"] * 2
    why = united([made(-1, checks=(Check(TWIN, why_not=w),)) for w in ("a", "b", "a")])
    assert why[0].why_not == "a; b"


@pytest.mark.parametrize(
    ("p", "twin", "permutation", "wanted"),
    [
        (0.01, 0.02, 0.03, "agree"),
        (0.01, 0.02, NAN, "agree"),
        (0.05, 0.05, 0.05, "agree"),
        (0.2, 0.3, 0.4, "agree"),
        (0.01, 0.02, 0.06, "disagree"),
        (0.01, 0.06, NAN, "disagree"),
        (0.2, 0.01, NAN, "disagree"),
        (0.01, NAN, NAN, "not asked"),
    ],
)
def test_methods_agree_on_the_same_side_of_the_limit(p: float, twin: float, permutation: float, wanted: str) -> None:
    assert agreement(p, checks(twin, permutation)) == wanted


@pytest.mark.parametrize(
    ("twin", "permutation", "wanted"),
    [
        (
            0.01,
            0.002,
            "It is shown by the cluster-robust model (p = 0.01) and the permutation test (p = 0.002) as well.",
        ),
        (
            0.01,
            0.75,
            "It is shown by the cluster-robust model (p = 0.01) as well. But it is not shown by the permutation test "
            "(p = 0.75): the result depends on the method.",
        ),
        (
            0.2,
            NAN,
            "But it is not shown by the cluster-robust model (p = 0.2): the result depends on the method. The "
            "permutation test could not be asked: no batches.",
        ),
    ],
)
def test_other_methods_are_named_with_their_numbers(twin: float, permutation: float, wanted: str) -> None:
    assert other_methods(checks(twin, permutation)) == f" {wanted}"


def test_a_method_that_can_be_asked_of_some_contrasts_only_says_so() -> None:
    said = other_methods([Check(TWIN, 0.01, "2 batches recorded")])
    assert said.endswith("could not be asked of every contrast: 2 batches recorded.")


def test_disagreement_is_told_with_both_numbers() -> None:
    text = sentence([made(-0.5, checks=checks(0.001, 0.75))], "lower", 1e-5)
    assert "Corrected p = 1e-05." in text
    assert "not shown by the permutation test (p = 0.75)" in text


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


@pytest.mark.parametrize("spread", [2.0, 1.25])
def test_a_claim_between_sites_says_which_site_effect_would_explain_it(spread: float) -> None:
    e = made(-0.5, status="between-site", site_spread=spread)
    text = sentence([e], "lower", 0.001)
    assert "cannot tell the two apart" in text
    # The site SD t at which 0.5 is just 2.02 standard errors: 0.1^2 + spread t^2 = (0.5 / 2.02)^2.
    sd = np.sqrt(((0.5 / stats.t.ppf(0.975, 40)) ** 2 - 0.01) / spread)
    assert f"standard deviation of {sd:.2f} on" in text
    assert "standard deviation" not in sentence([e], "similar", 0.001, margin=9.0)
    assert "standard deviation" not in sentence([e], "lower", 0.06)


def test_without_a_spread_of_sites_there_is_no_bound() -> None:
    for status, spread in (("between-site", NAN), ("between-site", 0.0), ("within-site", 2.0), ("indirect", 2.0)):
        assert "standard deviation" not in sentence([made(-0.5, status=status, site_spread=spread)], "lower", 0.001)


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["within-site"], ""),
        (["between-site"], "It compares sites as well as populations"),
        (["between-batch"], "It compares batches as well as populations: a difference between batches can look"),
        (["indirect"], "It rests on other samples"),
        (["between-site", "between-site"], "All of them compare sites"),
        (["between-site", "within-site"], "Some compare sites"),
        (["within-site", "indirect"], "Some rest on other samples"),
    ],
)
def test_what_stays_open_follows_the_statuses(statuses: list[str], words: str) -> None:
    text = sentence([made(-0.5, status=status) for status in statuses], "lower", 0.001)
    assert words in text
    for kind, told in (("between-site", "sites as"), ("between-batch", "batches as"), ("indirect", "other samples")):
        assert (told in text) == (kind in statuses)


def test_what_a_contrast_is_aliased_with_is_said() -> None:
    alias = sentence([made(-0.5, status="between-batch", aliased_with="no batch holds both A and B")], "lower", 0.001)
    assert alias.endswith(" No batch holds both A and B.")
    sex = Evidence(Contrast("sex", "male", "female"), "between-site", -0.5, 0.1, 40.0)
    assert "sites as well as sex groups" in sentence([sex], "lower", 0.001)


@pytest.mark.parametrize(
    ("estimates", "start"),
    [
        ([-0.5], "A against B: odds ratio 0.607"),
        ([-0.5, -0.4], "Both contrasts show it; the weakest is A against B: odds ratio 0.67 "),
        ([-0.5, -0.4, -0.6], "All 3 contrasts show it; the weakest is A against B: odds ratio 0.67 "),
    ],
)
def test_a_supported_claim_leads_with_its_weakest_contrast(estimates: list[float], start: str) -> None:
    assert sentence([made(e) for e in estimates], "lower", 0.01).startswith(start)


@pytest.mark.parametrize(
    ("estimates", "start"),
    [
        (
            [-0.5, 0.0],
            "The claim needs both contrasts, and 1 of them shows it; the weakest is A against B: odds ratio 1 ",
        ),
        ([0.0, 0.1], "The claim needs both contrasts, and none of them shows it"),
        ([-0.5, -0.4, 0.1], "The claim needs all 3 contrasts, and 2 of them show it"),
    ],
)
def test_a_claim_needs_all_its_contrasts(estimates: list[float], start: str) -> None:
    assert sentence([made(e) for e in estimates], "lower", 0.5).startswith(start)


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
