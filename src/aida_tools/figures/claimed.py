"""Published claims beside the estimates that would have to show them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.figures.style import (
    BAND,
    DOUBLE,
    MUTED,
    Palette,
    canvas,
    legend_columns,
    note,
    odds_axis,
    rows,
    rows_to_read,
    styled,
    two_lines,
    wrap,
)

#: Status -> colour and marker.
STATUSES = {"within-site": ("#0072B2", "o", "within a site"), "between-site": ("#E69F00", "D", "between sites")}


@styled
def claims_forest(
    contrasts: pd.DataFrame,
    claims: pd.DataFrame,
    palette: Palette,
    *,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw the contrasts of every claim as odds ratios, grouped by claim.

    Parameters
    ----------
    contrasts
        One row a claim and contrast: `claim, contrast, status, estimate, ci_low, ci_high` (log odds ratio), `unit`
        (such as `per 10 years`, or missing). Rows without an estimate are left out.
    claims
        One row a claim: `claim, statement, verdict`.
    palette
        Labels of the populations.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure whose rows are the contrasts of the claims.
    """
    known = contrasts.dropna(subset=["estimate"])
    order = [c for c in claims["claim"] if c in set(known["claim"])]
    said = claims.set_index("claim")
    narrow = width < 120
    letters = 44 if narrow else 96
    heads = {c: wrap(f"{said.loc[c, 'statement']} – {said.loc[c, 'verdict']}", letters) for c in order}
    # In units of one contrast's row.
    room = {c: 0.3 + 0.66 * (heads[c].count("\n") + 1) for c in order}
    n = sum(room.values()) + len(known[known["claim"].isin(order)])
    figure = canvas(width, (5.2 if narrow else 4.4) * max(n, 2) + 20 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if not order:
        note(axes, "No claim could be held against an estimate. The table of claims says why for each.")
        return figure
    y, ticks = 0.0, []
    for i, claim in enumerate(order):
        own = known[known["claim"] == claim]
        if i % 2 == 0:
            axes.axhspan(y - 0.3, y + room[claim] + len(own) - 0.3, color=BAND, linewidth=0, zorder=0)
        axes.annotate(
            heads[claim], (0, y - 0.15), xycoords=axes.get_yaxis_transform(), xytext=(3, 0), textcoords="offset points",
            va="top", fontsize=6, fontweight="bold", linespacing=1.15, zorder=5,
        )  # fmt: skip
        y += room[claim]
        for entry in rows(own):
            colour, marker, _ = STATUSES.get(entry.status, (MUTED, "s", ""))
            unit = f" ({entry.unit})" if isinstance(entry.unit, str) else ""
            ticks.append((y + 0.2, two_lines(palette.contrast(entry.contrast) + unit, 22, 22 if narrow else 44)))
            axes.plot(np.exp([entry.ci_low, entry.ci_high]), [y + 0.2] * 2, color=colour, linewidth=1.2, zorder=3)
            axes.plot(np.exp(entry.estimate), y + 0.2, marker, color=colour, markersize=4, zorder=4, gid="contrast")
            y += 1
    spread = np.exp(known[["estimate", "ci_low", "ci_high"]].to_numpy(float))
    axes.axvline(1, color=MUTED, linewidth=0.7, zorder=2)
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=5.8)
    axes.set_ylim(y - 0.2, -0.4)
    low, high = float(np.clip(np.nanmin(spread), 0.05, 0.77)), float(np.clip(np.nanmax(spread), 1.3, 20))
    odds_axis(axes, low / 1.04, high * 1.04)
    axes.set_xlabel("odds ratio (logarithmic axis)")
    rows_to_read(axes)
    handles = [
        Line2D([], [], color=c, marker=m, markersize=4, linewidth=1.2, label=text)
        for status, (c, m, text) in STATUSES.items()
        if status in set(known["status"])
    ]
    names = [str(h.get_label()) for h in handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(names, width))
    return figure
