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


def test_a_tipping_error_is_at_most_everything() -> None:
    """The worst labels that can be: every cell called, or none. Beyond these limits there is nothing."""
    # Every cell is seen as the type: 1 = 1 x true + (1 - specificity) x (1 - true) needs a specificity of 0.
    assert tipping_specificity(1.0, 0.5, 1.0, 1.0) == pytest.approx(1)
    assert tipping_specificity(0.5, 0.5, 1.0, 1.0) == 0
    # No cell is: the sensitivity there would be 0.
    assert tipping_sensitivity(0.5, 0.0, 1.0, 1.0) == pytest.approx(1)
    assert tipping_sensitivity(0.5, 0.5, 0.8, 1.0) == pytest.approx(0)
    # A lower share of 0.2 % where 1 % of the other cells are called falsely: a sensitivity below 0.
    assert np.isnan(tipping_sensitivity(0.3, 0.002, 0.9, 0.99))
    assert np.isnan(tipping_sensitivity(0.0, 0.0, 1.0, 1.0))  # Nothing to miss.
    assert np.isnan(tipping_specificity(1.0, 1.0, 1.0, 1.0))  # No other cell to call.
    assert np.isnan(true_share(0.6, 0.5, 1.0))


def test_true_shares_go_from_none_to_all() -> None:
    assert true_share(0.01, 0.9, 0.99) == pytest.approx(0)
    assert true_share(0.9, 0.9, 0.99) == pytest.approx(1)
    assert np.isnan(true_share(0.5, 0.4, 0.5))  # Worse than chance.
    assert apparent_share(0.0, 0.9, 0.99) == pytest.approx(0.01)
    assert apparent_share(1.0, 0.9, 0.99) == pytest.approx(0.9)


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


def test_the_grid_goes_from_worse_labels_of_one_side_to_worse_of_the_other(compared: Comparison) -> None:
    """Its ends, and every point of it against the algebra: the better side has the assumed errors."""
    sensitivity, specificity = 0.95, 0.9995
    tables = label_tables(compared, default=(sensitivity, specificity))
    row = tables["misclassification"].set_index("contrast").loc["population: Japanese - Korean"]
    grid = tables["misclassification_grid"]
    grid = grid[grid["contrast"] == "population: Japanese - Korean"]
    reach = min(row["share_a"], row["share_b"]) / 2
    for column, end in (("sensitivity_difference", 0.3), ("specificity_difference", reach)):
        values = grid[column].unique()
        assert len(values) == 25
        assert (values.min(), values.max()) == pytest.approx((-end, end))
    assert len(grid) == 25 * 25
    share_a = special.expit(special.logit(row["share_b"]) + row[["estimate", "ci_low", "ci_high"]].astype(float))
    known = 0
    for point in grid.iloc[::31].to_dict("records"):
        d, e = point["sensitivity_difference"], point["specificity_difference"]
        at_a = (sensitivity + min(d, 0), specificity + min(e, 0))
        at_b = (sensitivity - max(d, 0), specificity - max(e, 0))
        true_b = (row["share_b"] + at_b[1] - 1) / (sum(at_b) - 1)
        for name, share in share_a.items():
            true_a = (share + at_a[1] - 1) / (sum(at_a) - 1)
            if 0 < true_a < 1 and 0 < true_b < 1:
                known += 1
                assert point[name] == pytest.approx(special.logit(true_a) - special.logit(true_b))
            else:
                assert np.isnan(point[name])
    assert known > 30


def test_errors_that_just_include_no_difference_are_smaller(compared: Comparison) -> None:
    """The limit of the interval that is nearer to no difference is tipped, whichever side is higher."""
    for contrast, (at, low) in (
        ("population: Japanese - Korean", ("JP", "ci_low")), ("population: Korean - SG_Malay", ("SG", "ci_high")),
    ):  # fmt: skip
        row = label_tables(compared)["misclassification"].set_index("contrast").loc[contrast]
        assert row["lower_specificity_at"] == at
        share_a = special.expit(special.logit(row["share_b"]) + row[low])
        high, less = max(share_a, row["share_b"]), min(share_a, row["share_b"])
        # Perfect labels: a specificity of c shows a share p as p + (1 - c)(1 - p); a sensitivity s as s p.
        assert row["specificity_drop_significance"] == pytest.approx((high - less) / (1 - less))
        assert row["sensitivity_drop_significance"] == pytest.approx(1 - less / high)
    unclear = label_tables(compared)["misclassification"]
    unclear = unclear[(unclear["ci_low"] < 0) & (unclear["ci_high"] > 0)]
    assert len(unclear)
    assert (unclear[["specificity_drop_significance", "sensitivity_drop_significance"]] == 0).all(axis=None)


def test_errors_of_several_sites_are_their_mean(compared: Comparison) -> None:
    """The rest of the Koreans are 48 samples at JP and 72 at SG."""
    table = label_tables(compared, default=(0.9, 0.999), by_site={"JP": (0.6, 0.995)})["misclassification"]
    row = table.set_index("contrast").loc["population: Korean - rest"]
    assert (row["site_a"], row["site_b"]) == ("KR", "JP, SG")
    assert row["sensitivity_b"] == pytest.approx((48 * 0.6 + 72 * 0.9) / 120)
    assert row["specificity_b"] == pytest.approx((48 * 0.995 + 72 * 0.999) / 120)


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
        ("KR=0.9,-0.1", "between 0 and 1"),
        ("KR=0.5,0.5", "better than chance"),
    ],
)
def test_wrong_errors_are_refused(text: str, message: str) -> None:
    with pytest.raises(AidaError) as error:
        parse_errors((text,), ["KR", "JP"])
    assert message in str(error.value)


def test_perfect_labels_and_labels_just_better_than_chance_are_taken() -> None:
    assert parse_errors(("KR=1,1",), ["KR"]) == {"KR": (1.0, 1.0)}
    assert parse_errors(("KR=0.5,0.51",), ["KR"]) == {"KR": (0.5, 0.51)}
    assert parse_errors(("KR=0.01,1",), ["KR"]) == {"KR": (0.01, 1.0)}
