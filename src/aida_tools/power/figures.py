"""The power of plans: what a comparison of a given size can find."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aida_tools.core.words import counted
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import CYCLE, DOUBLE, INK, MUTED, Palette, canvas, note, odds_axis, rows, styled, wrap
from aida_tools.power.tables import POWER_CURVES
from aida_tools.results.results import Results


@styled
def power_curves(table: pd.DataFrame, *, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw the power at 0.05 against the true odds ratio, one panel a plan.

    Parameters
    ----------
    table
        One row a plan, kind, site SD and odds ratio: `plan` (text), `kind` (`within-site`, `between-site`), `site_sd`
        (log-odds scale), `odds_ratio`, `power` (0-1). At most four plans are drawn.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with a panel a plan.
    """
    plans = list(dict.fromkeys(table["plan"]))[:4]
    narrow = width < 120
    columns = 1 if narrow or len(plans) < 2 else 2
    lines = -(-max(len(plans), 1) // columns)
    figure = canvas(min(width, 120 if len(plans) < 2 else width), 62 * lines + 4 * synthetic, synthetic=synthetic)
    if not plans:
        note(figure.subplots(), "No plan has a power to show: the spread between donors could not be measured.")
        return figure
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    looks: dict[str, tuple[str, str]] = {}
    for axes, plan in zip(panels, plans, strict=False):
        own = table[table["plan"] == plan]
        for entry in rows(own[["kind", "site_sd"]].drop_duplicates()):
            curve = own[(own["kind"] == entry.kind) & (own["site_sd"] == entry.site_sd)].sort_values("odds_ratio")
            name = "within a site" if entry.kind == "within-site" else f"between sites, site SD {entry.site_sd:g}"
            if name not in looks:
                looks[name] = (INK, "solid") if entry.kind == "within-site" else (CYCLE[len(looks)], "dashed")
            colour, dash = looks[name]
            axes.plot(
                curve["odds_ratio"],
                curve["power"],
                color=colour,
                linestyle=dash,
                linewidth=1.3,
                label=name,
                gid="power",
            )
        axes.axhline(0.8, color=MUTED, linewidth=0.6, linestyle="dotted")
        odds_axis(axes, float(own["odds_ratio"].min()), float(own["odds_ratio"].max()))
        axes.set_ylim(0, 1.02)
        axes.set_yticks(np.linspace(0, 1, 6), [f"{100 * v:.0f}" for v in np.linspace(0, 1, 6)])
        axes.set_title(wrap(plan, 52 if columns == 1 else 44), fontsize=6.2, fontweight="normal")
        axes.set_xlabel("true odds ratio (or its inverse)")
        axes.set_ylabel("power, %")
        axes.grid(axis="y")
    for axes in panels[len(plans) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if narrow else 2)
    return figure


@figure(
    "power_curves",
    section="power",
    short="The power at 0.05 against the true odds ratio, from this cohort's own spread between donors and batches.",
)
def power_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the power of a study like this one, or of the plans that were asked for."""
    table = results[POWER_CURVES]
    if table.empty:
        return None
    plans = list(dict.fromkeys(table["plan"]))
    within = (results.estimates["status"] == "within-site").any()
    return Plate(
        stem="power_curves",
        title="What such a study can find",
        caption="Power at 0.05 against the true odds ratio, from this cohort's own spread between donors and "
        "batches: within a site, and between sites whose effects differ with the given standard deviation (log-odds "
        f"scale).{'' if within else ' This cohort has no contrast within a site.'} Dotted: 80 %.",
        alt=f"Power curves of {counted(len(plans), 'plan')}: {'; '.join(plans[:4])}.",
        table=table,
        draw=lambda: power_curves(table, synthetic=results.synthetic),
    )
