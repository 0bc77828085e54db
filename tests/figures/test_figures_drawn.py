"""What is in the figures: points, labels and marks, never pixels."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from aida_tools import figures
from aida_tools.figures.contrasts import forest_table
from aida_tools.figures.heatmap import opacity, shifts_table
from aida_tools.figures.run import plates
from aida_tools.figures.shares import last_share
from aida_tools.figures.style import DPI, INK, Palette
from aida_tools.results.results import Results, load_results
from tests.figures.made_compare import write_compare


def words(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text) if t.get_visible())


def points(axes: Axes, gid: str) -> np.ndarray:
    found = [c.get_offsets() for c in axes.findobj(PathCollection) if str(c.get_gid()).startswith(gid)]
    return np.ma.filled(np.concatenate(found)) if found else np.empty((0, 2))


def tick_labels(axes: Axes) -> list[str]:
    return [t.get_text().replace("\n", " ") for t in axes.get_yticklabels()]


@lru_cache(maxsize=1)
def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Lay a finished figure out; return the texts that are drawn, the watermark apart, with their boxes in pixels."""
    figure.set_dpi(DPI)
    drawn: list[Text] = []
    draw = Text.draw
    with pytest.MonkeyPatch.context() as patch:
        # Ticks outside the view exist but are not drawn: only what is drawn counts.
        patch.setattr(Text, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer)))
        figure.draw_without_rendering()
    shown = [t for t in drawn if t.get_visible() and t.get_text().strip() and t.get_text() != "SYNTHETIC"]
    return [(t.get_text(), t.get_window_extent()) for t in shown]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Return the pairs of texts that run into each other."""
    found = [(text, box.shrunk(0.96, 0.8)) for text, box in boxes(figure)]
    return [(a, b) for i, (a, box) in enumerate(found) for b, other in found[i + 1 :] if box.overlaps(other)]


def outside(figure: Figure) -> list[str]:
    """Return the texts that leave the page."""
    page = figure.bbox.padded(1.0)
    return [text for text, box in boxes(figure) if not (page.contains(*box.min) and page.contains(*box.max))]


def test_every_donor_is_a_point_at_its_share(results: Results, palette: Palette) -> None:
    shares = results.focus_shares()
    figure = figures.share_by_population(shares, palette, title="Treg")
    drawn = points(figure.axes[0], "donors-")
    assert len(drawn) == len(shares) > 150
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(shares["share"]))
    korean = points(figure.axes[0], "donors-Korean")
    np.testing.assert_allclose(np.sort(korean[:, 0]), np.sort(shares.loc[shares["population"] == "Korean", "share"]))


def test_rows_name_donors_and_batches_and_group_sites(results: Results, palette: Palette) -> None:
    figure = figures.share_by_population(results.focus_shares(), palette)
    assert tick_labels(figure.axes[0]) == [
        "Singaporean Chinese", "Singaporean Malay", "Singaporean Indian", "Japanese", "Korean", "Thai",
    ]  # fmt: skip
    assert "KR · 45 donors · 3 batches" in words(figure)


def test_batches_of_a_population_lie_in_lanes_of_two_shades(results: Results, palette: Palette) -> None:
    shares = results.focus_shares()
    korean = shares[shares["population"] == "Korean"]
    figure = figures.share_by_population(korean, palette)
    shades = [c for c in figure.axes[0].findobj(PathCollection) if str(c.get_gid()) == "donors-Korean"]
    assert len({tuple(c.get_facecolor()[0]) for c in shades}) == 2
    by_share = dict(zip(korean["share"], korean["batch"], strict=True))
    drawn = pd.DataFrame(points(figure.axes[0], "donors-Korean"), columns=["x", "y"])
    lanes = drawn.groupby(drawn["x"].map(by_share))["y"].agg(["min", "max"]).sort_values("min")
    assert (lanes["min"].to_numpy()[1:] > lanes["max"].to_numpy()[:-1]).all()


def test_standardised_shares_stand_beside_the_raw_ones(results: Results, palette: Palette) -> None:
    table = pd.DataFrame({"population": ["Korean"], "share": [0.031], "ci_low": [0.03], "ci_high": [0.033]})
    figure = figures.share_by_population(results.focus_shares(), palette, standardised=table)
    assert len(figure.axes) == 2
    assert "3.10" in words(figure)
    assert [0.03, 0.033] in [list(line.get_xdata()) for line in figure.axes[1].lines]
    assert words(figure).count("not estimable") == 5


def test_forest_splits_contrasts_by_what_they_can_tell_apart(results: Results, palette: Palette) -> None:
    estimates = results.focus_estimates()
    figure = figures.forest(estimates, palette, model="betabinomial-mixed")
    within, between = figure.axes[:2]
    assert "told apart" in within.get_title(loc="left")
    assert len(tick_labels(within)) == 3
    assert tick_labels(between)[-2:] == ["Korean – all others", "Thai – all others"]
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend[0] == "betabinomial-mixed (primary)"
    assert "log10-ols (ratio of shares)" in legend
    assert not any("asin" in text for text in legend)


def test_forest_has_a_panel_with_a_heading_for_each_status_there_is(results: Results, palette: Palette) -> None:
    estimates = results.focus_estimates()
    wanted = {"Korean": "between-site", "Thai": "indirect", "SG_Malay": "between-batch"}
    wanted = {f"population: {code} - rest": status for code, status in wanted.items()}
    estimates = estimates[estimates["contrast"].isin(wanted)]
    estimates = estimates.assign(status=estimates["contrast"].map(wanted))
    figure = figures.forest(estimates, palette, model="betabinomial-mixed")
    headings = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert headings == [
        "Indirect: the two sides never shared a site",
        "Between batches: population and batch cannot be told apart",
        "Between sites: population and site cannot be told apart",
    ]
    assert tick_labels(figure.axes[0]) == ["Thai – all others"]
    assert not overlaps(figure)
    assert not outside(figure)


def test_forest_of_covariates_is_for_ten_years_of_age(results: Results, palette: Palette) -> None:
    row = results.focus_estimates().query("model == 'betabinomial-mixed' and status == 'between-site'").iloc[[0]]
    age = row.assign(contrast="age", estimate=0.02, ci_low=0.01, ci_high=0.03, status="within-site")
    site = age.assign(contrast="site: KR - JP")
    table = forest_table(pd.concat([age, site]), palette, model="betabinomial-mixed")
    assert table["contrast"].tolist() == ["age"]
    np.testing.assert_allclose(table[["ratio", "low", "high"]].to_numpy(float)[0], np.exp([0.2, 0.1, 0.3]))
    figure = figures.forest(age, palette, model="betabinomial-mixed")
    assert tick_labels(figure.axes[0]) == ["ten years of age"]
    assert figure.axes[0].get_title(loc="left") == "Within sites: covariate and site are told apart"
    # Where populations were compared, covariates have a figure of their own.
    both = forest_table(pd.concat([row, age]), palette, model="betabinomial-mixed")
    assert both["contrast"].tolist() == row["contrast"].tolist()


def test_forest_shows_ratios_not_logarithms(results: Results, palette: Palette) -> None:
    estimates = results.focus_estimates()
    table = forest_table(estimates, palette, model="betabinomial-mixed")
    korean = table[table["contrast"] == "population: Korean - rest"].set_index("model")["ratio"]
    shares = results.focus_shares().assign(korean=lambda t: t["population"] == "Korean")
    n, total = (shares.groupby("korean")[c].sum() for c in ("n", "total"))
    odds = (n + 0.5) / (total - n + 0.5)
    assert korean["betabinomial-mixed"] == pytest.approx(odds[True] / odds[False])
    ratio = ((n + 0.5) / (total + 1)).pipe(lambda p: p[True] / p[False])
    assert korean["log10-ols"] == pytest.approx(ratio)
    assert "propeller-asin" not in korean
    figure = figures.forest(estimates, palette, model="betabinomial-mixed")
    gid = "population: Korean - rest|betabinomial-mixed"
    (marker,) = [line for line in figure.axes[1].lines if line.get_gid() == gid]
    assert marker.get_xdata()[0] == pytest.approx(korean["betabinomial-mixed"])


def test_forest_draws_the_site_bound_as_a_band(results: Results, palette: Palette) -> None:
    bound = pd.DataFrame({"contrast": ["population: Korean - rest"], "low": [0.8], "high": [1.25]})
    with_band = figures.forest(results.focus_estimates(), palette, model="betabinomial-mixed", site_bound=bound)
    without = figures.forest(results.focus_estimates(), palette, model="betabinomial-mixed")
    assert len(with_band.axes[1].collections) == len(without.axes[1].collections) + 1
    xs = with_band.axes[1].collections[0].get_paths()[0].vertices[:, 0]
    assert (xs.min(), xs.max()) == (0.8, 1.25)


def test_shifts_rank_mark_and_cross_out(results: Results, palette: Palette) -> None:
    estimates = results.estimates
    estimates = estimates[(estimates["model"] == "betabinomial-mixed") & (estimates["denominator"] == "all")]
    table = shifts_table(estimates, palette)
    strongest = estimates.loc[estimates["statistic"].abs().idxmax(), "cell_type"]
    assert table.loc[table["rank"] == 1, "cell_type"].unique().tolist() == [strongest]
    figure = figures.shifts(estimates, palette, focus="Treg")
    axes = figure.axes[0]
    assert tick_labels(axes)[0] == strongest
    assert tick_labels(axes)[-1] == "dnT"
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 6
    (marked,) = [t for t in axes.get_yticklabels() if t.get_fontweight() == "bold"]
    assert marked.get_text() == "Treg"
    assert len(points(axes, "q")) == (table["q_value"] < 0.05).sum()


def test_no_contrast_with_the_rest_leaves_an_empty_map(results: Results, palette: Palette) -> None:
    pairs = results.estimates[~results.estimates["contrast"].str.endswith(" - rest")]
    assert len(pairs) > 0
    assert shifts_table(pairs, palette).empty
    assert "No population was compared with all others." in words(figures.shifts(pairs, palette, focus="Treg"))


def test_marks_of_significance_are_seen_on_every_tile(results: Results, palette: Palette) -> None:
    estimates = results.estimates.query("model == 'betabinomial-mixed' and denominator == 'all'")
    known = estimates["estimate"].notna()
    axes = figures.shifts(estimates.assign(q_value=np.where(known, 1e-4, np.nan)), palette, focus="Treg").axes[0]
    dots = [c for c in axes.findobj(PathCollection) if c.get_gid() == "q"]
    assert len(dots) == len(shifts_table(estimates, palette)["odds_ratio"].dropna())
    for dot in dots:
        # Dark with a white edge: one of the two is told from any colour. Three points wide at least.
        assert dot.get_facecolor().tolist() == [list(to_rgba(INK))]
        assert dot.get_edgecolor().tolist() == [list(to_rgba("white"))]
        assert np.sqrt(dot.get_sizes()[0]) - dot.get_linewidths()[0] > 3


def test_a_large_shift_by_chance_is_fainter_than_a_smaller_one_that_is_sure(results: Results, palette: Palette) -> None:
    estimates = results.estimates.query("model == 'betabinomial-mixed' and denominator == 'all'").copy()
    rare, sure = estimates["cell_type"] == "pDC", estimates["cell_type"] == "MAIT"
    for rows, value, half in ((rare, np.log(8), np.log(40)), (sure, np.log(1.6), np.log(1.2))):
        estimates.loc[rows, ["estimate", "ci_low", "ci_high"]] = [value, value - half, value + half]
    table = shifts_table(estimates, palette)
    figure = figures.shifts(estimates, palette, focus="Treg")
    mesh = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh))
    tiles = np.asarray(mesh.get_array())
    rows = {name: i for i, name in enumerate(dict.fromkeys(table["cell_type"]))}
    opaque, colour = tiles[..., 3], tiles[..., :3]
    ink = (opaque[..., None] * (1 - colour)).sum(axis=2)
    assert (ink[rows["MAIT"]] > 3 * ink[rows["pDC"]]).all()
    assert (opaque[rows["MAIT"]] > 0.75).all()
    np.testing.assert_allclose(opacity(np.array([1, 1, 1, 1.0]), np.array([2, 4, 16, 1e9])), [1, 2 / 3, 0.06, 0.06])


def test_a_far_sample_is_at_the_edge_with_its_share_and_squeezes_nobody(results: Results, palette: Palette) -> None:
    shares = results.focus_shares()
    rows = np.flatnonzero(shares["population"] == "Korean")[[3, 9]]
    top = shares["share"].drop(shares.index[rows]).max()
    far = shares["share"].to_numpy(copy=True)
    far[rows] = [0.412, 0.97]
    shares = shares.assign(share=far)
    figure = figures.share_by_population(shares, palette)
    axes = figure.axes[0]
    assert axes.get_xlim()[1] < 1.3 * top
    drawn = np.concatenate([points(axes, "donors-"), points(axes, "beyond-")])
    assert len(drawn) == len(shares)
    np.testing.assert_allclose(np.sort(points(axes, "donors-")[:, 0]), np.sort(np.delete(far, rows)))
    marks = points(axes, "beyond-Korean")
    assert len(marks) == 2
    # In a strip of their own, with their shares, so that nothing is hidden.
    assert (marks[:, 0] > 1.04 * top).all()
    assert "41.2, 97 %" in words(figure)
    for width in (figures.SINGLE, figures.DOUBLE):
        figure = figures.share_by_population(shares, palette, width=width)
        assert overlaps(figure) == []
        axes = figure.axes[0]
        text = next(t for t in axes.texts if "97 %" in t.get_text())
        left = axes.transData.inverted().transform(text.get_window_extent().min)[0]
        assert left > 1.04 * top
    assert "beyond the axis" in words(figure)
    plain = figures.share_by_population(results.focus_shares(), palette)
    assert "beyond the axis" not in words(plain)
    caption = plates(dataclasses.replace(results, shares=results.shares.assign(share=far_shares(results))), palette)
    assert "1 sample beyond the axis" in caption["share"].caption


def far_shares(results: Results) -> np.ndarray:
    """Return the shares of all rows, one of those that are drawn being 0.9."""
    shares = results.shares["share"].to_numpy(copy=True)
    shares[results.shares.index.get_loc(results.focus_shares().index[7])] = 0.9
    return shares


@pytest.mark.parametrize(
    ("shares", "end"),
    [
        ([0.03, 0.04, 0.04, 0.05, 0.05, 0.4], 0.05),
        # Of three nothing is far; two of ten are not few; zeros of most do not push the others out.
        ([0.03, 0.05, 0.4], 0.4),
        ([0.03, 0.04, 0.04, 0.05, 0.05, 0.04, 0.04, 0.05, 0.4, 0.5], 0.5),
        ([0.0] * 9 + [0.01], 0.01),
    ],
)
def test_an_axis_of_shares_ends_where_nearly_all_are(shares: list[float], end: float) -> None:
    table = pd.DataFrame({"median": [np.median(shares)], "high": [np.nan]})
    assert last_share(pd.Series(shares), table) == end
    # The median and its interval are never cut.
    assert last_share(pd.Series(shares), table.assign(high=0.45)) == 0.45


def test_design_map_has_a_tile_a_batch_and_names_the_aliased(results: Results, palette: Palette) -> None:
    figure = figures.design_map(results.design, palette)
    tiles = [p for p in figure.axes[0].patches if str(p.get_gid()).startswith("tile-")]
    assert len(tiles) == len(results.design)
    assert words(figure).count("aliased with") == 3
    assert words(figure).count("mixed with others") == 3
    assert "aliased with\nsite KR" in words(figure)


def test_design_map_names_populations_that_share_a_site_but_no_batch(palette: Palette) -> None:
    rows = [["SG_Malay", "SG", "B1"], ["SG_Indian", "SG", "B2"], ["Korean", "KR", "B3"], ["Thai", "KR", "B3"]]
    design = pd.DataFrame(rows, columns=["population", "site", "batch"]).assign(n_donors=4, aliased_with=None)
    figure = figures.design_map(design, palette)
    found = {label.get_text().replace("\n", " "): label.get_fontweight() for label in figure.axes[1].get_yticklabels()}
    assert found == {"no shared batch in SG": "bold", "mixed with others in KR": "normal"}
    assert "batch not\nrecorded" in words(figures.design_map(design.assign(batch=None), palette))


def test_a_site_that_nobody_recorded_is_not_called_aliased(results: Results, palette: Palette) -> None:
    design = results.design.assign(site=None, aliased_with="Korean with no site recorded")
    text = words(figures.design_map(design, palette))
    assert "aliased" not in text
    assert text.count("site not\nrecorded") == 6


def test_controls_have_a_point_a_sample_and_a_line_a_site(results: Results) -> None:
    table = results.focus_controls()
    figure = figures.controls(table, title="Treg")
    lines = figure.axes[0].lines
    assert sum(line.get_gid() == "control" for line in lines) == len(table)
    assert sum(line.get_gid() == "pooled" for line in lines) == len(table[["site", "donor_id"]].drop_duplicates())
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend == ["control LONZA3038016", "control LONZA3038097"]


def test_composition_bars_fill_the_whole(results: Results, palette: Palette) -> None:
    shares = results.shown(results.shares)
    shares = shares[shares["denominator"] == "all"]
    figure = figures.composition(shares, palette, focus="Treg")
    widths: dict[float, float] = {}
    for bar in figure.axes[0].patches:
        widths[bar.get_y()] = widths.get(bar.get_y(), 0) + bar.get_width()
    assert len(widths) == 6
    assert list(widths.values()) == pytest.approx([1] * 6)
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert legend[0] == "Treg"
    assert legend[-1] == "14 other types"


def test_a_population_of_one_donor_has_a_point_and_no_interval(results: Results, palette: Palette) -> None:
    shares = results.focus_shares().query("population == 'Korean'").iloc[:1]
    figure = figures.share_by_population(shares, palette)
    assert len(points(figure.axes[0], "donors-")) == 1
    assert "1 donor · 1 batch" in words(figure)
    assert not [p for p in figure.axes[0].patches if p.get_alpha() == 0.16]


@pytest.mark.parametrize(
    "draw", ["share_by_population", "share_by_sample", "design_map", "controls", "forest", "shifts"]
)
def test_an_empty_table_gives_a_sentence(draw: str, results: Results, palette: Palette) -> None:
    tables = {"design_map": results.design, "controls": results.controls, "forest": results.estimates}
    table = tables.get(draw, results.estimates if draw == "shifts" else results.shares).iloc[:0]
    extra = {"forest": {"model": "m"}, "shifts": {"focus": "Treg"}}.get(draw, {})
    figure = getattr(figures, draw)(*([table] if draw == "controls" else [table, palette]), **extra)
    assert words(figure).strip().endswith(".")


@pytest.mark.parametrize("width", [figures.SINGLE, figures.DOUBLE])
def test_no_text_overlaps_or_leaves_the_page(width: float, results: Results, palette: Palette) -> None:
    estimates = results.estimates.query("model == 'betabinomial-mixed' and denominator == 'all'")
    whole = results.shown(results.shares).query("denominator == 'all'")
    focus = results.focus_shares()
    standardised = focus.groupby("population", as_index=False)["share"].mean().assign(ci_low=0.02, ci_high=0.06)
    drawn = {
        "share": figures.share_by_population(focus, palette, title="Treg", standardised=standardised, width=width),
        "samples": figures.share_by_sample(focus.head(5), palette, title="Treg share of CD4 T cells", width=width),
        "forest": figures.forest(results.focus_estimates(), palette, model="betabinomial-mixed", width=width),
        "shifts": figures.shifts(estimates, palette, focus="Treg", width=width),
        "design": figures.design_map(results.design, palette, width=width),
        "controls": figures.controls(results.focus_controls(), title="Treg share", width=width),
        "composition": figures.composition(whole, palette, focus="Treg", width=width),
    }
    for name, figure in drawn.items():
        assert overlaps(figure) == [], name
        assert outside(figure) == [], name


def test_twenty_populations_with_long_names_fit(tmp_path, palette: Palette) -> None:
    sites = {f"S{i:02d}": ("X", 2, (f"A_population_with_a_long_name_{i}",)) for i in range(20)}
    many = load_results(
        write_compare(tmp_path, sites=sites, donors_per_batch=3, drop=(), models=("betabinomial-mixed",))
    )
    for plate in plates(many, palette).values():
        figure = plate.draw()
        assert overlaps(figure) == [], plate.stem
        assert outside(figure) == [], plate.stem


def test_synthetic_data_are_marked_on_every_figure(results: Results, palette: Palette) -> None:
    for plate in plates(results, palette).values():
        text = words(plate.draw())
        assert "SYNTHETIC DATA" in text, plate.stem
        assert "\nSYNTHETIC\n" in f"\n{text}\n", plate.stem


def test_real_data_carry_no_mark(tmp_path, palette: Palette) -> None:
    real = load_results(write_compare(tmp_path, synthetic=False, models=("betabinomial",)))
    found = plates(real, palette)
    assert list(found) == ["share", "forest", "design_map", "controls", "shifts", "age_and_sex", "composition"]
    for plate in found.values():
        assert "SYNTHETIC" not in words(plate.draw())
        assert plate.caption.endswith(".")
        assert plate.alt.endswith(".")
