"""Figures of age and sex and of the steps that question a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from aida_tools import figures
from aida_tools.agreement.figures.matrix import agreement_matrix
from aida_tools.claims.figures import VERDICTS
from aida_tools.figures.run import plates
from aida_tools.figures.style import INK, Palette, wrap
from aida_tools.models.registry import MODELS, register
from aida_tools.results.results import Results
from aida_tools.robustness.figures.bias import site_band
from aida_tools.robustness.tables import SITE_BOUND
from tests.figures import made_extra as made
from tests.figures.made_compare import beside
from tests.figures.test_figures_drawn import outside, overlaps, points, words


def lines(figure: Figure, gid: str, axes: int = 0) -> list[np.ndarray]:
    return [np.asarray(line.get_xdata()) for line in figure.axes[axes].lines if line.get_gid() == gid]


def test_specifications_are_sorted_counted_and_the_reported_one_marked() -> None:
    table = made.specification().query("contrast == @made.KOREAN")
    figure = figures.specification_curve(table)
    drawn = points(figure.axes[0], "specification")
    known = table["log_odds_ratio"].dropna()
    assert len(drawn) == len(known) == 95
    drawn = drawn[np.argsort(drawn[:, 0])]
    np.testing.assert_allclose(drawn[:, 1], np.sort(np.exp(known)))
    (primary,) = [line for line in figure.axes[0].lines if line.get_gid() == "primary"]
    assert primary.get_ydata()[0] == pytest.approx(np.exp(table["log_odds_ratio"].iloc[0]))
    ticks = [t.get_text() for t in figure.axes[1].get_yticklabels()]
    assert ticks[:4] == ["CD4_T", "all", "author", "gate"]
    assert "95 specifications, sorted" in words(figure)


def test_each_specification_has_one_tick_a_choice() -> None:
    figure = figures.specification_curve(made.specification().query("contrast == @made.KOREAN"))
    ticks = [line for line in figure.axes[1].lines if line.get_gid() == "choice"]
    assert len(ticks) == 6
    assert all(len(line.get_xdata()) == 95 for line in ticks)


def test_a_choice_that_was_not_varied_has_no_row() -> None:
    table = made.specification().query("contrast == @made.KOREAN and denominator == 'CD4_T'")
    assert "denominator" not in words(figures.specification_curve(table))


def test_tipping_points_show_bounds_bands_and_the_reported_value(palette: Palette) -> None:
    figure = figures.tipping_points(made.site_bound(), made.misclassification_grid(), palette, contrast=made.KOREAN)
    drawn = np.concatenate(lines(figure, "bound"))
    np.testing.assert_allclose(np.sort(drawn), [0, 0.05, 0.14])
    bands = {
        p.get_gid(): p.get_extents().transformed(figure.axes[0].transData.inverted()) for p in figure.axes[0].patches
    }
    assert bands["batch"].x0 == pytest.approx(0.02)
    assert bands["batch"].x1 == pytest.approx(0.18)
    assert bands["control_site"].x1 == pytest.approx(figure.axes[0].get_xlim()[1])
    assert "controls between sites: 0.00 to 4.00 (goes on)" in words(figure)
    assert lines(figure, "reported", axes=1)[0] == [0]


def test_tipping_points_do_with_either_table(palette: Palette) -> None:
    assert len(figures.tipping_points(made.site_bound(), None, palette).axes) == 1
    assert len(figures.tipping_points(None, made.misclassification_grid(), palette, contrast=made.KOREAN).axes) == 2
    assert words(figures.tipping_points(None, None, palette)).strip().endswith(".")


def test_plausible_site_effects_hold_the_bound_and_the_shares_that_survive(palette: Palette) -> None:
    figure = figures.site_prior(made.site_prior(), made.site_bound(), palette, contrast=made.KOREAN)
    np.testing.assert_allclose(lines(figure, "bound")[0], 0.14)
    np.testing.assert_allclose(lines(figure, "start")[0], made.site_prior()["site_sd"])
    np.testing.assert_allclose(lines(figure, "keeps_sign", axes=1)[0], [0.55, 0.7, 0.83])
    np.testing.assert_allclose(lines(figure, "keeps_interval", axes=1)[0], [0.02, 0.2, 0.4])
    assert "before the data" in words(figure)
    assumed = made.site_prior().assign(density=lambda t: t["start"])
    alone = figures.site_prior(assumed, made.site_bound(), palette, contrast="population: Japanese - rest")
    assert lines(alone, "bound") == []  # Its interval includes no difference without any site effect.
    assert "before the data" not in words(alone)
    nothing = figures.site_prior(assumed, made.site_bound().assign(keeps_sign=np.nan), palette)
    assert "No contrast between sites has an estimate" in words(nothing)


def test_permutation_null_has_a_bar_a_bin_and_the_observed_statistic() -> None:
    tests, null = made.permutation()
    figure = figures.permutation_null(null, tests)
    assert len(figure.axes) == 2
    for axes, test in zip(figure.axes, tests.to_dict("records"), strict=True):
        bars = [p for p in axes.patches if p.get_gid() == "null"]
        assert sum(p.get_height() for p in bars) == 2000
        assert [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "statistic"] == [test["statistic"]]
    assert f"beyond the dashed lines: {100 * tests['rejection_rate'].iloc[1]:.1f} %" in words(figure)


def test_recalibrated_pairs_are_odds_ratios(palette: Palette) -> None:
    figure = figures.recalibrated(made.recalibrated(), palette)
    reported, again = (
        line.get_xdata()
        for line in figure.axes[0].lines
        if line.get_label() in ("as reported", "recalibrated by the controls")
    )
    np.testing.assert_allclose(reported, np.exp([-0.4, 0.2]))
    np.testing.assert_allclose(again, np.exp([-0.3, 0.1]))


def test_leave_one_out_has_a_mark_a_unit(palette: Palette) -> None:
    figure = figures.leave_one_out(made.leave_one_out(), palette)
    np.testing.assert_allclose(np.sort(lines(figure, "batch")[0]), np.exp([-0.45, -0.41, -0.35]))
    np.testing.assert_allclose(np.sort(lines(figure, "site")[0]), np.exp([-0.5, -0.3]))


def test_power_curves_have_a_line_a_kind_and_a_panel_a_plan() -> None:
    figure = figures.power_curves(made.power_curves())
    assert len([a for a in figure.axes if a.axison]) == 2
    assert len(lines(figure, "power")) == 3
    assert [t.get_text() for t in figure.legends[0].get_texts()] == [
        "within a site", "between sites, site SD 0.1", "between sites, site SD 0.2",
    ]  # fmt: skip


def test_age_curve_has_the_models_slope_and_passes_through_the_standardised_share(
    results: Results, palette: Palette
) -> None:
    shares = results.focus_shares()
    age = pd.Series({"estimate": 0.01, "ci_low": 0.0, "ci_high": 0.02})
    sex = pd.Series({"contrast": "sex: male - female", "share_a": 0.05, "share_b": 0.04})
    figure = figures.age_and_sex(shares, palette, age=age, sex=sex)
    assert [a.get_title(loc="left").split()[0] for a in figure.axes] == ["female", "male"]
    assert sum(len(points(a, "donors")) for a in figure.axes) == len(shares)
    for axes, share in zip(figure.axes, (0.04, 0.05), strict=True):
        (curve,) = [line for line in axes.lines if line.get_gid() == "curve"]
        x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
        logit = np.log(y / (1 - y))
        np.testing.assert_allclose(np.diff(logit) / np.diff(x), 0.01)
        assert np.interp(shares["age"].mean(), x, logit) == pytest.approx(np.log(share / (1 - share)))


def test_site_band_is_the_odds_ratio_of_a_measured_site_effect() -> None:
    band, sd = site_band(made.site_bound())
    assert sd == 0.18
    korean = band.set_index("contrast").loc[made.KOREAN]
    assert korean["high"] == pytest.approx(np.exp(1.96 * np.sqrt(1.2) * 0.18))
    assert korean["low"] == pytest.approx(1 / korean["high"])
    assert len(band) == 3
    nothing, sd = site_band(made.site_bound().assign(batch_sd_high=np.nan, control_site_sd=np.nan))
    assert nothing.empty
    assert np.isnan(sd)


def test_tables_of_later_steps_give_further_figures(results: Results, palette: Palette) -> None:
    tests, null = made.permutation()
    extra = {
        "specification": made.specification(), "site_bound": SITE_BOUND.frame(made.site_bound()),
        "site_prior": made.site_prior(), "permutation": tests,
        "permutation_null": null, "misclassification_grid": made.misclassification_grid(),
        "confusion": made.agreement(), "claims": made.claims()[0], "claim_contrasts": made.claims()[1],
        "power_curves": made.power_curves(), "recalibrated": made.recalibrated(), "leave_one_out": made.leave_one_out(),
    }  # fmt: skip
    found = plates(beside(results, extra), palette)
    assert list(found) == [
        "claims", "share", "forest", "design_map", "controls", "annotation", "specification_curve", "tipping_points",
        "site_prior", "permutation_null", "recalibrated", "leave_one_out", "power_curves", "shifts", "age_and_sex",
        "composition",
    ]  # fmt: skip
    for plate in found.values():
        assert len(plate.table), plate.stem
        assert plate.caption.endswith("."), plate.stem
        assert "nan" not in plate.alt + plate.caption, plate.stem
        # What the title says is not said again.
        first = plate.caption.partition(".")[0].casefold()
        assert plate.title.partition(":")[0].casefold() not in first, plate.stem
    assert "Korean – all others" in found["specification_curve"].title
    assert found["forest"].caption.count("Yellow") == 1
    assert "Yellow" not in plates(results, palette)["forest"].caption
    assert "gate confirms 60 % of the Treg cells of author." in found["annotation"].caption


def test_agreement_is_in_per_cent_of_the_row_with_the_focus_first() -> None:
    matrix = agreement_matrix(made.agreement(), focus="Treg", show=9)
    assert matrix.index[0] == matrix.columns[0] == "Treg"
    assert matrix.index[-1] == matrix.columns[-1] == "other"
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.loc["Treg", "Treg"] == 0.6
    assert matrix.loc["Treg", "CD4_memory"] == 0.4
    table = made.agreement()
    other = table[table["cell_type_a"].isin(set(table["cell_type_a"]) - set(matrix.index))]
    expected = other.loc[other["cell_type_b"] == "CD8", "n_cells"].sum() / other["n_cells"].sum()
    assert matrix.loc["other", "CD8"] == pytest.approx(expected)


def test_labels_have_a_panel_a_table() -> None:
    whole = figures.annotation(agreement=made.agreement(), by_depth=made.agreement_by_depth(), focus="Treg")
    assert [a.get_title(loc="left") for a in whole.axes] == ["Agreement, % of the row", "By site and depth"]
    assert "60" in words(whole)
    depth = [line for line in whole.axes[1].lines if line.get_gid() == "depth"]
    assert [line.get_ydata()[0] for line in depth] == [20 / 40, 17 / 40, 14 / 40]
    assert words(figures.annotation(focus="Treg")).strip().endswith(".")


def test_claims_are_grouped_with_their_verdicts_and_contrasts(palette: Palette) -> None:
    claims, contrasts = made.claims()
    figure = figures.claims_forest(contrasts, claims, palette)
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_gid() == "contrast"]
    np.testing.assert_allclose(drawn, np.exp([-0.2, -0.5, -0.27]))
    text = words(figure)
    assert "Koreans have the lowest share of Treg.\nVerdict: not supported" in text
    assert "age (per 10 years)" in text
    assert "It makes people ill" not in text


@pytest.mark.parametrize("width", [figures.SINGLE, figures.DOUBLE])
def test_no_line_strikes_through_a_claim_and_verdicts_have_colours(palette: Palette, width: float) -> None:
    claims, contrasts = made.claims()
    figure = figures.claims_forest(contrasts, claims, palette, width=width)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    said = [t for t in axes.texts if t.get_gid() == "claim"]
    assert len(said) == 4
    drawn = [c for c in axes.collections if isinstance(c, LineCollection)]
    assert {c.get_gid() for c in drawn} == {"grid", "no difference"}
    ends = np.concatenate([axes.transData.transform(segment) for c in drawn for segment in c.get_segments()])
    for text in said:
        box = text.get_window_extent()
        for (x, low), (_, high) in ends.reshape(-1, 2, 2):
            assert not (box.x0 < x < box.x1 and min(low, high) < box.y1 and max(low, high) > box.y0), text.get_text()
    assert [t.get_color() for t in said] == [INK, VERDICTS["not supported"], INK, VERDICTS["supported"]]
    # Still, every contrast has the line beside it.
    points = [line.get_ydata()[0] for line in axes.lines if line.get_gid() == "contrast"]
    segments = [s[:, 1] for c in drawn if c.get_gid() == "no difference" for s in c.get_segments()]
    assert all(any(min(s) < y < max(s) for s in segments) for y in points)


@pytest.mark.parametrize("width", [figures.SINGLE, figures.DOUBLE])
def test_a_unit_stays_with_its_words(width: float) -> None:
    figure = figures.annotation(
        agreement=made.agreement(), by_depth=made.agreement_by_depth(), focus="Treg",
        annotators=("author", "linear"), width=width,
    )  # fmt: skip
    label = figure.axes[1].get_ylabel()
    assert label.replace("\n", " ").replace("\u00a0", " ") == "Treg cells of author found by linear, %"
    assert "%" not in label.split("\n")
    assert all("%" not in wrap("Treg share of CD4 T cells, %", n).split("\n") for n in range(8, 40))


def test_a_model_of_a_test_is_drawn_with_its_marker_and_named_truthfully(results: Results, palette: Palette) -> None:
    own = results.focus_estimates().query("model == 'quasibinomial'")
    toys = [
        dataclasses.replace(MODELS["betabinomial"], name="toy-odds", marker=("*", "#123456")),
        dataclasses.replace(MODELS["log10-ols"], name="toy-share", marker=("p", "#654321")),
        dataclasses.replace(MODELS["clr"], name="toy-clr", marker=("d", "#112233")),
    ]
    estimates = pd.concat([results.estimates, *(own.assign(model=toy.name) for toy in toys)], ignore_index=True)
    for toy in toys:
        register(toy)
    try:
        plate = plates(dataclasses.replace(results, estimates=estimates), palette)["forest"]
        figure = plate.draw()
    finally:
        for toy in toys:
            del MODELS[toy.name]
    assert (
        "log10-ols gives ratios of shares, drawn hollow. toy-share gives ratios of shares, drawn hollow."
        in plate.caption
    )
    assert "propeller-asin and toy-clr have other units and are not drawn." in plate.caption
    assert "toy-odds" not in plate.caption
    lines = {line.get_gid(): line for axes in figure.axes for line in axes.lines if line.get_gid()}
    toy, share = (lines[f"population: Korean - rest|{name}"] for name in ("toy-odds", "toy-share"))
    assert (toy.get_marker(), toy.get_color(), toy.get_markerfacecolor()) == ("*", "#123456", "#123456")
    assert (share.get_marker(), share.get_markerfacecolor()) == ("p", "white")
    assert not any("toy-clr" in gid for gid in lines)
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert {"toy-odds", "toy-share (ratio of shares)"} <= set(legend)
    korean = own.set_index("contrast").loc["population: Korean - rest", "estimate"]
    assert toy.get_xdata()[0] == pytest.approx(np.exp(korean))
    assert share.get_xdata()[0] == pytest.approx(10**korean)


_DRAW: dict[str, Callable[[Palette, float], Figure]] = {
    "annotation": lambda p, w: figures.annotation(
        agreement=made.agreement(), by_depth=made.agreement_by_depth(), focus="Treg", width=w
    ),
    "claims": lambda p, w: figures.claims_forest(made.claims()[1], made.claims()[0], p, width=w),
    "specification": lambda p, w: figures.specification_curve(
        made.specification().query("contrast == @made.KOREAN"), width=w
    ),
    "tipping": lambda p, w: figures.tipping_points(
        made.site_bound(), made.misclassification_grid(), p, contrast=made.KOREAN, width=w
    ),
    "site_prior": lambda p, w: figures.site_prior(
        made.site_prior(), made.site_bound(), p, contrast=made.KOREAN, width=w
    ),
    "permutation": lambda p, w: figures.permutation_null(made.permutation()[1], made.permutation()[0], width=w),
    "recalibrated": lambda p, w: figures.recalibrated(made.recalibrated(), p, width=w),
    "leave_one_out": lambda p, w: figures.leave_one_out(made.leave_one_out(), p, width=w),
    "power": lambda p, w: figures.power_curves(made.power_curves(), width=w),
}


@pytest.mark.parametrize("width", [figures.SINGLE, figures.DOUBLE])
@pytest.mark.parametrize("name", sorted(_DRAW))
def test_no_text_overlaps_or_leaves_the_page(name: str, width: float, palette: Palette) -> None:
    figure = _DRAW[name](palette, width)
    assert overlaps(figure) == []
    assert outside(figure) == []


def test_age_and_sex_fits_the_page(results: Results, palette: Palette) -> None:
    for width in (figures.SINGLE, figures.DOUBLE):
        figure = figures.age_and_sex(results.focus_shares(), palette, title=results.share_words, width=width)
        assert overlaps(figure) == []
        assert outside(figure) == []
