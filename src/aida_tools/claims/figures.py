"""Published claims beside the estimates that would have to show them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.claims.tables import CLAIM_CONTRASTS, CLAIMS
from aida_tools.claims.verdict import DISAGREE, NOT_SUPPORTED, NOT_TESTABLE, SHOWN, SUPPORTED
from aida_tools.core.words import counted
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    BAND,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
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
from aida_tools.results.results import Results

#: Verdict -> colour of its words.
VERDICTS = {
    **dict.fromkeys((*SHOWN.values(), DISAGREE), "#8a5a00"),
    SUPPORTED: "#00734f",
    NOT_SUPPORTED: FOCUS,
    NOT_TESTABLE: MUTED,
}
#: Status -> colour and marker.
STATUSES = {
    "within-site": ("#0072B2", "o", "within a site"),
    "indirect": ("#56B4E9", "^", "through a third population"),
    "between-batch": ("#CC79A7", "v", "between batches"),
    "between-site": ("#E69F00", "D", "between sites"),
}


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
    heads = {c: wrap(said.loc[c, "statement"], letters) for c in order}
    verdicts = {c: wrap(f"Verdict: {said.loc[c, 'verdict']}", letters) for c in order}
    # In units of one contrast's row.
    room = {c: 0.3 + 0.66 * (heads[c].count("\n") + verdicts[c].count("\n") + 2) for c in order}
    n = sum(room.values()) + len(known[known["claim"].isin(order)])
    figure = canvas(width, (5.2 if narrow else 4.4) * max(n, 2) + 20 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if not order:
        note(axes, "No claim could be tested by an estimate. The table of claims says why for each.")
        return figure
    y, ticks, lines = 0.0, [], []
    for i, claim in enumerate(order):
        own = known[known["claim"] == claim]
        if i % 2 == 0:
            axes.axhspan(y - 0.3, y + room[claim] + len(own) - 0.3, color=BAND, linewidth=0, zorder=0)
        below = y - 0.15
        for text, weight, colour in (
            (heads[claim], "bold", INK),
            (verdicts[claim], "normal", VERDICTS.get(said.loc[claim, "verdict"], INK)),
        ):
            axes.annotate(
                text,
                (0, below),
                xycoords=axes.get_yaxis_transform(),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=6,
                fontweight=weight,
                color=colour,
                linespacing=1.15,
                gid="claim",
            )
            below += 0.66 * (text.count("\n") + 1)
        y += room[claim]
        for entry in rows(own):
            colour, marker, _ = STATUSES.get(entry.status, (MUTED, "s", ""))
            unit = f" ({entry.unit})" if isinstance(entry.unit, str) else ""
            ticks.append((y + 0.2, two_lines(palette.contrast(entry.contrast) + unit, 22, 22 if narrow else 44)))
            axes.plot(np.exp([entry.ci_low, entry.ci_high]), [y + 0.2] * 2, color=colour, linewidth=1.2, zorder=3)
            axes.plot(np.exp(entry.estimate), y + 0.2, marker, color=colour, markersize=4, zorder=4, gid="contrast")
            y += 1
        # The line and the grid are beside the contrasts only: nothing strikes through what is written.
        low, high = y - len(own) - 0.1, y - 0.35
        lines.append((low, high))
    spread = np.exp(known[["estimate", "ci_low", "ci_high"]].to_numpy(float))
    axes.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=5.8)
    axes.set_ylim(y - 0.2, -0.4)
    low, high = float(np.clip(np.nanmin(spread), 0.05, 0.77)), float(np.clip(np.nanmax(spread), 1.3, 20))
    odds_axis(axes, low / 1.04, high * 1.04)
    axes.set_xlabel("odds ratio (logarithmic axis)")
    rows_to_read(axes)
    axes.grid(visible=False)
    for start, end in lines:
        axes.vlines(axes.get_xticks(), start, end, color=RULE, linewidth=0.4, zorder=1, gid="grid")
        axes.vlines(1, start, end, color=MUTED, linewidth=0.7, zorder=2, gid="no difference")
    handles = [
        Line2D([], [], color=c, marker=m, markersize=4, linewidth=1.2, label=text)
        for status, (c, m, text) in STATUSES.items()
        if status in set(known["status"])
    ]
    names = [str(h.get_label()) for h in handles]
    figure.legend(handles=handles, loc="outside lower center", ncols=legend_columns(names, width))
    return figure


@figure(
    "claims",
    section="claims",
    short="Every contrast that would have to show a published claim, grouped by claim, with the verdict below it.",
)
def claims_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the contrasts that each claim needs."""
    contrasts, claims = results[CLAIM_CONTRASTS], results[CLAIMS]
    known = contrasts.dropna(subset=["estimate"])
    if known.empty or claims.empty:
        return None
    seen = "; ".join(f"{n} {verdict}" for verdict, n in claims["verdict"].value_counts().items())
    return Plate(
        stem="claims",
        title="The claims beside the estimates",
        caption="Every contrast that would have to show a published claim, with 95 % intervals, grouped by claim "
        "with its verdict. A contrast between sites or between batches describes the populations together with these.",
        alt=f"Forest plot of {counted(len(known), 'contrast')} of {counted(known['claim'].nunique(), 'claim')}. "
        f"Verdicts: {seen}.",
        table=contrasts,
        draw=lambda: claims_forest(contrasts, claims, palette, synthetic=results.synthetic),
    )
