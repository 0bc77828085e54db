"""Which row answers a claim, and what follows from it: made-up estimates, whose p-values are worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aida_tools.claims import answers as module
from aida_tools.claims.answers import Missing, answers, checked
from aida_tools.claims.model import Claims
from aida_tools.claims.model import Test as ClaimTest
from aida_tools.claims.run import examine
from aida_tools.claims.verdict import DISAGREE, NOT_SUPPORTED, SHOWN, Check, Evidence
from aida_tools.compare.tables import ESTIMATES
from aida_tools.design.contrasts import Contrast
from aida_tools.results.refit import Comparison, load_comparison
from aida_tools.robustness.permutations import Permuted

MIXED, CLUSTER = "betabinomial-mixed", "betabinomial-cluster"
A_B, B_C, AGE = Contrast("population", "A", "B"), Contrast("population", "B", "C"), Contrast("age")
#: The row that is wanted; what differs from it in one key is another question's.
ROW = {
    "cohort": "three", "annotator": "given", "denominator": "all", "cell_type": "bent", "model": MIXED,
    "contrast": "population: A - B", "status": "within-site", "superseded": False, "formula": "~ population",
    "estimate": -0.3, "std_error": 0.1, "df": 20.0, "site_spread": 0.5,
}  # fmt: skip
OTHERS = (
    {"annotator": "gate"}, {"denominator": "T"}, {"cell_type": "parallel"}, {"model": "betabinomial"},
    {"contrast": "population: A - rest"}, {"superseded": True, "formula": "~ population + age"},
)  # fmt: skip


@pytest.fixture
def asked(three_compared: Path) -> Comparison:
    return load_comparison(three_compared)


def with_rows(asked: Comparison, *rows: Mapping[str, object]) -> Comparison:
    """Return the comparison with estimates of these rows only, each surrounded by the answers to other questions."""
    table = []
    for row in rows:
        wrong = [ROW | row | other | {"estimate": 9.0 + k} for k, other in enumerate(OTHERS)]
        table += [*wrong, ROW | row, *wrong]
    return Comparison(dataclasses.replace(asked.results, estimates=ESTIMATES.frame(pd.DataFrame(table))))


def numbers(e: Evidence) -> tuple[float, ...]:
    return e.estimate, e.std_error, e.df, e.site_spread


def test_the_row_of_the_very_question_answers_it(asked: Comparison) -> None:
    made = with_rows(asked, {})
    found = answers(made, asked.primary, "bent", [A_B], MIXED)
    assert numbers(found[0]) == (-0.3, 0.1, 20.0, 0.5)
    assert (found[0].contrast, found[0].status, found[0].unit) == (A_B, "within-site", "")
    turned = answers(made, asked.primary, "bent", [A_B.flipped()], MIXED)
    assert numbers(turned[0]) == (0.3, 0.1, 20.0, 0.5)
    assert turned[0].contrast == A_B.flipped()


def test_the_order_of_the_answers_is_that_of_the_questions(asked: Comparison) -> None:
    made = with_rows(asked, {}, {"contrast": "population: C - B", "estimate": 0.7})
    found = answers(made, asked.primary, "bent", [B_C, A_B], MIXED)
    assert [e.estimate for e in found] == [-0.7, -0.3]


@pytest.mark.parametrize(
    ("per", "column", "unit"),
    [(10.0, "age", "per 10 years"), (1.0, "age", "per year"), (0.5, "age", "per 0.5 years")],
)
def test_a_slope_and_its_spread_are_of_the_unit_of_the_claim(
    asked: Comparison, per: float, column: str, unit: str
) -> None:
    made = with_rows(asked, {"contrast": column})
    found = answers(made, asked.primary, "bent", [AGE], MIXED, per)[0]
    assert numbers(found) == pytest.approx((-0.3 * per, 0.1 * per, 20.0, 0.5 * per**2))
    assert found.unit == unit


def test_what_no_row_answers_is_fitted_again(asked: Comparison) -> None:
    wanted = asked.results.estimates.set_index(["model", "cell_type", "contrast"]).loc[(MIXED, "bent", str(B_C))]
    for superseded in (False, True):
        # A row that another one stands for is no answer, even where that other one is not there.
        made = with_rows(asked, {"contrast": str(B_C), "superseded": superseded})
        found = answers(made, asked.primary, "bent", [B_C, A_B], MIXED)
        fitted = found[0] if superseded else answers(with_rows(asked, {}), asked.primary, "bent", [B_C], MIXED)[0]
        assert fitted.estimate == pytest.approx(wanted["estimate"], abs=1e-8)
        assert fitted.std_error == pytest.approx(wanted["std_error"], abs=1e-8)
        assert (fitted.status, fitted.site_spread) == ("within-site", pytest.approx(0, abs=1e-12))
    with pytest.raises(Missing, match="'site' is not in the formula"):
        answers(made, asked.primary, "bent", [Contrast("site", "X", "Y")], MIXED)


def test_a_row_without_an_estimate_says_why(asked: Comparison) -> None:
    empty = {"status": "too-few", "estimate": None, "std_error": None, "df": None, "note": "A has 1 sample"}
    found = answers(with_rows(asked, empty), asked.primary, "bent", [A_B], MIXED)[0]
    assert not found.known
    assert (found.note, found.aliased_with) == ("A has 1 sample", "")


def a_test(**more: object) -> ClaimTest:
    return ClaimTest.model_validate(
        {"cell_types": ["bent"], "denominator": "all", "contrasts": ["population: A - B"], "direction": "lower",
         "family": "f"} | more
    )  # fmt: skip


@pytest.fixture
def permuted(monkeypatch: pytest.MonkeyPatch) -> list[Permuted | str]:
    """What the permutation test says next, the last of it for good."""
    said: list[Permuted | str] = [Permuted(-0.3, 0.01, 0.0001, "donors within batches")]
    monkeypatch.setattr(module, "permutation_p", lambda *_, **__: said.pop(0) if len(said) > 1 else said[0])
    return said


def check_of(asked: Comparison, place: int, test: ClaimTest, *twin: Mapping[str, object]) -> Check:
    rows = [{"model": CLUSTER, **row} for row in twin]
    made = with_rows(asked, {}, *rows)
    contrasts = [Contrast.parse(text) for text in test.contrasts]
    evidence = answers(made, asked.primary, "bent", contrasts, MIXED, test.per)
    return checked(made, asked.primary, "bent", evidence, test)[0].checks[place]


@pytest.mark.parametrize(
    ("direction", "estimate", "wanted"),
    [
        ("lower", -0.2, 2 * stats.t.sf(2, 20)),
        ("lower", 0.2, 1.0),
        ("higher", 0.2, 2 * stats.t.sf(2, 20)),
        # The upper limit, log(1.5) = 0.4055, is 2.055 standard errors away.
        ("similar", 0.2, 2 * stats.t.sf(2.0547, 20)),
    ],
)
def test_the_cluster_robust_model_is_asked_for_the_same_claim(
    asked: Comparison, permuted: list, direction: str, estimate: float, wanted: float
) -> None:
    check = check_of(asked, 0, a_test(direction=direction, margin=1.5), {"estimate": estimate})
    assert check.p_value == pytest.approx(wanted, rel=1e-3)
    assert check.why_not == ""


def test_the_cluster_robust_model_is_turned_around_and_fitted_where_it_is_not_there(
    asked: Comparison, permuted: list
) -> None:
    test = a_test(direction="higher", contrasts=["population: B - A"])
    assert check_of(asked, 0, test, {"estimate": -0.2}).p_value == pytest.approx(2 * stats.t.sf(2, 20))
    row = asked.results.estimates.set_index(["model", "cell_type", "contrast"]).loc[(CLUSTER, "bent", str(A_B))]
    wanted = min(1.0, 2 * stats.t.sf(-row["statistic"], row["df"]))
    assert check_of(asked, 0, test).p_value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"status": "too-few", "estimate": None, "note": "2 batches recorded"}, "2 batches recorded"),
        ({"df": 0.9}, "it gave no estimate"),
        ({"std_error": None}, "it gave no estimate"),
    ],
)
def test_a_cluster_robust_model_that_says_nothing_cannot_object(
    asked: Comparison, permuted: list, row: dict, why: str
) -> None:
    check = check_of(asked, 0, a_test(), row)
    assert (check.asked, check.why_not) == (False, why)
    assert check_of(asked, 0, a_test(), {"df": 1.0}).asked


@pytest.mark.parametrize(
    ("models", "counted", "why"),
    [((CLUSTER,), True, "it is the primary model"), ((MIXED,), False, "it needs counts, and these are shares")],
)
def test_why_there_is_no_second_model(asked: Comparison, models: tuple, counted: bool, why: str) -> None:
    made = Comparison(dataclasses.replace(asked.results, options=asked.options | {"models": list(models)}))
    counts = dataclasses.replace(asked.primary, has_counts=counted)
    assert module.why_no_twin(made, counts) == why
    assert module.why_no_twin(asked, asked.primary) == ""


@pytest.mark.parametrize(
    ("direction", "found", "wanted"),
    [
        ("lower", Permuted(-0.3, 0.02, 0.001, ""), Check("the permutation test", 0.02)),
        ("lower", Permuted(0.3, 0.02, 0.001, ""), Check("the permutation test", 1.0)),
        ("higher", Permuted(0.3, 0.02, 0.001, ""), Check("the permutation test", 0.02)),
        ("higher", Permuted(-0.3, 0.02, 0.001, ""), Check("the permutation test", 1.0)),
        ("lower", Permuted(-0.3, 0.049, 0.049, ""), Check("the permutation test", 0.049)),
        ("lower", "one side has no sample", "one side has no sample"),
        ("lower", Permuted(-0.3, 0.1, 0.1, ""), "p below 0.1 cannot be reached with so few units to exchange"),
        ("similar", Permuted(-0.3, 0.02, 0.001, ""), "it cannot show that two sides are similar"),
    ],
)
def test_what_the_permutation_test_says(
    asked: Comparison, permuted: list, direction: str, found: Permuted | str, wanted: Check | str
) -> None:
    permuted[:] = [found]
    check = check_of(asked, 1, a_test(direction=direction))
    if isinstance(wanted, Check):
        assert check == wanted
    else:
        assert (check.asked, check.why_not) == (False, wanted)


def test_the_permutation_test_is_that_of_the_claims_own_counts(asked: Comparison) -> None:
    """Planted: in C the type falls with age, at which the populations do not differ; nothing else."""
    test = a_test(cell_types=["parallel"], contrasts=["population: A - C"])
    evidence = answers(asked, asked.primary, "parallel", [Contrast("population", "A", "C")], MIXED)
    found = checked(asked, asked.primary, "parallel", evidence, test)[0].checks[1]
    asked_alone = module.permutation_p(
        asked, evidence[0].contrast, denominator=asked.primary, cell_type="parallel", permutations=10_000,
        seed=asked.options["seed"],
    )  # fmt: skip
    assert isinstance(asked_alone, Permuted)
    assert found.p_value == (asked_alone.p_value if asked_alone.estimate < 0 else 1.0)
    slope = checked(asked, asked.primary, "bent", answers(asked, asked.primary, "bent", [AGE], MIXED), a_test())
    assert slope[0].checks[1].why_not == "a number has no sides to exchange"


def test_a_row_with_a_term_for_the_site_is_permuted_with_it(asked: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    formulas = []

    def permutation_p(compared: Comparison, *_: object, **__: object) -> str:
        formulas.append(compared.formula.text)
        return "not now"

    monkeypatch.setattr(module, "permutation_p", permutation_p)
    for formula in ("~ population + age + sex + site", asked.formula.text):
        made = with_rows(asked, {"formula": formula})
        evidence = answers(made, asked.primary, "bent", [A_B], MIXED)
        assert evidence[0].formula == formula
        checked(made, asked.primary, "bent", evidence, a_test())
    assert formulas == ["~ population + age + sex + site", asked.formula.text]


def judged(asked: Comparison, *tests: ClaimTest) -> tuple[pd.DataFrame, pd.DataFrame]:
    said = {"statement": "Something is said.", "sources": [{"name": "x", "url": "https://x.org"}]}
    claims = [{"id": f"claim-{i}", "test": test.model_dump(), **said} for i, test in enumerate(tests)]
    return examine(asked, Claims.model_validate({"notice": "This is not medical advice at all.", "claims": claims}))


#: Contrast -> log odds ratio / standard error by the primary model and its twin, p of the permutation, status.
MADE = {
    "population: A - B": (-4.0, -3.0, 0.010, "within-site"),
    "population: A - C": (-3.0, -4.0, 0.020, "between-batch"),
    "population: B - C": (-5.0, -1.0, 0.001, "within-site"),
    "sex: male - female": (-3.5, -3.0, 0.300, "within-site"),
    "age": (-1.0, -0.5, NAN := float("nan"), "within-site"),
}


@pytest.mark.parametrize(
    ("contrasts", "t", "t_twin", "p_permutation", "status", "verdict", "agreement"),
    [
        (["population: A - B"], 4, 3, 0.01, "within-site", SHOWN["within-site"], "agree"),
        # The weakest of the primary model is the second, that of its twin the first, and so is the status.
        (["population: A - B", "population: A - C"], 3, 3, 0.02, "between-batch", SHOWN["between-batch"], "agree"),
        (["population: A - C", "population: A - B"], 3, 3, 0.02, "between-batch", SHOWN["between-batch"], "agree"),
        (["population: A - B", "population: B - C"], 4, 1, 0.01, "within-site", DISAGREE, "disagree"),
        (["sex: male - female"], 3.5, 3, 0.3, "within-site", DISAGREE, "disagree"),
        (["age"], 1, 0.5, NAN, "within-site", NOT_SUPPORTED, "agree"),
    ],
)
def test_a_claim_from_its_contrasts(
    asked: Comparison, permuted: list, contrasts: list[str], t: float, t_twin: float, p_permutation: float,
    status: str, verdict: str, agreement: str,
) -> None:  # fmt: skip
    rows = [
        {"contrast": text, "status": of, "model": model, "estimate": 0.1 * value}
        for text, (primary, twin, _, of) in MADE.items()
        for model, value in ((MIXED, primary), (CLUSTER, twin))
    ]
    permuted[:] = [
        "no sides" if np.isnan(MADE[text][2]) else Permuted(-0.3, MADE[text][2], 0.0001, "") for text in contrasts
    ]
    claims, parts = judged(with_rows(asked, *rows), a_test(contrasts=contrasts))
    row = claims.iloc[0]
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(t, 20))
    assert row["q_value"] == pytest.approx(row["p_value"])
    assert row["p_twin"] == pytest.approx(2 * stats.t.sf(t_twin, 20))
    assert row["p_permutation"] == pytest.approx(p_permutation, nan_ok=True)
    assert (row["status"], row["verdict"], row["agreement"]) == (status, verdict, agreement)
    assert row["estimate"] == pytest.approx(-0.1 * t)
    assert row["ci_high"] == pytest.approx(-0.1 * t + 0.1 * stats.t.ppf(0.975, 20))
    wanted = [2 * stats.t.sf(-MADE[text][0], 20) for text in contrasts]
    assert parts["p_value"].tolist() == pytest.approx(wanted)
    assert parts["p_permutation"].tolist() == pytest.approx([MADE[text][2] for text in contrasts], nan_ok=True)
    assert parts["status"].tolist() == [MADE[text][3] for text in contrasts]
    assert parts["unasked"].notna().tolist() == [bool(np.isnan(MADE[text][2])) for text in contrasts]


@pytest.mark.parametrize("margin", [1.05, 1.5, 3.0])
def test_the_margin_of_a_claim_is_its_own(asked: Comparison, permuted: list, margin: float) -> None:
    rows = [{"estimate": -0.1}, {"estimate": -0.1, "model": CLUSTER}]
    claims, parts = judged(with_rows(asked, *rows), a_test(direction="similar", margin=margin))
    wanted = min(1.0, 2 * stats.t.sf((np.log(margin) - 0.1) / 0.1, 20))
    for table in (claims, parts):
        assert table["p_value"].tolist() == pytest.approx([wanted])
        assert table["p_twin"].tolist() == pytest.approx([wanted])
    assert (claims["verdict"][0] == SHOWN["within-site"]) == (margin > 1.4)


def test_claims_are_corrected_within_their_family_and_status(asked: Comparison, permuted: list) -> None:
    rows = [
        {"contrast": text, "status": of, "model": model, "estimate": 0.1 * primary}
        for text, (primary, _, _, of) in MADE.items()
        for model in (MIXED, CLUSTER)
    ]
    texts = ["population: A - B", "sex: male - female", "age", "population: A - C", "population: B - C"]
    tests = [a_test(contrasts=[text], family="other" if text == "population: B - C" else "f") for text in texts]
    claims, _ = judged(with_rows(asked, *rows), *tests)
    p = [2 * stats.t.sf(t, 20) for t in (4, 3.5, 1, 3, 5)]
    # Three in the first family and status, by hand after Benjamini and Hochberg; the others are alone.
    assert claims["q_value"].tolist() == pytest.approx([p[0] * 3, p[1] * 3 / 2, p[2], p[3], p[4]])
