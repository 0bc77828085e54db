"""Misclassification: the algebra of Rogan and Gladen, the figures of the design, and named states."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from aida_tools.core.errors import AidaError
from aida_tools.results.refit import Comparison
from aida_tools.robustness.labels import label_tables, parse_errors
from aida_tools.robustness.misclassify import (
    apparent_share,
    corrected_log_odds_ratio,
    tipping_sensitivity,
    tipping_specificity,
    true_share,
)


def odds_ratio(a: float, b: float) -> float:
    return float(np.exp(special.logit(a) - special.logit(b)))


def test_true_share_undoes_the_apparent_one() -> None:
    share = np.linspace(0, 1, 11)
    np.testing.assert_allclose(true_share(apparent_share(share, 0.8, 0.95), 0.8, 0.95), share, atol=1e-12)
    # By hand: 0.8 x 0.05 + 0.01 x 0.95.
    assert apparent_share(0.05, 0.8, 0.99) == pytest.approx(0.0495)


def test_impossible_shares_are_not_numbers() -> None:
    assert np.isnan(true_share(0.005, 0.9, 0.99))  # Fewer than the false ones alone.
    assert np.isnan(true_share(0.95, 0.9, 0.99))  # More than sensitivity allows.
    assert np.isnan(true_share(0.5, 0.5, 0.5))  # No better than chance.


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.75, 0.999), (0.75, 0.998), (0.7, 0.995)])
def test_small_errors_at_one_site_fake_an_effect(sensitivity: float, specificity: float) -> None:
    """At 5 % prevalence 0.005 of specificity fakes an odds ratio of 1.13, 0.10 of sensitivity one of 0.87."""
    seen = float(apparent_share(0.05, sensitivity, specificity))
    false = odds_ratio(float(apparent_share(0.05, sensitivity, specificity - 0.005)), seen)
    missed = odds_ratio(float(apparent_share(0.05, sensitivity - 0.1, specificity)), seen)
    assert round(false, 2) == 1.13
    assert round(missed, 2) == 0.87


def test_a_contrast_made_of_errors_is_corrected_to_none() -> None:
    at_a, at_b = (0.75, 0.994), (0.75, 0.999)
    seen_a, seen_b = (float(apparent_share(0.05, *errors)) for errors in (at_a, at_b))
    faked = special.logit(seen_a) - special.logit(seen_b)
    assert corrected_log_odds_ratio(faked, seen_b, at_a, at_b) == pytest.approx(0, abs=1e-12)
    assert corrected_log_odds_ratio(faked, seen_b, at_b, at_b) > faked  # Equal errors only hide a part of an effect.


def test_tipping_points_are_the_errors_that_fake_it() -> None:
    seen = float(apparent_share(0.05, 0.75, 0.999))
    more = float(apparent_share(0.05, 0.75, 0.994))
    fewer = float(apparent_share(0.05, 0.65, 0.999))
    assert tipping_specificity(more, seen, 0.75, 0.999) == pytest.approx(0.005)
    assert tipping_sensitivity(seen, fewer, 0.75, 0.999) == pytest.approx(0.1)
    assert np.isnan(tipping_sensitivity(0.2, 0.0001, 0.9, 0.99))  # False ones alone are more than the lower share.


def test_tables_start_from_the_estimates_and_tip_to_one(compared: Comparison) -> None:
    tables = label_tables(compared)
    table = tables["misclassification"].set_index("contrast")
    np.testing.assert_allclose(table["corrected"], table["estimate"], atol=1e-9)
    np.testing.assert_allclose(table["corrected_ci_low"], table["ci_low"], atol=1e-9)
    row = table.loc["population: Japanese - Korean"]
    assert (row["lower_specificity_at"], row["lower_sensitivity_at"]) == ("JP", "KR")
    for drop, at_a, at_b in (
        (row["specificity_drop"], (1, 1 - row["specificity_drop"]), (1, 1)),
        (row["sensitivity_drop"], (1, 1), (1 - row["sensitivity_drop"], 1)),
    ):
        assert 0 < drop < 1
        corrected = corrected_log_odds_ratio(row["estimate"], row["share_b"], at_a, at_b)
        assert corrected == pytest.approx(0, abs=1e-9)
    assert 0 < row["specificity_drop_significance"] < row["specificity_drop"]
    within = table.loc["population: SG_Chinese - SG_Malay"]
    assert {within["site_a"], within["site_b"]} == {"SG_Chinese", "SG_Malay"}


def test_the_grid_holds_the_estimate_where_nothing_differs(compared: Comparison) -> None:
    grid = label_tables(compared)["misclassification_grid"]
    middle = grid[(grid["sensitivity_difference"].abs() < 1e-12) & (grid["specificity_difference"].abs() < 1e-12)]
    np.testing.assert_allclose(middle["estimate"], compared.estimates["estimate"], atol=1e-9)
    one = grid[grid["contrast"] == "population: Japanese - Korean"]
    falling = one[one["specificity_difference"].abs() < 1e-12].sort_values("sensitivity_difference")["estimate"]
    assert (np.diff(falling) < 0).all()  # The better the labels of side a, the smaller its true share.


def test_errors_of_a_site_reach_its_contrasts(compared: Comparison) -> None:
    table = label_tables(compared, default=(0.9, 0.999), by_site={"KR": (0.6, 0.999)})["misclassification"]
    row = table.set_index("contrast").loc["population: Japanese - Korean"]
    assert (row["sensitivity_a"], row["sensitivity_b"]) == pytest.approx((0.9, 0.6))
    seen_a = special.expit(special.logit(row["share_b"]) + row["estimate"])
    want = special.logit(true_share(seen_a, 0.9, 0.999)) - special.logit(true_share(row["share_b"], 0.6, 0.999))
    assert row["corrected"] == pytest.approx(want)


def test_labels_worse_than_the_data_allow_say_so(compared: Comparison) -> None:
    table = label_tables(compared, default=(0.9, 0.9))["misclassification"]
    assert table["corrected"].isna().all()
    assert table["note"].str.contains("no true share can give these measured shares").all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("KR=0.9", "write SITE=SENSITIVITY,SPECIFICITY"),
        ("KX=0.9,0.9", "there is no site 'KX'. Known: JP, KR."),
        ("KR=0.4,0.5", "better than chance"),
        ("KR=1.2,0.9", "between 0 and 1"),
    ],
)
def test_wrong_errors_are_refused(text: str, message: str) -> None:
    with pytest.raises(AidaError) as error:
        parse_errors((text,), ["KR", "JP"])
    assert message in str(error.value)
