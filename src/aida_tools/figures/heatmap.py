"""Heat map of all cell types' shifts, so that the focus type is seen among the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from aida_tools.figures.style import DOUBLE, FOCUS, INK, MUTED, Palette, canvas, note, on, styled, wrap

#: q-value thresholds and the area of their dots, points^2.
DOTS = ((0.001, 13.0), (0.01, 7.0), (0.05, 2.5))


def shifts_table(estimates: pd.DataFrame, palette: Palette) -> pd.DataFrame:
    """Arrange the one-vs-rest estimates of one model, denominator and annotator for the heat map.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv`; contrasts other than `population: X - rest` are left out.

    Returns
    -------
    Columns `rank, cell_type, population, status, odds_ratio, q_value, statistic`. Rank 1 is the cell type with the
    largest absolute statistic over the populations; types with no estimate come last.
    """
    chosen = estimates[estimates["contrast"].str.fullmatch(r"population: .* - rest")].copy()
    chosen["population"] = chosen["contrast"].str.removeprefix("population: ").str.removesuffix(" - rest")
    chosen["odds_ratio"] = np.exp(chosen["estimate"])
    strength = chosen["statistic"].abs().groupby(chosen["cell_type"]).max().fillna(-1.0)
    ranks = {t: i for i, t in enumerate(strength.sort_values(ascending=False, kind="stable").index, start=1)}
    chosen["rank"] = chosen["cell_type"].map(ranks)
    order = {code: i for i, code in enumerate(palette.order(chosen["population"]))}
    chosen = chosen.sort_values(["rank", "population"], key=lambda s: s.map(order) if s.name == "population" else s)
    columns = ["rank", "cell_type", "population", "status", "odds_ratio", "q_value", "statistic"]
    return chosen[columns].reset_index(drop=True)


@styled
def shifts(
    estimates: pd.DataFrame,
    palette: Palette,
    *,
    focus: str,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw the odds ratio of every cell type in every population against all others.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv` for one model, denominator and annotator.
    palette
        Labels of the populations.
    focus
        The cell type whose row is marked.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Rows are cell types (strongest shift first), columns populations. Colour is the odds ratio, dots are q-values
    (smaller q, larger dot), a cross is an estimate that does not exist.
    """
    table = shifts_table(estimates, palette)
    types = list(dict.fromkeys(table["cell_type"]))
    codes = palette.order(table["population"])
    height = 4.1 * max(len(types), 3) + 24 + 4 * synthetic
    # Tiles much wider than high are hard to compare: few populations make a narrower figure.
    width = min(width, 62.0 + 15.5 * max(len(codes), 2))
    figure = canvas(width, height, synthetic=synthetic)
    axes = figure.subplots()
    if table.empty:
        note(axes, "No population was compared with all others.")
        return figure

    def grid(column: str) -> NDArray[np.float64]:
        wide = table.pivot(index="cell_type", columns="population", values=column)
        return wide.reindex(index=types, columns=codes).to_numpy(float)

    values, q = np.log2(grid("odds_ratio")), grid("q_value")
    seen = np.abs(values[np.isfinite(values)])
    limit = float(np.clip(np.quantile(seen, 0.98) if len(seen) else 1, np.log2(1.5), 2.5))
    image = axes.pcolormesh(
        np.ma.masked_invalid(values),
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -limit, limit),
        edgecolors="white",
        linewidth=0.6,
    )
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.plot(j + 0.5, i + 0.5, marker="x", color=MUTED, markersize=2.6, markeredgewidth=0.6)
        elif (size := next((s for threshold, s in DOTS if q[i, j] < threshold), 0)) > 0:
            axes.scatter(
                j + 0.5, i + 0.5, s=size, color=on(image.to_rgba(value)[:3]), edgecolors="none", zorder=3, gid="q"
            )
    if focus in types:
        row = types.index(focus)
        axes.add_patch(
            Rectangle((0, row), len(codes), 1, fill=False, edgecolor=FOCUS, linewidth=1.4, zorder=4, clip_on=False)
        )
    names = [wrap(t, 30) for t in types]
    axes.set_yticks(np.arange(len(types)) + 0.5, names)
    upright = width >= 62.0 + 13 * len(codes)
    axes.set_xticks(
        np.arange(len(codes)) + 0.5,
        [wrap(palette.label(c), 12) if upright else palette.label(c) for c in codes],
        rotation=0 if upright else 90,
        fontsize=6,
    )
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for label in axes.get_yticklabels():
        if label.get_text() == wrap(focus, 30):
            label.set(fontweight="bold", color=FOCUS)
    bar = figure.colorbar(
        image, ax=axes, shrink=min(1.0, 34 / height), aspect=14, pad=0.02, anchor=(0, 1.0), extend="both"
    )
    steps = (0.25, 0.5, 1, 2, 4) if limit > 1 else (0.5, 0.67, 0.8, 1, 1.25, 1.5, 2)
    ticks = [t for t in steps if abs(np.log2(t)) <= limit]
    bar.set_ticks(list(np.log2(ticks)), labels=[f"{t:g}" for t in ticks])
    bar.ax.set_title("odds ratio\nagainst all others", fontsize=6, fontweight="normal", linespacing=1.2)
    bar.outline.set_visible(False)
    dots = [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="none",
            color=INK,
            markersize=np.sqrt(s),
            markeredgewidth=0,
            label=f"q < {t:g}",
        )
        for t, s in DOTS
    ]
    dots.append(Line2D([], [], marker="x", linestyle="none", color=MUTED, markersize=3, label="not estimated"))
    figure.legend(handles=dots, loc="outside right lower", labelspacing=0.5)
    return figure
