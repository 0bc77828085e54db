"""Figures of the shares themselves: by population, and the whole composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from aida_tools.figures.style import (
    BAND,
    CYCLE,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
    Palette,
    canvas,
    label_rows,
    note,
    on,
    percent_axis,
    row_height,
    rows,
    rows_to_read,
    shade,
    styled,
    wrap,
)
from aida_tools.figures.summary import cell_intervals, median_interval


def summarise(shares: pd.DataFrame, palette: Palette) -> pd.DataFrame:
    """Summarise shares by population, in drawing order: grouped by site, then as the palette lists them.

    Parameters
    ----------
    shares
        One row a sample: `population, site, batch, donor_id, share`.

    Returns
    -------
    One row a population: `population, label, sites, n_donors, n_batches, median, low, high` (shares, 0-1; the interval
    is the 95 % distribution-free one of the median, missing below 6 samples).
    """
    found = []
    for code in palette.order(shares["population"].dropna()):
        group = shares[shares["population"] == code]
        median, low, high = median_interval(group["share"].to_numpy(float))
        found.append(
            {
                "population": code,
                "label": palette.label(code),
                "sites": " + ".join(sorted(set(group["site"].dropna()))),
                "n_donors": group["donor_id"].nunique(),
                "n_batches": group["batch"].nunique(),
                "median": median,
                "low": low,
                "high": high,
            }
        )
    columns = ["population", "label", "sites", "n_donors", "n_batches", "median", "low", "high"]
    table = pd.DataFrame(found, columns=columns)
    first = {site: i for i, site in reversed(list(enumerate(table["sites"])))}
    return table.sort_values("sites", key=lambda s: s.map(first), kind="stable", ignore_index=True)


def _size(entry: Any, narrow: bool) -> str:
    parts = [_plural(entry.n_donors, "donor"), *([_plural(entry.n_batches, "batch")] if entry.n_batches else [])]
    return "\n".join(parts) if narrow else " · ".join([*([entry.sites] if entry.sites else []), *parts])


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}{'es' if word.endswith('ch') else 's'}"


def _cut(name: str, most: int = 24) -> str:
    """Shorten a name that the figure gives in full elsewhere."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _lanes(batches: pd.Series, height: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give every batch its own lane of a row, and every second batch the other shade.

    Returns
    -------
    Vertical offset of each sample, shape (n,), in [-height/2, height/2], and whether its batch has the second shade.
    Samples of a batch are spread over its lane by their rank, so that the same table gives the same picture.
    """
    codes = batches.fillna("").astype("category").cat.codes.to_numpy()
    n = int(codes.max()) + 1 if len(codes) else 1
    lane = height / n
    within = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    # The golden ratio spreads successive samples of a batch evenly.
    jitter = (within * 0.618034) % 1 - 0.5
    return (codes + 0.5) * lane - height / 2 + jitter * lane * 0.72, codes % 2 == 1


@styled
def share_by_population(
    shares: pd.DataFrame,
    palette: Palette,
    *,
    title: str = "Share",
    standardised: pd.DataFrame | None = None,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw every donor's share, by population, with the median and its interval.

    Parameters
    ----------
    shares
        One row a sample: `population, site, batch, donor_id, share` (0-1).
    palette
        Labels, colours and order of the populations.
    title
        What the share is of, for the axis.
    standardised
        Columns `population, share, ci_low, ci_high` (0-1; limits may be missing): the age- and sex-standardised share,
        drawn in a second panel. Without it there is one panel.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure whose rows are populations, grouped by site. Batches lie in lanes of alternating shade.
    """
    table = summarise(shares, palette)
    narrow = width < 120
    pitch = row_height(
        table["label"], 16 if narrow else 28, least=11.5 if len(table) <= 10 else 8, extra=3 + 2.6 * narrow
    )
    figure = canvas(width, max(len(table), 1) * pitch + 20 + 4 * synthetic, synthetic=synthetic)
    if table.empty:
        note(figure.subplots(), "No sample to show.")
        return figure
    panels = figure.subplots(
        1,
        1 if standardised is None else 2,
        sharey=True,
        squeeze=False,
        width_ratios=None if standardised is None else [2, 1],
    )[0]
    raw = panels[0]
    for axes in panels:
        for row, (_, sites) in enumerate(zip(table.index, table["sites"], strict=True)):
            if list(dict.fromkeys(table["sites"])).index(sites) % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
        rows_to_read(axes)
        percent_axis(axes)
    for row, entry in enumerate(rows(table)):
        group = shares[shares["population"] == entry.population]
        offset, second = _lanes(group["batch"], 0.78)
        colour = palette.colour(entry.population)
        for chosen, tone in ((~second, shade(colour, 0.1)), (second, shade(colour, 0.5))):
            raw.scatter(
                group["share"].to_numpy(float)[chosen],
                row + offset[chosen],
                s=5.5 if len(shares) > 200 else 9,
                color=tone,
                edgecolors="none",
                alpha=0.85,
                zorder=2,
                gid=f"donors-{entry.population}",
            )
        if entry.n_donors > 1:
            raw.plot(
                [entry.median] * 2,
                [row - 0.42, row + 0.42],
                color=INK,
                linewidth=1.3,
                zorder=4,
                solid_capstyle="butt",
            )
        if pd.notna(entry.low):
            raw.add_patch(
                Rectangle(
                    (entry.low, row - 0.42),
                    entry.high - entry.low,
                    0.84,
                    facecolor=INK,
                    alpha=0.16,
                    linewidth=0,
                    zorder=3,
                )
            )
    label_rows(raw, [(e.label, _size(e, narrow)) for e in rows(table)], width=16 if narrow else 28)
    raw.set_ylim(len(table) - 0.5, -0.5)
    top = float(shares["share"].max())
    raw.set_xlim(-0.02 * top if top else -0.01, top * 1.04 if top else 0.01)
    raw.set_xlabel(wrap(f"{title}, %", 40 if narrow else 80))
    raw.set_title("Every donor" if standardised is not None else "")
    key = [
        Line2D([], [], linestyle="none", marker="o", markersize=2.8, color=MUTED, markeredgewidth=0, label="donor"),
        Line2D([], [], linestyle="none", marker="|", markersize=7, color=INK, markeredgewidth=1.3, label="median"),
        Rectangle((0, 0), 1, 1, color=INK, alpha=0.16, linewidth=0, label="its 95 % interval"),
    ]
    figure.legend(handles=key, loc="outside lower left", ncols=3, handlelength=1.1, columnspacing=1.4)
    if standardised is not None:
        _standardised(panels[1], table, standardised, palette)
        panels[1].set_xlabel("same age and sex, %" if not narrow else "same age\nand sex, %")
    return figure


@styled
def share_by_sample(
    shares: pd.DataFrame,
    palette: Palette,
    *,
    title: str = "Share",
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw each sample's share with the interval that its number of cells leaves, for cohorts too small to compare.

    Parameters
    ----------
    shares
        One row a sample: `sample_id, donor_id, population, n, total, share` (0-1).
    palette
        Labels, colours and order of the populations.
    title
        What the share is of, for the axis.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure whose rows are samples, grouped by population.
    """
    order = {code: i for i, code in enumerate(palette.order(shares["population"].dropna()))}
    table = shares.sort_values(
        ["population", "sample_id"], key=lambda s: s.map(order) if s.name == "population" else s, ignore_index=True
    )
    table["low"], table["high"] = cell_intervals(table["n"].to_numpy(float), table["total"].to_numpy(float))
    # A donor measured once needs no batch in its name.
    names = table["sample_id" if table["donor_id"].duplicated().any() else "donor_id"].astype(str)
    pitch = row_height(names, 30, least=7.5, extra=2.8)
    figure = canvas(width, pitch * max(len(table), 1) + 15 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if table.empty:
        note(axes, "No sample to show.")
        return figure
    for row, entry in enumerate(rows(table)):
        colour = palette.colour(str(entry.population))
        axes.plot([entry.low, entry.high], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
        axes.plot(
            entry.share,
            row,
            "o",
            color=colour,
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            gid="sample",
        )
    lines = [f"{e.n:,.0f} of {e.total:,.0f} cells" for e in rows(table)]
    label_rows(axes, list(zip(names, lines, strict=True)), width=30)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(wrap(f"{title}, % (95 % interval from the number of cells alone)", 34 if width < 120 else 90))
    percent_axis(axes)
    rows_to_read(axes)
    return figure


def _standardised(axes: Axes, table: pd.DataFrame, standardised: pd.DataFrame, palette: Palette) -> None:
    known = standardised.set_index("population")
    for row, code in enumerate(table["population"]):
        colour = palette.colour(code)
        if code not in known.index or pd.isna(known.loc[code, "share"]):
            axes.text(
                0.5, row, "not estimable", transform=axes.get_yaxis_transform(), ha="center", va="center", color=MUTED
            )
            continue
        entry = known.loc[code]
        axes.plot([entry.ci_low, entry.ci_high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot(entry.share, row, "o", color=colour, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6)
        axes.annotate(
            f"{100 * entry['share']:.2f}",
            (entry.share, row),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )
    axes.set_title("Standardised")


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
