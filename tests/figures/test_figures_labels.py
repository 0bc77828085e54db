"""Curves, calibration and matched depth are drawn where the tables have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from aida_tools.agreement.figures.depth import depth_matched, matched_table
from aida_tools.agreement.figures.errors import looks
from aida_tools.agreement.figures.matrix import depth_table
from aida_tools.agreement.figures.scores import PANELS, label_curves, ratios, scores_table
from aida_tools.figures.run import plates
from aida_tools.figures.style import SINGLE, Palette
from aida_tools.results.results import Results
from tests.figures import made_labels as made
from tests.figures.made_compare import beside
from tests.figures.test_figures_drawn import outside, overlaps, words


def drawn(axes: Axes, gid: str) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata(), float) for line in axes.lines if line.get_gid() == gid]


def table(within: str = "CD4_T") -> pd.DataFrame:
    return scores_table(made.curves(), made.calibration(), made.agreement(), within=within)


def test_every_point_of_a_curve_is_drawn_where_the_table_has_it() -> None:
    figure = label_curves(table(), focus="Treg", annotators=["author", "gate", "gate-thinned"])
    assert len(figure.axes) == 3
    curves = made.curves().query("within == 'CD4_T' and stratum == 'all'")
    for xy, name in zip(drawn(figure.axes[0], "curve"), ("gate", "gate-thinned"), strict=True):
        own = curves[(curves["annotator_b"] == name) & (curves["point"] == "curve")]
        np.testing.assert_allclose(xy, own[["recall", "precision"]])
    labels = np.vstack(drawn(figure.axes[0], "labels"))
    np.testing.assert_allclose(labels, curves.query("point == 'labels'")[["recall", "precision"]])
    assert "area 0.70 (0.60 to 0.80)" in words(figure)


def test_calibration_has_a_diagonal_a_line_a_site_and_intervals() -> None:
    axes = label_curves(table(), focus="Treg").axes[1]
    np.testing.assert_allclose(drawn(axes, "diagonal")[0], [[0, 0], [1, 1]])
    bins = made.calibration().query("measure == 'observed_share'")
    np.testing.assert_allclose(drawn(axes, "bins")[0], bins.query("stratum == 'all'")[["predicted", "estimate"]])
    assert len(drawn(axes, "site")) == 2
    intervals = [c for c in axes.collections if c.get_gid() == "interval"]
    assert len(intervals[0].get_segments()) == 3  # type: ignore[attr-defined]


def test_ratios_stand_on_a_log_axis_by_site() -> None:
    axes = label_curves(table(), focus="Treg").axes[2]
    assert axes.get_xscale() == "log"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["all", "KR", "SG"]
    assert axes.get_xlabel() == "expected / observed Treg count"
    np.testing.assert_allclose(drawn(axes, "ratio")[0], [[1.2, 0], [0.8, 1], [2.0, 2]])


def test_soft_counts_speak_for_themselves_where_there_are_any() -> None:
    plain = made.calibration()
    soft = plain[plain["measure"] == "expected_to_observed"].assign(measure="soft_to_observed", estimate=1.05)
    chosen = ratios(pd.concat([plain, soft], ignore_index=True))
    assert set(chosen["measure"]) == {"soft_to_observed"}
    assert list(chosen["level"]) == ["all", "KR", "SG"]
    of_another = ratios(pd.concat([plain, soft.assign(annotator_b="trained")], ignore_index=True))
    assert len(of_another) == 6


def test_panels_are_those_the_tables_allow() -> None:
    curves_only = scores_table(made.curves(), None, made.agreement(), within="T")
    assert set(curves_only["panel"]) == {PANELS[0]}
    # There are no curves within T: those in all cells take their place.
    assert curves_only.query("point == 'labels'")["x"].iloc[0] == 0.5
    assert len(label_curves(curves_only, focus="Treg").axes) == 1
    nothing = scores_table(None, made.calibration().iloc[:0], made.agreement(), within="all")
    assert nothing.empty
    assert "No annotator gives a score" in words(label_curves(nothing, focus="Treg"))


def test_thinned_labels_have_the_colour_of_the_whole_ones() -> None:
    look = looks(["author", "gate-thinned", "gate"])
    assert look["gate-thinned"].colour == look["gate"].colour != look["author"].colour
    assert (look["gate-thinned"].face, look["gate"].face) == ("white", look["gate"].colour)


def test_rates_and_changes_are_drawn_by_site_with_their_own_intervals() -> None:
    rows = matched_table(made.thinned(), made.agreement(), within="CD4_T")
    assert list(rows["level"]) == ["all", "KR", "SG"]
    np.testing.assert_allclose(rows[["low", "high_thinned"]], [[0.04, 0.05], [0.04, 0.05], [0.04, 0.05]])
    figure = depth_matched(rows, focus="Treg")
    left, right = figure.axes
    for gid in ("rate", "rate_thinned"):
        np.testing.assert_allclose(drawn(left, gid)[0][:, 0], rows[gid])
    np.testing.assert_allclose(drawn(right, "difference")[0], np.c_[rows["difference"], [0, 1, 2]])
    segments = next(c for c in right.collections if c.get_gid() == "interval").get_segments()  # type: ignore[attr-defined]
    np.testing.assert_allclose([s[:, 0] for s in segments], rows[["donor_ci_low", "donor_ci_high"]])
    nobody = depth_matched(rows.iloc[:0], focus="Treg")
    assert "No annotator labelled the thinned counts" in words(nobody)


def test_with_one_site_the_batches_are_drawn() -> None:
    table = made.thinned()
    table = pd.concat([table[table["level"] != "SG"], table[table["level"] == "SG"].assign(stratum="batch", level="B")])
    rows = matched_table(table, made.agreement(), within="CD4_T")
    assert list(rows["level"]) == ["all", "B"]
    assert [t.get_text() for t in depth_matched(rows, focus="Treg").axes[0].get_yticklabels()] == ["all", "B"]


def test_sensitivity_by_site_and_depth_comes_from_the_table_of_agreement() -> None:
    rows = depth_table(made.agreement(), annotators=("author", "gate"), within="CD4_T")
    assert rows.to_dict("records") == [
        {"site": "KR", "depth": 1, "estimate": 0.4, "low": 0.3, "high": 0.5},
        {"site": "SG|2", "depth": 10, "estimate": 0.9, "low": 0.8, "high": 0.95},
    ]
    assert depth_table(made.agreement(), annotators=("author", "nobody"), within="CD4_T").empty


@pytest.mark.parametrize("width", [SINGLE, 183.0])
def test_nothing_lies_outside_or_over_another(width: float) -> None:
    matched = matched_table(made.thinned(), made.agreement(), within="CD4_T")
    both = pd.concat([matched, matched.assign(annotator="blood-sensitive")])
    for figure in (
        label_curves(table(), focus="Treg", width=width, synthetic=True),
        depth_matched(both, focus="Treg", width=width, synthetic=True),
    ):
        assert overlaps(figure) == []
        assert outside(figure) == []


def test_the_plates_say_what_is_seen(results: Results, palette: Palette) -> None:
    extra = {
        "agreement": made.agreement(), "curves": made.curves(), "calibration": made.calibration(),
        "thinned": made.thinned(),
    }  # fmt: skip
    found = plates(beside(results, extra), palette)
    assert "gate has an average precision of 0.70" in found["label_curves"].alt
    assert "gate expects 1.20 times the Treg cells that are observed (1.10 to 1.30)" in found["label_curves"].alt
    assert "measured against the labels of author" in found["label_curves"].caption
    assert "gate 5.00 % becomes 4.00 %" in found["depth_matched"].alt
    without = {"agreement": made.agreement(), "curves": made.curves().iloc[:0], "thinned": made.thinned().iloc[:0]}
    assert not set(plates(beside(results, without), palette)) & {"label_curves", "depth_matched"}
