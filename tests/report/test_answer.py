"""The answer in words follows the tables, and never says more than they do."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aida_tools.compare.tables import ESTIMATES
from aida_tools.core.words import cell, counted, interval, listed, p_value, percent
from aida_tools.report.answer import Answer, make_answer
from aida_tools.results.results import Results

LABELS = {
    "Korean": "Korean",
    "Japanese": "Japanese",
    "SG_Malay": "Singaporean Malay",
    "SG_Indian": "Singaporean Indian",
}


DESIGN = pd.DataFrame(
    [["Korean", "KR", "KR_B001"], ["Korean", "KR", "KR_B002"], ["Japanese", "JP", "JP_B001"],
     ["SG_Malay", "SG", "SG_B001"], ["SG_Indian", "SG", "SG_B001"]],
    columns=["population", "site", "batch"],
)  # fmt: skip

SAMPLES = DESIGN.assign(age=40.0, sex="female")


def said(answer: Answer) -> str:
    return " ".join([*answer.sentences, *answer.limits])


def estimate(contrast: str, ratio: float | None, **values: Any) -> dict[str, Any]:
    """Return one row of estimates: an odds ratio with a 20 % error, or none."""
    row = dict.fromkeys(ESTIMATES.names) | {
        "cohort": "c", "annotator": "author", "cell_type": "Treg", "denominator": "CD4_T",
        "model": "betabinomial-mixed", "contrast": f"population: {contrast}", "status": "between-site",
        "aliased_with": None, "n_samples_a": 60, "n_samples_b": 200, "share_a": 0.04, "share_b": 0.04,
        "superseded": False,
    }  # fmt: skip
    if ratio is not None:
        error = values.pop("error", 0.1)
        log = np.log(ratio)
        row |= {
            "estimate": log, "std_error": error, "statistic": log / error, "ci_low": log - 2 * error,
            "ci_high": log + 2 * error, "q_value": 0.001 if abs(log) > 2 * error else 0.6,
        }  # fmt: skip
    return row | values


def results(
    *rows: dict[str, Any], synthetic: bool = False, controls: int = 0, sites: int = 2, **options: Any
) -> Results:
    estimates = pd.DataFrame(list(rows), columns=ESTIMATES.names)
    estimates["superseded"] = estimates["superseded"].astype(bool)
    for column in ("estimate", "ci_low", "ci_high", "q_value", "share_a", "share_b", "statistic"):
        estimates[column] = estimates[column].astype(float)
    populations = ["Korean", "Japanese"]
    shares = pd.DataFrame(
        {
            "sample_id": ["a", "b"], "donor_id": ["a", "b"], "population": populations, "annotator": "author",
            "denominator": "CD4_T", "cell_type": "Treg", "share": [0.021, 0.043], "included": True, "is_control": False,
        }
    )  # fmt: skip
    key = {"annotator": "author", "denominator": "CD4_T", "cell_type": "Treg"}
    control = pd.DataFrame(
        [{"donor_id": f"L{i}", "site": f"S{s}", **key} for i in range(controls) for s in range(sites)]
    )
    if control.empty:
        control = pd.DataFrame(columns=["donor_id", "site", *key])
    return Results(
        shares=shares, estimates=estimates, design=DESIGN, controls=control, excluded=pd.DataFrame(),
        tests=pd.DataFrame(), samples=SAMPLES,
        options={
            "cohort": {"synthetic": synthetic}, "focus": "Treg", "annotator": "author", "denominator": "CD4_T",
            "model": "betabinomial-mixed", "formula": "~ population + age + sex",
        } | options,
    )  # fmt: skip


ALIAS = "Korean = site KR = batches KR_B001 to KR_B011 (11)"
LOW = estimate("Korean - rest", 0.6, share_a=0.023, aliased_with=ALIAS)
SAME = estimate("Japanese - rest", 1.05, share_a=0.041)
INSIDE = estimate("SG_Malay - SG_Indian", 1.3, status="within-site")


def test_the_lowest_population_is_named_with_its_share_and_its_limit() -> None:
    answer = make_answer(results(LOW, SAME), LABELS)
    assert answer.headline == (
        "In this cohort Korean donors had the lowest Treg share of CD4 T cells (2.3 %, standardised to the cohort's "
        "age and sex), but population and site cannot be told apart."
    )
    text = said(answer)
    assert "odds ratio 0.60 (95 % interval 0.49 to 0.73), 60 samples against 200" in text
    assert "All Korean samples come from site KR (2 batches) and no other population was measured there, so" in text
    assert "no model of these donors can separate" in text
    assert "No two populations were measured at a common site" in text


def test_a_contrast_within_sites_is_not_called_aliased() -> None:
    answer = make_answer(results(LOW | {"status": "within-site", "aliased_with": None}, SAME), LABELS)
    assert answer.headline.endswith(", in a comparison within sites.")
    assert "cannot be told apart" not in answer.headline + said(answer)


def test_the_highest_is_called_highest_and_the_middle_neither() -> None:
    high = estimate("Korean - rest", 1.7, share_a=0.08)
    assert "Korean donors had the highest" in make_answer(results(high, SAME), LABELS).headline
    middle = [estimate("Korean - rest", 1.5, share_a=0.045), SAME, estimate("SG_Malay - rest", 1.0, share_a=0.05)]
    assert (
        "Korean donors had a higher Treg share of CD4 T cells than the others"
        in make_answer(results(*middle), LABELS).headline
    )


def test_no_clear_difference_is_not_reported_as_no_difference() -> None:
    answer = make_answer(results(estimate("Korean - rest", 0.9, share_a=0.03), SAME), LABELS)
    assert "no population's Treg share of CD4 T cells was clearly different" in answer.headline
    assert "not evidence of no difference" in answer.headline
    assert "(3.0 % to 4.1 %)" in answer.headline


def test_an_interval_off_one_is_not_clear_if_its_adjusted_p_value_is_large() -> None:
    answer = make_answer(results(LOW | {"q_value": 0.2}, SAME), LABELS)
    assert "no population's" in answer.headline


def test_contrasts_within_a_site_are_counted_and_named() -> None:
    text = said(make_answer(results(LOW, SAME, INSIDE), LABELS))
    assert "1 of 1 contrast shows a difference before adjustment" in text
    assert "Singaporean Malay against Singaporean Indian (odds ratio 1.30, 1.06 to 1.59)" in text
    nothing = estimate("SG_Malay - SG_Indian", 1.05, status="within-site")
    assert "the one contrast shows no clear difference ([figure:forest])." in said(
        make_answer(results(LOW, nothing), LABELS)
    )


def test_labels_that_disagree_are_named_and_those_that_agree_too() -> None:
    other = {"annotator": "gate"}
    against = make_answer(results(LOW, SAME, estimate("Korean - rest", 1.2, **other)), LABELS)
    assert (
        "The result depends on the labels: the difference is not found with those of gate (odds ratio 1.20, 0.98 to "
        "1.47)."
    ) in against.limits
    agree = make_answer(results(LOW, SAME, estimate("Korean - rest", 0.7, **other)), LABELS)
    assert "The labels of gate (odds ratio 0.70, 0.57 to 0.85) give the same direction." in agree.limits


def test_pairs_are_used_where_nothing_was_compared_with_the_rest() -> None:
    pair = make_answer(results(estimate("Korean - Japanese", 0.5)), LABELS)
    assert pair.headline == (
        "In this cohort Korean donors had a lower Treg share of CD4 T cells than Japanese donors, but population and "
        "site cannot be told apart."
    )
    same = make_answer(results(estimate("Korean - Japanese", 1.0)), LABELS)
    assert "no two populations clearly differed" in same.headline


def test_without_an_estimate_no_comparison_is_claimed() -> None:
    failed = estimate("Korean - Japanese", None, status="too-few", note="one sample on each side")
    answer = make_answer(results(failed), LABELS)
    assert not answer.compared
    assert answer.headline == "No comparison was made: Treg made up 2.1 % to 4.3 % of CD4 T cells in 2 samples."
    assert "1 contrast: one sample on each side." in answer.sentences
    assert any(s.startswith("One donor each: Japanese and Korean.") for s in answer.sentences)


def test_synthetic_data_say_so_first() -> None:
    assert make_answer(results(LOW, SAME, synthetic=True), LABELS).headline.startswith("SYNTHETIC data: in this cohort")
    assert make_answer(results(synthetic=True), LABELS).headline.startswith("SYNTHETIC data: no comparison was made")


def test_controls_are_mentioned_or_missed() -> None:
    assert "6 control donors were run at 2 sites, which shows" in said(
        make_answer(results(LOW, SAME, controls=6), LABELS)
    )
    assert "no control samples" in said(make_answer(results(LOW, SAME), LABELS))


def test_controls_at_one_site_show_nothing_of_sites() -> None:
    alone = said(make_answer(results(LOW, SAME, controls=6, sites=1), LABELS))
    assert "6 control donors were run at one site only, which does not show what the sites add." in alone
    one = said(make_answer(results(LOW, SAME, controls=1, sites=1), LABELS))
    assert "1 control donor was run at one site only, which does not" in one


def test_a_lowest_share_that_is_not_below_each_other_one_says_so_at_once() -> None:
    pairs = [estimate("Japanese - Korean", 1.1), estimate("Korean - SG_Malay", 0.5)]
    assert make_answer(results(LOW, SAME, *pairs), LABELS).headline.endswith(
        "age and sex): lower than all others together, but not clearly lower than Japanese donors; population and site "
        "cannot be told apart."
    )


def test_shares_are_not_called_standardised_without_age_or_sex() -> None:
    answer = make_answer(results(LOW, SAME, formula="~ population"), LABELS)
    assert "(2.3 %), but" in answer.headline


def test_a_model_of_another_unit_gives_no_odds_ratio() -> None:
    rows = [row | {"model": "propeller-asin"} for row in (LOW, SAME)]
    answer = make_answer(results(*rows, model="propeller-asin"), LABELS)
    assert "ratio" not in said(answer)
    log10 = [row | {"model": "log10-ols"} for row in (LOW, SAME)]
    text = said(make_answer(results(*log10, model="log10-ols"), LABELS))
    assert f"ratio of shares {10 ** np.log(0.6):.2f}" in text


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (percent(0.0233), "2.3 %"), (percent(0.00412), "0.41 %"), (p_value(0.00002), "p < 0.001"),
        (p_value(0.0344), "p = 0.034"), (interval(0.5, 0.4, np.nan), "0.50 (no interval)"), (listed(["a"]), "a"),
        (listed([]), ""), (listed(["a", "b", "c"]), "a, b and c"), (counted(1, "batch", "batches"), "1 batch"),
        (counted(1200, "donor"), "1,200 donors"), (cell(0.00002), "2.0e-05"), (cell(12345.0), "12,345"),
        (cell(None), ""), (cell(np.nan), ""), (cell(True), "yes"), (cell(0.12345), "0.123"), (cell(0.0), "0"),
    ],
)  # fmt: skip
def test_numbers_read_as_a_reader_wants_them(got: str, wanted: str) -> None:
    assert got == wanted


def test_later_steps_speak_of_the_same_contrast() -> None:
    contrast = LOW["contrast"]
    bound = {"site_sd_bound": 0.14, "share_b": 0.04, "share_shift": 0.006}
    batches = {"batch_sd": 0.1, "batch_sd_low": 0.02, "batch_sd_high": 0.2}
    ratios = zip(("recalibrated", "recalibrated_ci_low", "recalibrated_ci_high"), np.log([0.8, 0.4, 1.6]), strict=True)
    agreement = {"n_estimated": 96.0, "same_sign": 0.98, "excludes_1_same_sign": 0.5}
    extra = {
        "site_bound": bound | batches,
        "recalibrated": {**dict(ratios), "correction_difference": 0.0, "control_std_error": 0.1},
        "specification_summary": agreement | {"minimum": np.log(0.5), "maximum": np.log(1.1)},
        "permutation": {"scheme": "batches between sites", "p_value": 0.021, "p_min": 0.01},
    }
    other = {"contrast": "population: X - rest"}
    tables = {name: pd.DataFrame([other, {"contrast": contrast, **row}]) for name, row in extra.items()}
    base = results(LOW, SAME, controls=6)
    text = said(make_answer(dataclasses.replace(base, tables=base.tables | tables), LABELS))
    assert "A site effect of SD 0.14 on the log-odds scale (a share of 4.0 % measured as 4.6 %) would be enough" in text
    assert (
        "After subtracting the differences that these controls show between the sites, the odds ratio is 0.80 (95 % "
        "interval 0.40 to 1.60) ([figure:recalibrated])." in text
    )
    assert (
        "Of 96 ways to analyse the same data, 98 % agree in direction and 50 % also have an interval without 1" in text
    )
    assert "odds ratios run from 0.50 to 1.10" in text
    assert "A permutation test (batches permuted between sites) gives p = 0.021 (smallest possible 0.01) (" in text


def test_a_null_result_says_what_would_have_been_found() -> None:
    null = estimate("Korean - rest", 0.9, share_a=0.03)
    key = {"cell_type": "Treg", "annotator": "author", "denominator": "CD4_T"}
    power = pd.DataFrame([{"contrast": null["contrast"], "mdor": 1.25, **key}])
    answer = make_answer(dataclasses.replace(results(null, SAME), tables={"power": power}), LABELS)
    assert "80 % power to find an odds ratio of 1.25 (or 0.80)" in said(answer)
    clear = make_answer(dataclasses.replace(results(LOW, SAME), tables={"power": power}), LABELS)
    assert "80 % power" not in said(clear)


def test_a_cell_type_that_nobody_named_is_not_an_answer() -> None:
    assert "No cell type was named in advance" in said(make_answer(results(LOW, SAME, focus_given=False), LABELS))
    assert "No cell type was named" not in said(make_answer(results(LOW, SAME), LABELS))


def test_the_answer_is_a_frozen_record() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_answer(results(), LABELS).headline = "x"  # type: ignore[misc]
