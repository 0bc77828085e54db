"""What the annotators' scores and probabilities are worth: precision against recall, and do probabilities hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aida_tools.agreement.figures.errors import FEWEST, Look, in_order, looks
from aida_tools.agreement.tables import AGREEMENT, CALIBRATION, CURVES
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    DOUBLE,
    MUTED,
    PAPER,
    Palette,
    canvas,
    legend_columns,
    note,
    odds_axis,
    percent_axis,
    rows,
    stack,
    styled,
)
from aida_tools.results.results import Results

#: What each panel shows.
PANELS = ("precision-recall", "calibration", "expected / observed")


def scores_table(
    curves: pd.DataFrame | None, calibration: pd.DataFrame | None, agreement: pd.DataFrame, *, within: str
) -> pd.DataFrame:
    """Arrange what is drawn in one table.

    Parameters
    ----------
    curves, calibration, agreement
        As `aida-tools agreement` writes them; the first two may be missing or empty.
    within
        Set of cell types of the curves, or `all`; where there are none of it, `all`.

    Returns
    -------
    One row a point: `panel` (of `PANELS`), `annotator, stratum, level, point, x, y, low, high, n_cells`. Limits are
    between donors. A row `area` of the first panel is the average precision, in `y`.
    """
    parts = []
    if curves is not None and len(curves):
        chosen = within if within in set(curves["within"]) else "all"
        own = curves[(curves["within"] == chosen) & (curves["stratum"] == "all")]
        own = own.rename(columns={"recall": "x", "precision": "y", "n_called": "n_cells"})
        parts.append(own.assign(panel=PANELS[0], low=np.nan, high=np.nan))
        area = agreement[
            (agreement["measure"] == "average_precision")
            & (agreement["within"] == chosen)
            & (agreement["stratum"] == "all")
        ]
        parts.append(_limits(area).assign(panel=PANELS[0], point="area", x=np.nan))
    if calibration is not None and len(calibration):
        bins = calibration[calibration["measure"] == "observed_share"]
        parts.append(_limits(bins).assign(panel=PANELS[1], point="bin", x=bins["predicted"]))
        ratio = ratios(calibration)
        parts.append(_limits(ratio).assign(panel=PANELS[2], point="ratio", x=np.nan))
    columns = ["panel", "annotator", "stratum", "level", "point", "x", "y", "low", "high", "n_cells"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat([p.assign(annotator=p["annotator_b"])[columns] for p in parts], ignore_index=True)


def ratios(calibration: pd.DataFrame) -> pd.DataFrame:
    """Choose the rows that say what each annotator's soft counts are off by.

    Parameters
    ----------
    calibration
        As `aida-tools agreement` writes it.

    Returns
    -------
    The rows `soft_to_observed` of an annotator, or without them `expected_to_observed`, as far as they have a value.
    """
    soft = calibration[calibration["measure"] == "soft_to_observed"]
    sums = calibration[calibration["measure"] == "expected_to_observed"]
    both = pd.concat([soft, sums[~sums["annotator_b"].isin(soft["annotator_b"])]])
    return both[both["estimate"].notna()].sort_index()


def _limits(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(y=table["estimate"], low=table["donor_ci_low"], high=table["donor_ci_high"])


@styled
def label_curves(
    table: pd.DataFrame,
    *,
    focus: str,
    annotators: Sequence[str] = (),
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw precision-recall curves, calibration, and what soft counts are off by at each site.

    Parameters
    ----------
    table
        See `scores_table`.
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
    A panel for each of `PANELS` that the table has rows of; a colour an annotator, dashed where it labelled thinned
    counts. Circles on or beside a curve: the annotator's own labels. Calibration: thick in all cells with 95 %
    intervals between donors, thin at each site (bins of 10 cells at least; not of thinned counts), dotted diagonal
    where probabilities hold.
    """
    panels = [p for p in PANELS if p in set(table["panel"])]
    narrow = width < 120
    height = 62 * max(len(panels), 1) if narrow else 66
    figure = canvas(width, height + 8 + 4 * synthetic, synthetic=synthetic)
    if not panels:
        note(figure.subplots(), "No annotator gives a score or a probability.")
        return figure
    names = list(dict.fromkeys([*annotators, *table["annotator"]]))
    look = looks(names)
    shown = [name for name in names if name in set(table["annotator"])]
    draw = {PANELS[0]: _precision_recall, PANELS[1]: _calibration, PANELS[2]: _ratios}
    for axes, panel in zip(stack(figure, len(panels), narrow=narrow), panels, strict=True):
        own = table[table["panel"] == panel]
        draw[panel](axes, own, {name: look[name] for name in shown if name in set(own["annotator"])}, focus)
    handles = [look[name].handle(name) for name in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(shown, width))
    return figure


def _precision_recall(axes: Axes, table: pd.DataFrame, look: dict[str, Look], focus: str) -> None:
    for row, (name, style) in enumerate(look.items()):
        own = table[table["annotator"] == name]
        curve = own[own["point"] == "curve"].sort_values("x")
        axes.plot(curve["x"], curve["y"], color=style.colour, linestyle=style.line, linewidth=1.1, gid="curve")
        labels = own[own["point"] == "labels"]
        face: Any = {"color": style.colour, "markerfacecolor": style.face}
        axes.plot(labels["x"], labels["y"], "o", markersize=5, zorder=3, clip_on=False, gid="labels", **face)
        for area in rows(own[own["point"] == "area"].dropna(subset="y")):
            limits = "" if np.isnan(area.low) else f" ({area.low:.2f} to {area.high:.2f})"
            axes.text(
                0.03,
                0.03 + 0.055 * (len(look) - 1 - row),
                f"area {area.y:.2f}{limits}",
                transform=axes.transAxes,
                color=style.colour,
                fontsize=5.8,
                va="bottom",
                bbox=PAPER,
            )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall (sensitivity), %", ylabel="precision, %")
    axes.set_title(f"{focus}: precision and recall")
    for which in ("x", "y"):
        percent_axis(axes, which=which)
    axes.grid()


def _calibration(axes: Axes, table: pd.DataFrame, look: dict[str, Look], focus: str) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", gid="diagonal")
    for name, style in look.items():
        own = table[table["annotator"] == name].sort_values("x")
        known = own[(own["stratum"] == "site") & (own["n_cells"] >= FEWEST) & (not style.thinned)]
        for _, site in known.groupby("level"):
            axes.plot(site["x"], site["y"], color=style.colour, linewidth=0.5, alpha=0.4, gid="site")
        every = own[own["stratum"] == "all"]
        axes.vlines(every["x"], every["low"], every["high"], color=style.colour, linewidth=0.9, gid="interval")
        axes.plot(
            every["x"],
            every["y"],
            marker="o",
            linestyle=style.line,
            color=style.colour,
            markerfacecolor=style.face,
            markersize=3,
            linewidth=1.1,
            gid="bins",
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability given, %", ylabel=f"{focus} found, %")
    axes.set_title("Calibration")
    for which in ("x", "y"):
        percent_axis(axes, which=which)
    axes.grid()


def _ratios(axes: Axes, table: pd.DataFrame, look: dict[str, Look], focus: str) -> None:
    sites = sorted(table.loc[table["stratum"] == "site", "level"].unique())
    place = {level: row for row, level in enumerate(["all", *sites])}
    axes.axvline(1, color=MUTED, linewidth=0.8, linestyle=":")
    for k, (name, style) in enumerate(look.items()):
        own = table[table["annotator"] == name]
        y = own["level"].map(place).to_numpy(float) + 0.6 * ((k + 0.5) / len(look) - 0.5)
        axes.hlines(y, own["low"], own["high"], color=style.colour, linewidth=0.9, gid="interval")
        axes.plot(own["y"], y, "o", color=style.colour, markerfacecolor=style.face, markersize=3.5, gid="ratio")
    ends = table[["y", "low", "high"]].to_numpy(float)
    odds_axis(axes, float(np.nanmin(np.append(ends, 0.8))) / 1.1, float(np.nanmax(np.append(ends, 1.25))) * 1.1)
    axes.set_yticks(range(len(place)), list(place))
    axes.set_ylim(len(place) - 0.5, -0.5)
    axes.set_xlabel(f"expected / observed {focus} count")
    axes.set_title("Soft counts by site")
    axes.grid(axis="x")


@figure(
    "label_curves",
    section="labels",
    place=30,
    short="What the annotators' scores and probabilities are worth: precision and recall, calibration, and "
    "the expected count over the observed one at each site.",
)
def curves_plate(results: Results, palette: Palette) -> Plate | None:
    """Show what the annotators' scores and probabilities are worth."""
    focus, within = results.primary["focus"], results.primary["denominator"]
    curves, calibration, measured = results[CURVES], results[CALIBRATION], results[AGREEMENT]
    table = scores_table(curves, calibration, measured, within=within)
    if table.empty:
        return None
    areas, expected = (table[table["point"] == point].dropna(subset="y") for point in ("area", "ratio"))
    seen = [f"{e.annotator} has an average precision of {e.y:.2f}" for e in rows(areas)]
    seen += [
        f"{e.annotator} expects {e.y:.2f} times the {focus} cells that are observed ({e.low:.2f} to {e.high:.2f})"
        for e in rows(expected[expected["stratum"] == "all"])
    ]
    reference = next(str(t["annotator_a"].iloc[0]) for t in (curves, calibration) if len(t))
    caption = f"Each annotator's scores, measured against the labels of {reference}."
    if len(areas):
        caption += (
            f" Precision and recall where the cells with at least a score are called {focus}; circles: the "
            "annotator's own labels; the area is the average precision, with its 95 % interval between donors."
        )
    if (table["panel"] == PANELS[1]).any():
        caption += (
            f" Calibration: share of {focus} among cells of equal probability, thick in all cells with 95 % "
            "intervals between donors, thin at each site; on the dotted line the share is the probability. Right: the "
            f"expected number of {focus} cells (the sum of the soft counts, or without them of the probabilities) "
            f"divided by the number observed by {reference}: the factor by which soft counts are wrong."
        )
    return Plate(
        stem="label_curves",
        title="What scores and probabilities are worth",
        caption=caption,
        alt=f"Curves and dot plots. {'; '.join(seen) or 'Nothing could be measured'}.",
        table=table,
        draw=lambda: label_curves(table, focus=focus, annotators=in_order(measured), synthetic=results.synthetic),
    )
