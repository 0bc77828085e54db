"""How often the annotators call the focus type, and how often they are wrong: by site and by depth of sequencing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.agreement.tables import AGREEMENT, UNRESOLVED
from aida_tools.core.names import THINNED
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    CYCLE,
    DOUBLE,
    MUTED,
    Palette,
    canvas,
    legend_columns,
    note,
    percent_axis,
    rows,
    styled,
    wrap,
)
from aida_tools.results.results import Results, of_what

#: What is drawn, and which of the two annotators of a row it says something about.
MEASURES = {
    "rate": "annotator_a",
    "sensitivity": "annotator_b",
    "specificity": "annotator_b",
    "unresolved": "annotator_a",
}
#: Strata with a row of panels: of sites and batches one.
STRATA = {"site": "site", "batch": "batch", "depth": "depth, tenth"}
#: More batches than these are too many to read.
MOST_BATCHES = 8
#: A share of fewer cells at one site shows nothing but chance.
FEWEST = 10


@dataclass(frozen=True)
class Look:
    """How one annotator is drawn: thinned counts in the colour of the whole ones, but hollow and dashed."""

    colour: str
    thinned: bool

    @property
    def face(self) -> str:
        """Fill of its points."""
        return "white" if self.thinned else self.colour

    @property
    def line(self) -> Literal["-", "--"]:
        """Style of its lines."""
        return "--" if self.thinned else "-"

    def handle(self, name: str) -> Line2D:
        """Return its entry in a legend."""
        style: dict[str, Any] = {"color": self.colour, "markerfacecolor": self.face, "linestyle": self.line}
        return Line2D([], [], marker="o", markersize=3, linewidth=1, label=name, **style)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give every annotator its look; `X-thinned` has the colour of `X`."""
    names = list(names)
    bases = list(dict.fromkeys(name.removesuffix(THINNED) for name in names))
    colours = {base: CYCLE[k % len(CYCLE)] for k, base in enumerate(bases)}
    return {name: Look(colours[name.removesuffix(THINNED)], name.endswith(THINNED)) for name in names}


def in_order(agreement: pd.DataFrame) -> list[str]:
    """Return the annotators of `agreement.tsv` in the order that their colours go by."""
    return list(dict.fromkeys(agreement.loc[agreement["measure"] == "rate", "annotator_a"]))


def errors_table(agreement: pd.DataFrame, *, within: str, unresolved: pd.DataFrame | None = None) -> pd.DataFrame:
    """Choose the rows of `agreement.tsv` that are drawn.

    Parameters
    ----------
    agreement
        As `aida-tools agreement` writes it.
    within
        Set of cell types, or `all`; where the table does not have it, `all`.
    unresolved
        `unresolved.tsv` of the same folder, whose shares are of all cells; left out where no cell is unresolved.

    Returns
    -------
    Rates, sensitivities, specificities and unresolved shares in all cells together, by site (by batch where there is
    one site) and by depth, with columns `annotator` (whom
    the row is about), `low` and `high`: the interval between donors, or where there is none (`between` false), that
    from cells.
    """
    chosen = within if within in set(agreement["within"]) else "all"
    levels = agreement.groupby("stratum")["level"].nunique()
    by_batch = levels.get("site", 0) < 2 <= levels.get("batch", 0) <= MOST_BATCHES
    table = agreement[
        (agreement["within"] == chosen)
        & agreement["measure"].isin(list(MEASURES))
        & agreement["stratum"].isin(["all", "batch" if by_batch else "site", "depth"])
        & agreement["estimate"].notna()
    ].copy()
    if unresolved is not None and (unresolved["estimate"] > 0).any():
        table = pd.concat([table, unresolved[unresolved["stratum"].isin(["all", *table["stratum"].unique()])]])
    of_a = table["measure"].map(MEASURES) == "annotator_a"
    table["annotator"] = np.where(of_a, table["annotator_a"], table["annotator_b"])
    table["between"] = table["donor_ci_low"].notna()
    for end in ("low", "high"):
        table[end] = table[f"donor_ci_{end}"].fillna(table[f"ci_{end}"])
    return table.reset_index(drop=True)


@styled
def label_errors(table: pd.DataFrame, *, focus: str, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw each annotator's rate of the focus type, its sensitivity, specificity and unresolved share.

    Parameters
    ----------
    table
        See `errors_table`.
    focus
        The focus type.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A column a measure and a row a stratum (site or batch, depth), as far as the table has them (turned on narrow
    pages); a colour an annotator; 95 % intervals; dotted: all cells together.
    """
    strata = [s for s in STRATA if s in set(table["stratum"])]
    measures = [m for m in MEASURES if m in set(table["measure"])]
    narrow = width < 120
    shape = (len(measures), len(strata)) if narrow else (len(strata), len(measures))
    figure = canvas(width, 44 * max(shape[0], 1) + 10 + 4 * synthetic, synthetic=synthetic)
    if not strata or not measures:
        note(figure.subplots(), "No cell has a site or a depth: there is nothing to tell the labels apart by.")
        return figure
    annotators = list(dict.fromkeys(table["annotator"]))
    panels = figure.subplots(*shape, squeeze=False)
    for j, measure in enumerate(measures):
        for i, stratum in enumerate(strata):
            axes = panels[j, i] if narrow else panels[i, j]
            own = table[table["measure"] == measure]
            _panel(axes, own[own["stratum"] == stratum], own[own["stratum"] == "all"], annotators)
            axes.set_title(f"{focus} share" if measure == "rate" else measure.capitalize(), visible=narrow or i == 0)
            axes.set_ylabel("%")
            axes.set_xlabel(STRATA[stratum])
    handles = [look.handle(name) for name, look in looks(annotators).items()]
    handles.append(Line2D([], [], color=MUTED, linestyle=":", linewidth=0.8, label="all cells together"))
    names = [str(handle.get_label()) for handle in handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(names, width))
    return figure


def _panel(axes: Axes, own: pd.DataFrame, together: pd.DataFrame, annotators: Sequence[str]) -> None:
    """Draw one measure in one stratum."""
    depth = bool(len(own)) and own["stratum"].iloc[0] == "depth"
    levels = sorted(own["level"].unique(), key=(lambda v: int(float(v))) if depth else str)
    place = {level: x for x, level in enumerate(levels)}
    present = {name: look for name, look in looks(annotators).items() if name in set(own["annotator"])}
    for k, (name, look) in enumerate(present.items()):
        mine = own[own["annotator"] == name]
        colour = look.colour
        x = mine["level"].map(place).to_numpy(float) + 0.5 * ((k + 0.5) / len(present) - 0.5)
        for between in (True, False):
            drawn = (mine["between"] == between).to_numpy()
            style = "solid" if between else (0, (1, 1))
            ends = mine["low"].to_numpy()[drawn], mine["high"].to_numpy()[drawn]
            axes.vlines(x[drawn], *ends, color=colour, linewidth=0.9, linestyle=style, gid="interval")
        order = np.argsort(x)
        axes.plot(
            x[order],
            mine["estimate"].to_numpy()[order],
            marker="o",
            linestyle=look.line if depth else "none",
            color=colour,
            markerfacecolor=look.face,
            markersize=3,
            linewidth=0.7,
            gid="estimate",
        )
        for value in together.loc[together["annotator"] == name, "estimate"]:
            axes.axhline(value, color=colour, linestyle=":", linewidth=0.8, zorder=0.5)
    names = [str(int(float(v))) if depth else wrap(str(v), 20) for v in levels]
    long = any(len(name) > 4 for name in names) and len(names) > 2
    axes.set_xticks(range(len(levels)), names, rotation=90 if long else 0)
    axes.set_xlim(-0.6, len(levels) - 0.4)
    percent_axis(axes, which="y")
    axes.grid(axis="y")


@figure(
    "label_errors",
    section="labels",
    place=10,
    short="How many cells of the focus type each annotator finds, with sensitivity and specificity, by site "
    "and depth of sequencing.",
)
def errors_plate(results: Results, palette: Palette) -> Plate | None:
    """Show what each annotator finds, and how often it errs, by site and depth."""
    if results[AGREEMENT].empty:
        return None
    focus = results.primary["focus"]
    drawn = errors_table(results[AGREEMENT], within=results.primary["denominator"], unresolved=results[UNRESOLVED])
    within = of_what(str(drawn["within"].iloc[0])) if len(drawn) else "all cells"
    place = "batch" if "batch" in set(drawn["stratum"]) else "site"
    together = drawn[(drawn["stratum"] == "all") & drawn["measure"].isin(["sensitivity", "specificity"])]
    seen = "; ".join(
        f"{e.annotator} has a {e.measure} of {100 * e.estimate:.1f} % ({100 * e.low:.1f} to {100 * e.high:.1f})"
        for e in rows(together)
    )
    caption = (
        f"{focus} share of {within} by each annotator, by {place} and by depth of sequencing (1: the shallowest "
        "tenth), with 95 % intervals between donors (dashed, where there is none: from cells alone). Dotted: all cells "
        "together."
    )
    if len(together):
        caption += (
            f" Sensitivity and specificity are measured against {together['annotator_a'].iloc[0]}, without the cells "
            f"it leaves unresolved: shares of the cells that are, or are not, {focus} by its labels."
        )
    if "unresolved" in set(drawn["measure"]):
        caption += " Unresolved: cells without a definite label, of all cells."
    return Plate(
        stem="label_errors",
        title="Who finds how many, and how often wrongly",
        caption=caption,
        alt=f"Dot plots by {place} and depth. {seen or 'There is one annotator'}.",
        table=drawn,
        draw=lambda: label_errors(drawn, focus=focus, synthetic=results.synthetic),
    )
