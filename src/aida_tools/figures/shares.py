"""The shares themselves: by population, or sample by sample where there are too few to compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from aida_tools.core.words import counted
from aida_tools.design.contrasts import split
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    BAND,
    DOUBLE,
    INK,
    MUTED,
    Palette,
    canvas,
    label_rows,
    note,
    percent_axis,
    row_height,
    rows,
    rows_to_read,
    shade,
    styled,
    wrap,
)
from aida_tools.figures.summary import cell_intervals, median_interval
from aida_tools.results.results import Results

#: Above this many samples they are shown by population only.
MANY_SAMPLES = 40


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
    parts = [counted(entry.n_donors, "donor")]
    if entry.n_batches:
        parts.append(counted(entry.n_batches, "batch", "batches"))
    return "\n".join(parts) if narrow else " · ".join([*([entry.sites] if entry.sites else []), *parts])


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


def last_share(shares: pd.Series, table: pd.DataFrame) -> float:
    """Return where an axis of shares may end, so that a few far samples do not squeeze all the others.

    Parameters
    ----------
    shares
        A share a sample, 0-1.
    table
        See `summarise`: medians and their intervals are never cut.

    Returns
    -------
    The largest share; where one sample, or at most one in twenty, lies beyond the third quartile and five interquartile
    ranges, the largest share that does not.
    """
    low, high = shares.quantile([0.25, 0.75])
    least = float(np.nanmax(table[["median", "high"]].to_numpy(float)))
    inside = shares[shares <= max(high + 5 * (high - low), least)]
    few = high > low and len(shares) - len(inside) <= max(1, len(shares) / 20)
    return max(least, float(inside.max() if few else shares.max()))


def _beyond(axes: Axes, row: int, values: NDArray[np.float64], edge: float) -> None:
    """Write the shares of the samples beyond the axis beside their marks."""
    said = [f"{100 * value:.3g}" for value in np.sort(values)]
    text = f"{', '.join(said)} %" if len(said) < 3 else f"{len(said)} samples,\n{said[0]} to {said[-1]} %"
    style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 5.6}
    axes.annotate(text, (edge, row), xytext=(-5, 0), textcoords="offset points", **style)


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
    A figure whose rows are populations, grouped by site. Batches lie in lanes of alternating shade. Samples beyond the
    end of the axis (`last_share`) are triangles at its edge, with their shares.
    """
    palette = palette.among(shares["population"].dropna())
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
    raw, top = panels[0], last_share(shares["share"], table)
    # Samples beyond the end stand in a strip of their own.
    beyond = bool((shares["share"] > top).any())
    edge = top * ((1.6 if narrow else 1.24) if beyond else 1.0)
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
        values, inside = group["share"].to_numpy(float), group["share"].to_numpy(float) <= top
        for lane, tone in ((~second, shade(colour, 0.1)), (second, shade(colour, 0.5))):
            for chosen, marker, size in ((lane & inside, "o", 1.0), (lane & ~inside, ">", 2.5)):
                raw.scatter(
                    values[chosen] if marker == "o" else np.full(chosen.sum(), edge),
                    row + offset[chosen],
                    s=size * (5.5 if len(shares) > 200 else 9),
                    marker=marker,
                    color=tone,
                    edgecolors="none",
                    alpha=0.85,
                    zorder=2,
                    gid=f"{'donors' if marker == 'o' else 'beyond'}-{entry.population}",
                )
        if not inside.all():
            _beyond(raw, row, values[~inside], edge)
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
    raw.set_xlim(-0.02 * top if top else -0.01, edge * 1.04 if top else 0.01)
    if beyond:
        raw.axvline(top * 1.04, color=MUTED, linewidth=0.5, linestyle=(0, (3, 3)), zorder=1)
        raw.set_xticks([tick for tick in raw.get_xticks() if 0 <= tick <= top * 1.04])
    raw.set_xlabel(wrap(f"{title}, %", 40 if narrow else 80))
    raw.set_title("Every donor" if standardised is not None else "")
    key: list[Artist] = [
        Line2D([], [], linestyle="none", marker="o", markersize=2.8, color=MUTED, markeredgewidth=0, label="donor"),
        Line2D([], [], linestyle="none", marker="|", markersize=7, color=INK, markeredgewidth=1.3, label="median"),
        Rectangle((0, 0), 1, 1, color=INK, alpha=0.16, linewidth=0, label="its 95 % interval"),
    ]
    if beyond:
        key.append(Line2D([], [], linestyle="none", marker=">", markersize=4, color=MUTED, label="beyond the axis"))
    figure.legend(handles=key, loc="outside lower left", ncols=2 if narrow else 4, handlelength=1.1, columnspacing=1.4)
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
    palette = palette.among(shares["population"].dropna())
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


def standardised_shares(results: Results, palette: Palette) -> pd.DataFrame | None:
    """Take the age- and sex-standardised shares of the focus type out of the primary model's one-vs-rest contrasts.

    Returns
    -------
    Columns `population, share, ci_low, ci_high` (0-1), or None where the model gives none.
    """
    table = results.focus_standardised()
    table = table[table["model"] == results.primary.get("model")]
    of = split(table["contrast"], palette.parse)
    chosen = table[of["of_populations"] & (of["kind"] == "rest")]
    if not chosen["share_a"].notna().any():
        return None
    sides = {"share": "share_a", "ci_low": "share_a_low", "ci_high": "share_a_high"}
    return chosen.assign(population=of["a"]).rename(columns={v: k for k, v in sides.items()})[["population", *sides]]


@figure(
    "share",
    section="measured",
    place=10,
    short="Every donor's share by population: points are samples, with the median and its distribution-free "
    "95 % interval; batches lie in lanes of alternating shade, rows are grouped by site; triangles at "
    "the edge are samples beyond the axis. Right: the share standardised to the cohort's age and sex.",
)
def share_plate(results: Results, palette: Palette) -> Plate:
    """Show every sample's share: by population, or by itself where there are too few to compare."""
    shares, words = results.focus_shares(), results.share_words
    if not results.estimated and len(shares) <= MANY_SAMPLES:
        seen = "; ".join(f"{e.sample_id} {100 * e.share:.2f} %" for e in rows(shares))
        return Plate(
            stem="share_by_sample",
            title=f"{words}, sample by sample",
            caption="The interval is Wilson's 95 % interval, from the sample's number of cells. It says how well a "
            "sample was measured, not how donors differ: no comparison was made.",
            alt=f"Dot plot. {words}: {seen}.",
            table=shares,
            draw=lambda: share_by_sample(shares, palette, title=words, synthetic=results.synthetic),
        )
    table = summarise(shares, palette)
    seen = "; ".join(
        f"{e.label} {100 * e.median:.2f} % ({counted(e.n_donors, 'donor')}, {counted(e.n_batches, 'batch', 'batches')})"
        for e in rows(table)
    )
    caption = (
        "Each point is a sample; batches lie side by side in lanes of alternating shade. Line: median; grey box: its "
        "distribution-free 95 % interval (none below 6 samples). Rows are grouped by the site of measurement."
    )
    if beyond := int((shares["share"] > last_share(shares["share"], table)).sum()):
        caption += f" Triangles, with their shares: {counted(beyond, 'sample')} beyond the axis."
    drawn, standardised = shares, standardised_shares(results, palette)
    if standardised is not None:
        caption += (
            f" Right: the share standardised to the cohort's age and sex ({results.primary['model']}), with its 95 % "
            "interval."
        )
        names = {"share": "standardised_share", "ci_low": "standardised_low", "ci_high": "standardised_high"}
        drawn = shares.merge(standardised.rename(columns=names), on="population", how="left")
    return Plate(
        stem="share_by_population",
        title=f"{words} by population",
        caption=caption,
        alt=f"Dot plot of {counted(len(shares), 'sample')}. Median {words}: {seen}.",
        table=drawn,
        draw=lambda: share_by_population(
            shares, palette, title=words, standardised=standardised, synthetic=results.synthetic
        ),
    )
