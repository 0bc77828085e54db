"""How sure the labels are: where annotators agree, at which site and depth they do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.agreement.figures.errors import FEWEST
from aida_tools.agreement.tables import AGREEMENT, CONFUSION
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    CYCLE,
    DOUBLE,
    FOCUS,
    Palette,
    canvas,
    legend_columns,
    note,
    on,
    stack,
    styled,
    wrap,
)
from aida_tools.results.results import Results


def agreement_matrix(table: pd.DataFrame, *, focus: str, show: int = 9) -> pd.DataFrame:
    """Arrange the agreement of two annotators for a heat map.

    Parameters
    ----------
    table
        One row a pair of labels: `cell_type_a, cell_type_b, n_cells`.
    focus
        The cell type that comes first.
    show
        Most labels of each annotator shown by name; the rest are united as `other`.

    Returns
    -------
    Share of the cells with a label of annotator a (rows) that get each label of annotator b (columns), rows sum to 1.
    """
    wide = table.pivot_table(index="cell_type_a", columns="cell_type_b", values="n_cells", aggfunc="sum", fill_value=0)

    def names(totals: pd.Series) -> list[str]:
        order = totals.sort_values(ascending=False, kind="stable").index.tolist()
        return ([focus] * (focus in order) + [n for n in order if n != focus])[:show]

    left, top = names(wide.sum(axis=1)), names(wide.sum(axis=0))
    # The order of rows is that of columns as far as the labels are the same, so that agreement is a diagonal.
    left = [n for n in top if n in left] + [n for n in left if n not in top]
    shown = wide.reindex(index=left, columns=top, fill_value=0)
    if set(wide.index) - set(left):
        shown.loc["other"] = wide.loc[~wide.index.isin(left)].sum().reindex(top, fill_value=0)
    full = wide.sum(axis=1).reindex(left, fill_value=0)
    if "other" in shown.index and "other" not in full.index:
        full.loc["other"] = wide.loc[~wide.index.isin(left)].to_numpy().sum()
    if set(wide.columns) - set(top):
        shown["other"] = full.reindex(shown.index) - shown.sum(axis=1)
    return shown.div(full.reindex(shown.index).replace(0, np.nan), axis=0)


def depth_table(agreement: pd.DataFrame, *, annotators: Sequence[str], within: str) -> pd.DataFrame:
    """Take the sensitivities by site and depth out of `agreement.tsv`.

    Parameters
    ----------
    agreement
        As `aida-tools agreement` writes it.
    annotators
        The truth, and the annotator compared with it.
    within
        Set of cell types, or `all`; where the table does not have it, `all`.

    Returns
    -------
    One row a site and tenth of depth with 10 cells of the focus type at least: `site, depth` (1 = shallowest),
    `estimate`, and the 95 % limits `low, high`: between donors, where there is none from cells alone.
    """
    chosen = within if within in set(agreement["within"]) else "all"
    table = agreement[
        (agreement["measure"] == "sensitivity")
        & (agreement["stratum"] == "site|depth")
        & (agreement["within"] == chosen)
        & (agreement["annotator_a"] == annotators[0])
        & (agreement["annotator_b"] == annotators[1])
        & (agreement["n_cells"] >= FEWEST)
    ]
    parts = [str(level).rpartition("|") for level in table["level"]]
    limits = {end: table[f"donor_ci_{end}"].fillna(table[f"ci_{end}"]) for end in ("low", "high")}
    where = {"site": [site for site, _, _ in parts], "depth": [int(tenth) for _, _, tenth in parts]}
    return pd.DataFrame(where | {"estimate": table["estimate"].to_numpy()}).assign(
        **{end: values.to_numpy() for end, values in limits.items()}
    )


@styled
def annotation(
    *,
    agreement: pd.DataFrame | None = None,
    by_depth: pd.DataFrame | None = None,
    focus: str,
    annotators: Sequence[str] = ("one annotator", "another"),
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw what is known of the labels: a panel for each table there is.

    Parameters
    ----------
    agreement
        One row a pair of labels of the two annotators: `cell_type_a, cell_type_b, n_cells`.
    by_depth
        See `depth_table`: the sensitivity of the second annotator by site and depth, taking the first for the truth.
    focus
        The cell type of interest.
    annotators
        Names of the two annotators.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Panels, as far as their tables are given: the agreement matrix (rows sum to 100 %), the sensitivity for the focus
    type by depth with a line a site and 95 % intervals.
    """
    given = [
        name for name, table in (("agreement", agreement), ("by_depth", by_depth)) if table is not None and len(table)
    ]
    narrow = width < 120
    figure = canvas(width, (66 * max(len(given), 1) if narrow else 72) + 4 * synthetic, synthetic=synthetic)
    if not given:
        note(figure.subplots(), "Only one annotator labelled these cells: nothing tells how sure the labels are.")
        return figure
    for axes, name in zip(stack(figure, len(given), narrow=narrow), given, strict=True):
        if name == "agreement" and agreement is not None:
            _matrix(axes, agreement_matrix(agreement, focus=focus), focus, annotators, figure)
        elif by_depth is not None:
            _depth(axes, by_depth, focus, annotators, figure, width)
    return figure


def _matrix(axes: Axes, matrix: pd.DataFrame, focus: str, annotators: Sequence[str], figure: Figure) -> None:
    values = matrix.to_numpy(float)
    image = axes.pcolormesh(
        np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.6
    )
    for (i, j), value in np.ndenumerate(values):
        if value >= 0.05:
            axes.text(
                j + 0.5,
                i + 0.5,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=5.2,
                color=on(image.to_rgba(value)[:3]),
            )
    axes.set_yticks(np.arange(len(matrix)) + 0.5, [wrap(str(n), 18) for n in matrix.index], fontsize=5.6)
    axes.set_xticks(np.arange(matrix.shape[1]) + 0.5, [str(n) for n in matrix.columns], fontsize=5.6, rotation=90)
    axes.invert_yaxis()
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        if label.get_text() == focus:
            label.set(fontweight="bold", color=FOCUS)
    axes.set_ylabel(annotators[0])
    axes.set_xlabel(annotators[1])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Agreement, % of the row")


def _depth(
    axes: Axes, table: pd.DataFrame, focus: str, annotators: Sequence[str], figure: Figure, width: float
) -> None:
    sites = sorted(table["site"].dropna().unique())
    for k, site in enumerate(sites):
        own = table[table["site"] == site].sort_values("depth")
        x = own["depth"].to_numpy(float) + 0.12 * (k - (len(sites) - 1) / 2)
        colour = CYCLE[k % len(CYCLE)]
        axes.vlines(x, own["low"], own["high"], color=colour, linewidth=0.8, alpha=0.6)
        axes.plot(x, own["estimate"], "o-", color=colour, markersize=3, linewidth=1, gid="depth")
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{100 * v:.0f}" for v in np.linspace(0, 1, 6)])
    axes.set_xlabel("depth, tenth (1 = shallowest)")
    axes.set_ylabel(wrap(f"{focus} cells of {annotators[0]} found by {annotators[1]}, %", 34))
    axes.set_title("By site and depth")
    axes.grid(axis="y")
    handles = [
        Line2D([], [], color=CYCLE[k % len(CYCLE)], marker="o", markersize=3, label=s) for k, s in enumerate(sites)
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=legend_columns(sites, width / 2))


@figure(
    "annotation",
    section="labels",
    place=20,
    short="How sure the labels are: agreement between annotators, and by site and depth of sequencing.",
)
def annotation_plate(results: Results, palette: Palette) -> Plate | None:
    """Show where the primary annotator and the next one differ."""
    confusion, focus = results[CONFUSION], results.primary["focus"]
    if confusion.empty:
        return None
    # The table may hold several pairs of annotators; the first is the primary one's.
    first, second = (str(confusion[c].iloc[0]) for c in ("annotator_a", "annotator_b"))
    pair = confusion[(confusion["annotator_a"] == first) & (confusion["annotator_b"] == second)]
    ours = pair[pair["cell_type_a"] == focus]
    both = ours.loc[ours["cell_type_b"] == focus, "n_cells"].sum()
    said = (
        f" {second} confirms {100 * both / ours['n_cells'].sum():.0f} % of the {focus} cells of {first}."
        if ours["n_cells"].sum()
        else ""
    )
    depth = depth_table(results[AGREEMENT], annotators=(first, second), within=results.primary["denominator"])
    by_depth = (
        f", and how many of the {focus} cells of {first} {second} finds by site and depth of sequencing, with 95 % "
        "intervals (none below 10 cells)"
        if len(depth)
        else ""
    )
    return Plate(
        stem="annotation",
        title="How sure the labels are",
        caption=f"Labels of {first} beside those of {second}: agreement in per cent of each row{by_depth}.{said}",
        alt=f"Heat map and dot plot of agreement between annotators.{said}",
        table=pair,
        draw=lambda: annotation(
            agreement=pair, by_depth=depth, focus=focus, annotators=(first, second), synthetic=results.synthetic
        ),
    )
