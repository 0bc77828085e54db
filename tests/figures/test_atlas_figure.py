"""The picture of the cells: what is drawn where, in which colour, and that names keep out of each other's way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from scipy import optimize

from aida_tools import figures
from aida_tools.atlas.figures import densest, spread
from aida_tools.figures.run import plates
from aida_tools.figures.style import DPI, FOCUS, Palette
from aida_tools.results.results import Results
from tests.figures import made_extra as made
from tests.figures.made_compare import beside
from tests.figures.test_figures_drawn import outside, points, words


def titles(figure: Figure) -> list[str]:
    return [a.get_title(loc="left") for a in figure.axes]


def scatters(axes: Axes) -> list[PathCollection]:
    return [c for c in axes.collections if isinstance(c, PathCollection)]


def names(figure: Figure) -> list[Annotation]:
    return [t for t in figure.findobj(Annotation) if t.get_gid() == "type"]


def many_types(n_types: int = 34) -> pd.DataFrame:
    """Return types that lie on top of each other, three to a place."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, n_types, 5000)
    centre = np.random.default_rng(1).normal(0, 6, (n_types, 2))[kind // 3]
    xy = centre + rng.normal(0, 1, (5000, 2))
    labels = [f"CD8+_T_cell_type_{k}" if k else "Treg" for k in kind]
    return pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "cell_type": labels, "site": "SG", "batch": "SG_B1"})


def test_every_cell_is_a_point_in_every_panel() -> None:
    table = made.sketch()
    figure = figures.atlas(table, focus="Treg")
    assert titles(figure) == ["Cell types", "Sites", "FOXP3", "CD4"]
    for axes in figure.axes:
        drawn = points(axes, "cells")
        np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(table["x"]))
        assert all(c.get_rasterized() for c in scatters(axes))


def test_the_focus_type_is_red_and_above_the_others() -> None:
    table = made.sketch()
    others, focus = scatters(figures.atlas(table, focus="Treg").axes[0])
    assert len(focus.get_offsets()) == (table["cell_type"] == "Treg").sum()
    np.testing.assert_allclose(focus.get_facecolors(), [to_rgba(FOCUS)] * len(focus.get_offsets()))
    assert len(np.unique(others.get_facecolors(), axis=0)) == 5
    assert not (np.abs(others.get_facecolors() - to_rgba(FOCUS)).sum(axis=1) < 0.01).any()
    assert focus.get_sizes()[0] > others.get_sizes()[0]


def test_sites_keep_the_order_of_the_table_so_that_none_hides_another() -> None:
    table = made.sketch()
    axes = figures.atlas(table, focus="Treg").axes[1]
    colours = scatters(axes)[0].get_facecolors()
    assert all(len(np.unique(colours[table["site"] == site], axis=0)) == 1 for site in ("JP", "KR", "SG"))
    assert len(np.unique(colours, axis=0)) == 3
    legend = axes.get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["JP", "KR", "SG"]


def test_expression_goes_to_the_99th_percentile_with_the_highest_on_top() -> None:
    table = made.sketch()
    figure = figures.atlas(table, focus="Treg")
    (foxp3,) = scatters(figure.axes[2])
    values = np.asarray(foxp3.get_array())
    assert (np.diff(values) >= 0).all()
    assert foxp3.get_clim() == (0, pytest.approx(np.percentile(table["expr:FOXP3"], 99)))


def test_the_range_of_a_gene_stands_beside_its_name() -> None:
    figure = figures.atlas(made.sketch(), focus="Treg")
    figure.draw_without_rendering()
    ranges = [t for t in figure.findobj(Annotation) if t.get_gid() == "range"]
    top = np.percentile(made.sketch()["expr:FOXP3"], 99)
    assert [t.get_text() for t in ranges] == [f"0–{top:.1f}", "not seen"]
    for text, axes in zip(ranges, figure.axes[2:], strict=True):
        name = next(t for t in axes.findobj(Text) if t.get_text() == axes.get_title(loc="left"))
        gap = text.get_window_extent().x0 - name.get_window_extent().x1
        assert 0 < gap / figure.dpi * 25.4 < 3


def test_names_stand_at_the_sides_and_hide_no_cell() -> None:
    figure = figures.atlas(made.sketch(), focus="Treg")
    figure.draw_without_rendering()
    cells = figure.axes[0].transData.transform(points(figure.axes[0], "cells"))
    for text in names(figure):
        box = Text.get_window_extent(text)
        assert not ((box.min < cells).all(axis=1) & (cells < box.max).all(axis=1)).any(), text.get_text()


def test_things_on_a_line_are_moved_apart_as_little_as_it_takes() -> None:
    places = spread(np.array([1.0, 5.0, 5.5, 9.8]), np.array([1.0, 2.0, 2.0, 1.0]), 0, 10)
    # The middle two share the move; the last is held back by the end of the line.
    np.testing.assert_allclose(places, [1.0, 4.25, 6.25, 9.5])
    rng = np.random.default_rng(0)
    wanted, heights = np.sort(rng.uniform(0, 10, 12)), rng.uniform(0.4, 0.8, 12)
    moved = spread(wanted, heights, 0, 10)
    assert (np.diff(moved) >= (heights[1:] + heights[:-1]) / 2 - 1e-9).all()
    apart = optimize.LinearConstraint(np.eye(12, k=1)[:-1] - np.eye(12)[:-1], (heights[1:] + heights[:-1]) / 2)
    bounds = list(zip(heights / 2, 10 - heights / 2, strict=True))
    best = optimize.minimize(lambda y: ((y - wanted) ** 2).sum(), moved, constraints=apart, bounds=bounds)
    np.testing.assert_allclose(moved, best.x, atol=1e-4)
    assert spread(np.empty(0), np.empty(0), 0, 1).size == 0


@pytest.mark.parametrize("width", [figures.SINGLE, figures.DOUBLE])
@pytest.mark.parametrize("table", [made.sketch(), many_types()], ids=["six", "many"])
def test_names_are_all_there_apart_and_on_the_page(table: pd.DataFrame, width: float) -> None:
    figure = figures.atlas(table, focus="Treg", width=width, synthetic=True)
    figure.set_dpi(DPI)
    figure.draw_without_rendering()
    found = names(figure)
    said = {t.get_text().replace("\n", "") for t in found}
    assert said == set(table["cell_type"])
    # The text alone; the line to the cells may pass others.
    boxes = [Text.get_window_extent(t).shrunk(0.97, 0.9) for t in found]
    assert not [(i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]
    assert outside(figure) == []


def test_a_name_stands_near_its_cells() -> None:
    table = made.sketch()
    for text in names(figures.atlas(table, focus="Treg")):
        own = table[table["cell_type"] == text.get_text()]
        assert np.hypot(own["x"].mean() - text.xy[0], own["y"].mean() - text.xy[1]) < 0.8


def test_the_densest_place_of_two_groups_is_in_the_larger() -> None:
    rng = np.random.default_rng(0)
    x, y = np.r_[rng.normal(0, 1, 900), rng.normal(20, 1, 300)], rng.normal(0, 1, 1200)
    px, py = densest(x, y)
    assert abs(px) < 1.5
    assert abs(py) < 1.5


def test_one_site_gives_way_to_batches_and_one_batch_to_nothing() -> None:
    table = made.sketch().assign(site="SG")
    assert titles(figures.atlas(table, focus="Treg"))[1] == "Batches (3)"
    assert titles(figures.atlas(table.assign(batch="b"), focus="Treg")) == ["Cell types", "FOXP3", "CD4"]


def test_cells_without_label_or_site_are_drawn_too() -> None:
    table = made.sketch()
    table.loc[:500, ["cell_type", "site"]] = None
    figure = figures.atlas(table, focus="Treg")
    assert len(points(figure.axes[0], "cells")) == len(points(figure.axes[1], "cells")) == 3000
    assert "nan" not in words(figure)


def test_no_cells_and_no_focus_are_said() -> None:
    assert "no cell" in words(figures.atlas(made.sketch().iloc[:0], focus="Treg"))
    assert "ILC2" not in words(figures.atlas(made.sketch(), focus="ILC2"))


def test_the_plate_warns_of_shares_and_distances(results: Results, palette: Palette) -> None:
    table = made.sketch()
    plate = plates(beside(results, {"sketch": table}), palette)["atlas"]
    assert "Rare types are over-sampled: do not compute shares from it." in plate.caption
    assert "no evidence" in plate.caption
    assert "3,000 cells of 6 types" in plate.alt
    assert "FOXP3, CD4" in plate.alt
    pd.testing.assert_frame_equal(plate.table, table)
    assert "SYNTHETIC DATA" in words(plate.draw())
    how = {"annotator": "gate", "harmony": "False", "n_cells_of_cohort": "1265624"}
    about = pd.DataFrame({"key": list(how), "value": list(how.values())})
    plate = plates(beside(results, {"sketch": table, "sketch_about": about}), palette)["atlas"]
    assert plate.caption.startswith(
        "3,000 of the 1,265,624 cells, placed by UMAP, not corrected for batches: by cell type as labelled by gate with"
    )
    whole = pd.DataFrame({"key": ["n_cells_of_cohort"], "value": ["3000"]})
    assert (
        "over-sampled"
        not in plates(beside(results, {"sketch": table, "sketch_about": whole}), palette)["atlas"].caption
    )
    assert "atlas" not in plates(results, palette)
