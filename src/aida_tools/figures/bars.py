"""The whole composition, as stacked bars."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.shares import summarise
from aida_tools.figures.style import (
    CYCLE,
    DOUBLE,
    FOCUS,
    RULE,
    Palette,
    canvas,
    note,
    on,
    percent_axis,
    shade,
    styled,
    wrap,
)
from aida_tools.results.results import Results, of_what


def _cut(name: str, most: int = 24) -> str:
    """Shorten a name that the figure gives in full elsewhere."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


@styled
def composition(
    shares: pd.DataFrame,
    palette: Palette,
    *,
    focus: str,
    show: int = 11,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw the whole composition: the mean of each population, and every donor as a thin column.

    Parameters
    ----------
    shares
        One row a sample and cell type of one denominator: `sample_id, population, site, cell_type, share` (0-1).
    palette
        Labels, colours and order of the populations.
    focus
        The cell type always shown, at the bottom.
    show
        How many cell types to show by name, the focus included; the rest are united.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure of two panels: populations, and donors.
    """
    palette = palette.among(shares["population"].dropna())
    mean = shares.groupby("cell_type")["share"].mean().sort_values(ascending=False)
    named = [focus, *[t for t in mean.index if t != focus]][: show if len(mean) > show else len(mean)]
    rest = [t for t in mean.index if t not in named]
    colours = dict(zip(named, [FOCUS, *[shade(c, 0.25) for c in CYCLE]], strict=False))
    wide = shares.pivot_table(index="sample_id", columns="cell_type", values="share", aggfunc="sum").fillna(0.0)
    parts = wide.reindex(columns=named).fillna(0.0)
    if rest:
        parts = parts.assign(**{f"{len(rest)} other types": wide[rest].sum(axis=1)})
        colours[parts.columns[-1]] = RULE
    of = shares.drop_duplicates("sample_id").set_index("sample_id")["population"]
    codes = summarise(shares.drop_duplicates("sample_id").assign(share=0.0), palette)["population"].tolist()

    narrow = width < 120
    bars = 4.6 * max(len(codes), 3)
    figure = canvas(width, (94 if narrow else 54) + bars + 4 * synthetic, synthetic=synthetic)
    if not codes:
        note(figure.subplots(), "No sample to show.")
        return figure
    top, bottom = figure.subplots(2, 1, height_ratios=[bars, 44])
    left = 0.0
    ticks = []
    gap = max(len(parts) * 0.006, 0.4)
    for row, code in enumerate(codes):
        own = parts.loc[of.index[of == code]]
        heights = own.mean()
        base = 0.0
        for name, value in heights.items():
            top.barh(row, value, left=base, height=0.78, color=colours[name], edgecolor="white", linewidth=0.3)
            if value > 0.055:
                top.text(
                    base + value / 2,
                    row,
                    f"{100 * value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color=on(colours[name]),
                )
            base += value
        own = own.sort_values(own.columns[1] if own.shape[1] > 1 else own.columns[0], ascending=False)
        edges = left + np.arange(len(own) + 1)
        low = np.zeros(len(own))
        for name in own.columns:
            high = low + own[name].to_numpy(float)
            bottom.stairs(high, edges, baseline=low, fill=True, color=colours[name], linewidth=0)
            low = high
        ticks.append((left + len(own) / 2, code, len(own)))
        bottom.plot(
            [left, left + len(own)],
            [-0.025, -0.025],
            color=palette.colour(code),
            linewidth=2,
            solid_capstyle="butt",
            clip_on=False,
        )
        left += len(own) + gap
    top.set_yticks(range(len(codes)), [palette.label(c) for c in codes])
    top.set_ylim(len(codes) - 0.5, -0.5)
    top.set_xlim(0, 1)
    percent_axis(top)
    top.set_xlabel("mean share of cells, %")
    top.set_title("Populations")
    bottom.set_xlim(0, left - gap)
    bottom.set_ylim(-0.04, 1)
    percent_axis(bottom, which="y")
    bottom.set_ylabel("share of cells, %")
    bottom.set_title("Donors, one column each")
    # About 1.15 mm a character; the panel takes some 70 % of the width.
    room = {code: int(n / left * width * (0.8 if narrow else 0.7) / 1.15) for _, code, n in ticks}
    upright = all(room[code] >= max(map(len, palette.label(code).split())) for _, code, _ in ticks)
    names = [wrap(palette.label(code), room[code]) if upright else _cut(palette.label(code)) for _, code, _ in ticks]
    bottom.set_xticks([x for x, _, _ in ticks], names, rotation=0 if upright else 90)
    bottom.tick_params(axis="x", length=0)
    for axes in (top, bottom):
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    handles = [Rectangle((0, 0), 1, 1, color=colours[name]) for name in parts.columns]
    figure.legend(
        handles,
        [wrap(str(name), 24) for name in parts.columns],
        loc="outside lower center" if narrow else "outside right center",
        ncols=3 if narrow else 1,
        title="Cell type",
        alignment="left",
        handlelength=0.9,
        handleheight=0.9,
        labelspacing=0.55,
    )
    return figure


@figure(
    "composition",
    section="context",
    place=30,
    short="The mean composition of each population, and every sample as a column.",
)
def composition_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the focus type among all the others."""
    if results.shares["cell_type"].nunique() < 2:
        return None
    shares, focus = results.shown(results.shares), results.primary["focus"]
    shares = shares[shares["annotator"] == results.primary["annotator"]]
    denominator = "all" if "all" in set(shares["denominator"]) else results.primary["denominator"]
    shares = shares[shares["denominator"] == denominator]
    mean = shares.groupby("cell_type")["share"].mean().sort_values(ascending=False)
    seen = "; ".join(f"{name} {100 * value:.1f} %" for name, value in mean.head(6).items())
    return Plate(
        stem="composition",
        title="The whole composition",
        caption=f"Mean composition of {of_what(denominator)} by population, and every sample as a column (ordered by "
        f"the most frequent type). {focus} is at the base; rarer types are united.",
        alt=f"Stacked bars of {mean.size} cell types in {shares['sample_id'].nunique()} samples. Mean shares: {seen}.",
        table=shares[["sample_id", "population", "site", "batch", "cell_type", "n", "total", "share"]],
        draw=lambda: composition(shares, palette, focus=focus, synthetic=results.synthetic),
    )
