"""Heat map of all cell types' shifts, so that the focus type is seen among the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from aida_tools.design.contrasts import split
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import DOUBLE, FOCUS, INK, MUTED, Palette, canvas, note, styled, wrap
from aida_tools.models.model import ODDS_RATIO
from aida_tools.models.registry import MODELS
from aida_tools.results.results import Results, of_what

#: q-value thresholds and the area of their dots, points^2.
DOTS = ((0.001, 32.0), (0.01, 21.0), (0.05, 12.0))
#: Widths of a 95 % interval (upper limit through lower) up to which a colour is whole, and from which it is faintest.
WHOLE, FAINT, LEAST = 2.0, 16.0, 0.06


def shifts_table(estimates: pd.DataFrame, palette: Palette) -> pd.DataFrame:
    """Arrange the one-vs-rest estimates of one model, denominator and annotator for the heat map.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv`; contrasts other than `population: X - rest` are left out.

    Returns
    -------
    Columns `rank, cell_type, population, status, odds_ratio, low, high, q_value, statistic`. Rank 1 is the cell type
    with the largest absolute statistic over the populations; types with no estimate come last.
    """
    sides = split(estimates["contrast"], palette.parse)
    kept = sides["of_populations"] & (sides["kind"] == "rest")
    chosen = estimates[kept].assign(population=sides.loc[kept, "a"])
    for name, column in (("odds_ratio", "estimate"), ("low", "ci_low"), ("high", "ci_high")):
        chosen[name] = np.exp(chosen[column])
    strength = chosen["statistic"].abs().groupby(chosen["cell_type"]).max().fillna(-1.0)
    ranks = {t: i for i, t in enumerate(strength.sort_values(ascending=False, kind="stable").index, start=1)}
    chosen["rank"] = chosen["cell_type"].map(ranks)
    order = {code: i for i, code in enumerate(palette.order(chosen["population"]))}
    chosen = chosen.sort_values(["rank", "population"], key=lambda s: s.map(order) if s.name == "population" else s)
    columns = ["rank", "cell_type", "population", "status", "odds_ratio", "low", "high", "q_value", "statistic"]
    return chosen[columns].reset_index(drop=True)


def opacity(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how strong the colour of an odds ratio is, 0 to 1: the wider its interval, the fainter.

    Without this the darkest tiles would be those of the rarest types, whose odds ratios are large by chance.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        wide = np.log(high / low) / np.log(WHOLE)
    return np.clip(1 - (np.nan_to_num(wide, nan=np.inf) - 1) / (np.log(FAINT / WHOLE) / np.log(WHOLE)), LEAST, 1)


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
    Rows are cell types (strongest shift first), columns populations. Colour is the odds ratio, faint where its interval
    is wide (`opacity`); dots are q-values (smaller q, larger dot), a cross is an estimate that does not exist.
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

    values, q, strength = np.log2(grid("odds_ratio")), grid("q_value"), opacity(grid("low"), grid("high"))
    # The darkest colour is for the strongest shift that shows in full.
    limit = float(np.clip(np.nanmax(np.abs(values) * strength, initial=0), np.log2(1.5), 2.5))
    colours = ScalarMappable(TwoSlopeNorm(0, -limit, limit), "RdBu_r")
    tiles = colours.to_rgba(np.ma.masked_invalid(values))
    tiles[..., 3] = np.where(np.isnan(values), 0, strength)
    axes.pcolormesh(tiles, edgecolors="white", linewidth=0.6)
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.plot(j + 0.5, i + 0.5, marker="x", color=MUTED, markersize=2.6, markeredgewidth=0.6)
        elif (size := next((s for threshold, s in DOTS if q[i, j] < threshold), 0)) > 0:
            # Ink with a white edge is seen on any colour.
            axes.scatter(j + 0.5, i + 0.5, s=size, color=INK, edgecolors="white", linewidths=0.7, zorder=3, gid="q")
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
        colours, ax=axes, shrink=min(1.0, 34 / height), aspect=14, pad=0.02, anchor=(0, 1.0), extend="both"
    )
    steps = (0.25, 0.5, 1, 2, 4) if limit > 1 else (0.5, 0.67, 0.8, 1, 1.25, 1.5, 2)
    ticks = [t for t in steps if abs(np.log2(t)) <= limit]
    bar.set_ticks(list(np.log2(ticks)), labels=[f"{t:g}" for t in ticks])
    bar.ax.set_title("odds ratio\nagainst all others", fontsize=6, fontweight="normal", linespacing=1.2)
    bar.outline.set_visible(False)
    mark: Any = {"linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.7}
    handles: list[Artist] = [
        Line2D([], [], marker="o", color=INK, markersize=np.sqrt(size), label=f"q < {q:g}", **mark) for q, size in DOTS
    ]
    handles.append(Line2D([], [], marker="x", linestyle="none", color=MUTED, markersize=3, label="not estimated"))
    for width_of, words in ((WHOLE, f"up to {WHOLE:g}-fold"), (6, "6-fold"), (FAINT, f"from {FAINT:g}-fold")):
        alpha = float(opacity(np.array(1.0), np.array(width_of)))
        handles.append(Patch(color="#67001f", alpha=alpha, linewidth=0, label=f"interval {words}"))
    figure.legend(handles=handles, loc="outside right lower", labelspacing=0.5)
    return figure


@figure(
    "shifts",
    section="context",
    place=10,
    short="The odds ratio of every cell type in each population against all others. Colours fade as the 95 % "
    "interval widens. The focus type is framed; dots are adjusted p-values; a cross is an estimate that"
    " does not exist.",
)
def shifts_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the focus type's shifts among those of all types."""
    if not results.estimated or "model" not in results.primary:
        return None
    model, focus = results.primary["model"], results.primary["focus"]
    estimates = results.estimates[~results.estimates["superseded"]]
    estimates = estimates[(estimates["model"] == model) & (estimates["annotator"] == results.primary["annotator"])]
    rest = split(estimates["contrast"], palette.parse)["kind"] == "rest"
    # The denominator that most types are compared in: `all` in most cohorts.
    sizes = estimates[rest].groupby("denominator")["cell_type"].nunique()
    if sizes.empty or MODELS[model].ratio != ODDS_RATIO:
        return None
    denominator = "all" if "all" in sizes else str(sizes.idxmax())
    chosen = estimates[estimates["denominator"] == denominator]
    table = shifts_table(chosen, palette)
    types = table["cell_type"].nunique()
    rank = table.loc[table["cell_type"] == focus, "rank"]
    place = f" {focus} is number {rank.iloc[0]} of {types}." if len(rank) else ""
    strong = int((table["q_value"] < 0.05).sum())
    return Plate(
        stem="shifts",
        title="Shifts of all cell types",
        caption=f"Odds ratio of every cell type's share of {of_what(denominator)} in each population against all "
        f"others ({model}), cell types ordered by their largest absolute test statistic.{place} Colours fade as the "
        f"95 % interval widens: whole where its limits are up to {WHOLE:g}-fold apart, faintest from {FAINT:g}-fold, "
        "because large odds ratios of rare types come about by chance. Dots: adjusted p-value q (Holm for "
        f"{focus}, Benjamini-Hochberg for the others); cross: not estimated. A population measured at one site only "
        "carries that site's effect.",
        alt=f"Heat map of {types} cell types in {table['population'].nunique()} populations; {strong} of {len(table)} "
        f"shifts have q below 0.05.{place}",
        table=table,
        draw=lambda: shifts(chosen, palette, focus=focus, synthetic=results.synthetic),
    )
