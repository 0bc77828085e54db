"""A picture of the cells: a sketch of them in the plane, by type, by site and by what they express."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from aida_tools.atlas.tables import SKETCH, SKETCH_ABOUT
from aida_tools.core.words import counted
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    CYCLE,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
    Palette,
    canvas,
    cycle,
    legend_columns,
    note,
    shade,
    styled,
    wrap,
)
from aida_tools.results.results import Results

#: Column of a gene's expression: `expr:FOXP3`.
EXPRESSION = "expr:"
_SEEN = LinearSegmentedColormap.from_list("expression", [RULE, "#56B4E9", "#08306B"])
_MOST_NAMED, _NAME_SIZE = 36, 5.2


@styled
def atlas(sketch: pd.DataFrame, *, focus: str, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw a sketch of the cells in the plane.

    Parameters
    ----------
    sketch
        One row a cell: `x, y, cell_type, site, batch` and `expr:GENE` (log1p counts per 10,000) for any genes. Cells
        are drawn in this order, so it should not be that of the batches.
    focus
        The cell type of interest, drawn in red above the others.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A panel of cell types with their names, one of sites (of batches where there is one site, none where there is one
    batch), and one for each gene, whose darkest colour is its 99th percentile.
    """
    narrow = width < 120
    # Types that are called by numbers are read as such.
    sketch = sketch.assign(cell_type=sketch["cell_type"].map(str, na_action="ignore"))
    column = next((c for c in ("site", "batch") if sketch[c].nunique() > 1), None)
    genes = [str(c) for c in sketch if str(c).startswith(EXPRESSION)]
    n_large, per_row = 1 + (column is not None), 3 if narrow else 5
    rows = -(-len(genes) // per_row)
    large = [width * 0.8] + [width * 0.6] * (n_large - 1) if narrow else [78.0]
    small = width / per_row * 0.95
    height = sum(large) + rows * small + 4 * synthetic
    figure = canvas(width, height, synthetic=synthetic)
    if sketch.empty:
        note(figure.subplots(), "There is no cell to draw.")
        return figure
    grid = figure.add_gridspec(len(large) + rows, 2 * per_row, height_ratios=large + [small] * rows)
    # The names need room beside the cells.
    span = 2 * per_row if narrow or n_large == 1 else per_row + 1
    types = figure.add_subplot(grid[0, :span])
    side = min(large[0], width * span / (2 * per_row))
    colours = _type_colours(sketch["cell_type"], focus)
    _groups(types, sketch, "cell_type", colours, side, last=focus)
    types.set_title("Cell types")
    # Room for the names at both sides.
    types.margins(0.45, 0.05)
    if column is not None:
        axes = figure.add_subplot(grid[1, :] if narrow else grid[0, span:])
        levels = sorted(sketch[column].dropna().astype(str).unique())
        by_level = {level: cycle(i) for i, level in enumerate(levels)}
        _groups(axes, sketch, column, by_level, side)
        axes.set_title("Sites" if column == "site" else f"Batches ({len(levels)})")
        if len(levels) <= len(CYCLE):
            handles = [
                Line2D([], [], linestyle="", marker="o", markersize=3, color=by_level[level], label=wrap(level, 24))
                for level in levels
            ]
            columns = legend_columns(levels, width * (1 if narrow else 0.5))
            axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns)
    for i, gene in enumerate(genes):
        row, place = divmod(i, per_row)
        _gene(figure.add_subplot(grid[len(large) + row, 2 * place : 2 * place + 2]), sketch, gene, small)
    # The places of the panels must be settled before names can keep out of each other's way.
    figure.draw_without_rendering()
    _name_types(types, sketch, colours, focus, figure)
    return figure


def _type_colours(types: pd.Series, focus: str) -> dict[str, str]:
    names = [str(n) for n in types.value_counts().index if n != focus]
    return {name: cycle(i) for i, name in enumerate(names)} | {focus: FOCUS}


def _size(n: int, side: float) -> float:
    """Return the area of a point, pt², for n of them on a panel of `side` mm."""
    return float(np.clip(0.15 * (side * 72 / 25.4) ** 2 / max(n, 1), 0.12, 6))


def _blank(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _groups(
    axes: Axes, sketch: pd.DataFrame, column: str, colours: dict[str, str], side: float, *, last: str | None = None
) -> None:
    """Draw every cell in the colour of its group, in the order of the table but for one group above the others."""
    _blank(axes)
    size = _size(len(sketch), side)
    above = (sketch[column] == last).to_numpy()
    for own, factor in ((sketch[~above], 1.0), (sketch[above], 2.5)):
        shown = own[column].astype(object).map(colours).fillna(RULE)
        axes.scatter(own["x"], own["y"], s=size * factor, c=shown, edgecolors="none", rasterized=True, gid="cells")


def _gene(axes: Axes, sketch: pd.DataFrame, column: str, side: float) -> None:
    _blank(axes)
    own = sketch.sort_values(column, kind="stable")
    seen = own.loc[own[column] > 0, column]
    top = float(np.percentile(own[column], 99)) or float(seen.max() if len(seen) else 1)
    axes.scatter(
        own["x"],
        own["y"],
        s=_size(len(own), side),
        c=own[column],
        cmap=_SEEN,
        vmin=0,
        vmax=top,
        edgecolors="none",
        rasterized=True,
        gid="cells",
    )
    # A gap to the next gene's cells.
    axes.margins(0.12, 0.05)
    name = axes.set_title(column.removeprefix(EXPRESSION), style="italic", fontsize=6.5)
    # Beside the name: at the other end of the panel it would read as the next gene's.
    axes.annotate(
        f"0–{top:.1f}" if len(seen) else "not seen",
        (1, 0),
        xycoords=name,
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=5.4,
        color=MUTED,
        gid="range",
    )


def densest(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return a point among the cells where they are most, rather than their mean, which may lie between two groups."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=12)
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    inside = (x >= x_edges[i]) & (x <= x_edges[i + 1]) & (y >= y_edges[j]) & (y <= y_edges[j + 1])
    return float(x[inside].mean()), float(y[inside].mean())


def spread(wanted: NDArray[np.float64], heights: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Move things on a line apart, so that none overlaps another, as little as that takes.

    Parameters
    ----------
    wanted
        Where their middles would like to be, in rising order, shape (n,).
    heights
        How much room each needs, shape (n,).
    low, high
        The ends of the line.

    Returns
    -------
    Their middles, in the same order, with the least sum of squared moves (isotonic regression).
    """
    if not len(wanted):
        return wanted
    before = np.concatenate([[0.0], (heights[1:] + heights[:-1]) / 2]).cumsum()
    first = isotonic_regression(wanted - before).x
    return before + np.clip(first, low + heights[0] / 2, high - heights[-1] / 2 - before[-1])


def _name_types(axes: Axes, sketch: pd.DataFrame, colours: dict[str, str], focus: str, figure: Figure) -> None:
    """Write the names of the types at the left and right edges, each with a line to its cells: they hide none."""
    counts = sketch["cell_type"].value_counts()
    names = [*([focus] if focus in counts else []), *[n for n in counts.index if n != focus]][:_MOST_NAMED]
    places = {}
    for name in names:
        own = sketch[sketch["cell_type"] == name]
        places[name] = densest(own["x"].to_numpy(float), own["y"].to_numpy(float))
    page, line = axes.get_window_extent(), 1.25 * _NAME_SIZE * figure.dpi / 72
    by_side = sorted(names, key=lambda name: places[name][0])
    half = (len(names) + 1) // 2
    for x, align, side in ((0.0, "left", by_side[:half]), (1.0, "right", by_side[half:])):
        own_names = sorted(side, key=lambda name: places[name][1])
        texts = [wrap(name, 22) for name in own_names]
        heights = line * np.array([text.count("\n") + 1.0 for text in texts])
        wanted = axes.transData.transform([places[name] for name in own_names] or np.empty((0, 2)))[:, 1]
        for name, text, y in zip(own_names, texts, spread(wanted, heights, page.y0, page.y1), strict=True):
            axes.annotate(
                text,
                places[name],
                xytext=(x, (y - page.y0) / page.height),
                textcoords="axes fraction",
                ha=align,
                va="center",
                fontsize=_NAME_SIZE,
                color=FOCUS if name == focus else INK,
                fontweight="bold" if name == focus else "normal",
                linespacing=1.0,
                zorder=4,
                gid="type",
                arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": shade(colours[name], -0.25), "shrinkB": 0},
            ).set_in_layout(False)


@figure(
    "atlas",
    section="labels",
    place=60,
    short="A sketch of the cells placed by UMAP, by type, site and marker genes. Rare types are over-sampled:"
    " do not compute shares from it. Distances are no evidence.",
)
def atlas_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the cells themselves."""
    sketch, focus = results[SKETCH], results.primary["focus"]
    if sketch.empty:
        return None
    genes = [str(c).removeprefix(EXPRESSION) for c in sketch if str(c).startswith(EXPRESSION)]
    place = next((f", by {column}" for column in ("site", "batch") if sketch[column].nunique() > 1), "")
    how = dict(zip(results[SKETCH_ABOUT]["key"], results[SKETCH_ABOUT]["value"].astype(str), strict=True))
    n_cohort = int(how.get("n_cells_of_cohort", 0))
    source = f" of the {n_cohort:,} cells" if n_cohort else " cells of a sketch"
    by_whom = f" as labelled by {how['annotator']}" if "annotator" in how else ""
    batches = {"True": ", after correction for batches by Harmony", "False": ", not corrected for batches"}
    by_gene = (
        f", and by expression of {counted(len(genes), 'gene')} (log1p counts per 10,000; the range is beside the name, "
        "its end the 99th percentile)"
        if genes
        else ""
    )
    uneven = "" if len(sketch) == n_cohort else " Rare types are over-sampled: do not compute shares from it."
    common = ", ".join(str(n) for n in sketch["cell_type"].value_counts().index[:5])
    shown = f"; expression of {', '.join(genes)}" if genes else ""
    return Plate(
        stem="atlas",
        title="The cells",
        caption=f"{len(sketch):,}{source}, placed by UMAP{batches.get(how.get('harmony', ''), '')}: by cell type"
        f"{by_whom} with {focus} in red{place}{by_gene}.{uneven} "
        "Distances, sizes and gaps in a UMAP are no evidence.",
        alt=f"Scatter plots of {len(sketch):,} cells of {sketch['cell_type'].nunique()} types, the most common in the "
        f"sketch being {common}{shown}.",
        table=sketch,
        draw=lambda: atlas(sketch, focus=focus, synthetic=results.synthetic),
    )
