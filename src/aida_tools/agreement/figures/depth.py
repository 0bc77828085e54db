"""Whether the share of the focus type moves when every site is thinned to the depth of the shallowest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.agreement.figures.errors import in_order, looks
from aida_tools.agreement.tables import AGREEMENT
from aida_tools.agreement.tables import THINNED as CHANGES
from aida_tools.core.names import THINNED
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    DOUBLE,
    INK,
    MUTED,
    Palette,
    canvas,
    legend_columns,
    note,
    percent_axis,
    rows,
    styled,
)
from aida_tools.results.results import Results, of_what


def matched_table(thinned: pd.DataFrame, agreement: pd.DataFrame, *, within: str) -> pd.DataFrame:
    """Put the intervals of both rates beside each other and beside their difference.

    Parameters
    ----------
    thinned, agreement
        As `aida-tools agreement` writes them.
    within
        Set of cell types, or `all`; where the tables do not have it, `all`.

    Returns
    -------
    The rows of `thinned` in all cells and by site (with one site: by batch) that have a difference, with columns `low,
    high, low_thinned, high_thinned`: the limits of both rates between donors.
    """
    chosen = within if within in set(thinned["within"]) else "all"
    table = thinned[(thinned["within"] == chosen) & thinned["difference"].notna()]
    unit = "site" if table.loc[table["stratum"] == "site", "level"].nunique() > 1 else "batch"
    table = table[table["stratum"].isin(["all", unit])].reset_index(drop=True)
    rates = agreement[(agreement["measure"] == "rate") & (agreement["within"] == chosen)]
    rates = rates.set_index(["annotator_a", "stratum", "level"])[["donor_ci_low", "donor_ci_high"]]
    for suffix, end in (("", ""), ("_thinned", THINNED)):
        wanted = pd.MultiIndex.from_arrays([table["annotator"] + end, table["stratum"], table["level"]])
        table[[f"low{suffix}", f"high{suffix}"]] = rates.reindex(wanted).to_numpy()
    return table


@styled
def depth_matched(
    table: pd.DataFrame,
    *,
    focus: str,
    annotators: Sequence[str] = (),
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw the share of the focus type by site or batch at full and at matched depth, and the difference.

    Parameters
    ----------
    table
        See `matched_table`.
    focus
        The focus type.
    annotators
        Names in the order that their colours go by.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A row of two panels an annotator. Left: its share as measured (filled) and at matched depth (hollow), with 95 %
    intervals between donors. Right: the difference in percentage points; its interval is of the same donors twice.
    """
    shown = list(dict.fromkeys(table["annotator"]))
    look = looks([*annotators, *shown])
    levels = sorted(table.loc[table["stratum"] != "all", "level"].unique())
    place = {level: row for row, level in enumerate(["all", *levels])}
    height = (5.5 * len(place) + 12) * max(len(shown), 1) + 14 + 4 * synthetic
    figure = canvas(width, max(height, 45), synthetic=synthetic)
    if not shown:
        note(figure.subplots(), "No annotator labelled the thinned counts.")
        return figure
    panels = figure.subplots(len(shown), 2, squeeze=False, sharex="col", width_ratios=(3, 2))
    for k, name in enumerate(shown):
        own = table[table["annotator"] == name]
        y = own["level"].map(place).to_numpy(float)
        _rates(panels[k, 0], own, y, look[name].colour)
        _differences(panels[k, 1], own, y, look[name].colour)
        panels[k, 0].set_title(name)
        panels[k, 0].set_yticks(range(len(place)), list(place))
        panels[k, 1].set_yticks(range(len(place)), [])
        for axes in panels[k]:
            axes.set_ylim(len(place) - 0.5, -0.5)
            axes.axhline(0.5, color=MUTED, linewidth=0.4)
            axes.grid(axis="x")
            percent_axis(axes)
    panels[0, 1].set_title("Change")
    panels[-1, 0].set_xlabel(f"{focus} share, %")
    panels[-1, 1].set_xlabel("percentage points")
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, markerfacecolor=face, linestyle="none", label=words)
        for face, words in ((INK, "as measured"), ("white", "at matched depth"))
    ]
    words = [str(handle.get_label()) for handle in handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(words, width))
    return figure


def _rates(axes: Axes, table: pd.DataFrame, y: np.ndarray, colour: str) -> None:
    up, down = y - 0.16, y + 0.16
    axes.hlines(up, table["low"], table["high"], color=colour, linewidth=0.9, gid="interval")
    axes.hlines(down, table["low_thinned"], table["high_thinned"], color=colour, linewidth=0.9, gid="interval")
    axes.plot([table["rate"], table["rate_thinned"]], [up, down], color=MUTED, linewidth=0.6, zorder=1)
    axes.plot(table["rate"], up, "o", color=colour, markersize=4, gid="rate")
    axes.plot(table["rate_thinned"], down, "o", color=colour, markerfacecolor="white", markersize=4, gid="rate_thinned")


def _differences(axes: Axes, table: pd.DataFrame, y: np.ndarray, colour: str) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    axes.hlines(y, table["donor_ci_low"], table["donor_ci_high"], color=colour, linewidth=0.9, gid="interval")
    axes.plot(table["difference"], y, "D", color=colour, markersize=3.5, gid="difference")


@figure(
    "depth_matched",
    section="labels",
    place=40,
    short="The share by site as measured and with all counts thinned to one depth, and the change.",
)
def depth_plate(results: Results, palette: Palette) -> Plate | None:
    """Show what the depth of sequencing does to the focus type's share."""
    focus, measured = results.primary["focus"], results[AGREEMENT]
    if results[CHANGES].empty:
        return None
    table = matched_table(results[CHANGES], measured, within=results.primary["denominator"])
    if table.empty:
        return None
    seen = "; ".join(
        f"{e.annotator} {100 * e.rate:.2f} % becomes {100 * e.rate_thinned:.2f} %"
        for e in rows(table[table["stratum"] == "all"])
    )
    within = of_what(str(table["within"].iloc[0]))
    unit = "batch" if (table["stratum"] == "batch").any() else "site"
    return Plate(
        stem="depth_matched",
        title="The same cells at matched depth",
        caption=f"{focus} share of {within} by {unit}, as measured and with all counts thinned to one depth, that of "
        "the shallowest site or batch, with 95 % intervals between donors (none of a single donor). Right: the change "
        "in percentage points; its interval compares every donor with itself. The change is caused by sequencing "
        "depth.",
        alt=f"Paired dot plot. {focus} share of {within}, all cells: {seen}.",
        table=table,
        draw=lambda: depth_matched(table, focus=focus, annotators=in_order(measured), synthetic=results.synthetic),
    )
