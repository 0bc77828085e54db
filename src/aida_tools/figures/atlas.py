"""A picture of the cells: a sketch of them in the plane, by type, by site and by what they express."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from aida_tools.figures.style import (
    CYCLE,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
    canvas,
    legend_columns,
    note,
    shade,
    styled,
    wrap,
)

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
    span = 2 * per_row if narrow or n_large == 1 else per_row
    types = figure.add_subplot(grid[0, :span])
    side = min(large[0], width * span / (2 * per_row))
    _groups(types, sketch, "cell_type", _type_colours(sketch["cell_type"], focus), side, last=focus)
    types.set_title("Cell types")
    # Room for names beside the outermost cells.
    types.margins(0.14, 0.05)
    if column is not None:
        axes = figure.add_subplot(grid[1, :] if narrow else grid[0, span:])
        levels = sorted(sketch[column].dropna().astype(str).unique())
        colours = {level: _cycle(i) for i, level in enumerate(levels)}
        _groups(axes, sketch, column, colours, side)
        axes.set_title("Sites" if column == "site" else f"Batches ({len(levels)})")
        if len(levels) <= len(CYCLE):
            handles = [
                Line2D([], [], linestyle="", marker="o", markersize=3, color=colours[level], label=wrap(level, 24))
                for level in levels
            ]
            columns = legend_columns(levels, width * (1 if narrow else 0.5))
            axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=columns)
    for i, gene in enumerate(genes):
        row, place = divmod(i, per_row)
        _gene(figure.add_subplot(grid[len(large) + row, 2 * place : 2 * place + 2]), sketch, gene, small)
    # The places of the panels must be settled before names can keep out of each other's way.
    figure.draw_without_rendering()
    _name_types(types, sketch, focus, figure)
    return figure


def _cycle(i: int) -> str:
    """Return the i-th colour; after the cycle come lighter and darker shades of it."""
    return shade(CYCLE[i % len(CYCLE)], (0, 0.45, -0.4)[i // len(CYCLE) % 3])


def _type_colours(types: pd.Series, focus: str) -> dict[str, str]:
    names = [str(n) for n in types.value_counts().index if n != focus]
    return {name: _cycle(i) for i, name in enumerate(names)} | {focus: FOCUS}


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
        own["x"], own["y"], s=_size(len(own), side), c=own[column], cmap=_SEEN, vmin=0, vmax=top,
        edgecolors="none", rasterized=True, gid="cells",
    )  # fmt: skip
    axes.set_title(column.removeprefix(EXPRESSION), style="italic", fontsize=6.5)
    axes.set_title(f"0–{top:.1f}" if len(seen) else "not seen", loc="right", fontsize=5.4, color=MUTED, weight="normal")


def densest(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Return a point among the cells where they are most, rather than their mean, which may lie between two groups."""
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=12)
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    inside = (x >= x_edges[i]) & (x <= x_edges[i + 1]) & (y >= y_edges[j]) & (y <= y_edges[j + 1])
    return float(x[inside].mean()), float(y[inside].mean())


def _name_types(axes: Axes, sketch: pd.DataFrame, focus: str, figure: Figure) -> None:
    """Write the names of the types beside their cells, with a line, where they hide few cells and no other name."""
    counts = sketch["cell_type"].value_counts()
    names = [*([focus] if focus in counts else []), *[n for n in counts.index if n != focus]][:_MOST_NAMED]
    page = axes.get_window_extent()
    line = _NAME_SIZE * figure.dpi / 72
    pixels = axes.transData.transform(sketch[["x", "y"]].to_numpy(float))
    # Rings of places around a type, as multiples of the height of a line.
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    places = [(0.0, 0.0, 0.0)] + [(r, 2 * r * np.cos(a), r * np.sin(a)) for r in np.arange(1, 14, 0.5) for a in angles]
    taken: list[Bbox] = []
    for name in names:
        own = sketch[sketch["cell_type"] == name]
        centre = densest(own["x"].to_numpy(float), own["y"].to_numpy(float))
        text = axes.annotate(
            wrap(str(name), 18), centre, xytext=(0, 0), textcoords="offset points", ha="center", va="center",
            fontsize=_NAME_SIZE, color=FOCUS if name == focus else INK, gid="type", linespacing=1.0,
            fontweight="bold" if name == focus else "normal", zorder=4 if name == focus else 3,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": INK, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        text.set_in_layout(False)
        box = text.get_window_extent().expanded(1.06, 1.15)
        best, least = None, np.inf
        for far, dx, dy in places:
            there = box.translated(dx * line, dy * line)
            inside = page.x0 <= there.x0 and there.x1 <= page.x1 and page.y0 <= there.y0 and there.y1 <= page.y1
            if far < least and inside and not any(there.overlaps(other) for other in taken):
                # A line's height further away is worth one per cent of the cells.
                cost = far + 100 * float(np.mean((there.min <= pixels).all(axis=1) & (pixels <= there.max).all(axis=1)))
                if cost < least:
                    best, least = there, cost
        if best is None:
            text.remove()
            continue
        text.set_position(((best.x0 - box.x0) * 72 / figure.dpi, (best.y0 - box.y0) * 72 / figure.dpi))
        taken.append(best)
