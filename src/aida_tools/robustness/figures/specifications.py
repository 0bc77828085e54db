"""One contrast under every specification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import BAND, DOUBLE, FOCUS, INK, MUTED, Palette, canvas, note, odds_ticks, styled
from aida_tools.results.results import Results
from aida_tools.robustness.tables import SPECIFICATION, SPECIFICATION_SUMMARY

#: What a specification chooses, in the order of the rows of the matrix.
CHOICES = ("denominator", "annotator", "model", "covariates", "donors", "unresolved")


@styled
def specification_curve(table: pd.DataFrame, *, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw every specification of one contrast, sorted, and below it what each one chose.

    Parameters
    ----------
    table
        One row a specification: `log_odds_ratio, log_odds_ci_low, log_odds_ci_high` (natural logarithm), `primary`
        (bool) and the choices `denominator, annotator, model, covariates, donors, unresolved` (text). Rows without a
        `log_odds_ratio` are left out.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Above: odds ratios with 95 % intervals, dark where the interval excludes 1; the reported one is marked. Below: a
    tick in the row of each choice.
    """
    known = table.dropna(subset=["log_odds_ratio"]).sort_values("log_odds_ratio", kind="stable", ignore_index=True)
    choices = [c for c in CHOICES if c in known and known[c].nunique() > 1]
    levels = [(c, str(level)) for c in choices for level in dict.fromkeys(known[c].fillna("none"))]
    figure = canvas(width, 52 + 3.4 * len(levels) + 2.4 * len(choices) + 4 * synthetic, synthetic=synthetic)
    if known.empty:
        note(figure.subplots(), "No specification of this contrast could be estimated.")
        return figure
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[42, max(3.4 * len(levels) + 2.4 * len(choices), 4)])
    x = np.arange(len(known))
    low, value, high = (np.exp(known[f"log_odds_{c}"].to_numpy(float)) for c in ("ci_low", "ratio", "ci_high"))
    excludes = (low > 1) | (high < 1)
    thin = min(1.6, 110 / len(known))
    for chosen, colour in ((~excludes, "#9aa0a6"), (excludes, "#0072B2")):
        top.vlines(x[chosen], low[chosen], high[chosen], color=colour, linewidth=thin, alpha=0.55)
        top.scatter(
            x[chosen],
            value[chosen],
            s=max(3.0, min(14, 900 / len(known))),
            color=colour,
            edgecolors="none",
            zorder=3,
            gid="specification",
        )
    for i in np.flatnonzero(known["primary"].to_numpy(bool)):
        top.plot([i, i], [low[i], high[i]], color=FOCUS, linewidth=1.6, zorder=4)
        top.plot(i, value[i], "D", color=FOCUS, markersize=5, markeredgecolor="white", zorder=5, gid="primary")
    top.axhline(1, color=MUTED, linewidth=0.7)
    top.set_yscale("log")
    bottom_limit, top_limit = max(np.nanmin(low), 0.05), min(np.nanmax(high), 20)
    top.set_ylim(min(bottom_limit / 1.05, 0.8), max(top_limit * 1.05, 1.25))
    ticks = odds_ticks(*top.get_ylim())
    top.set_yticks(ticks, [f"{t:g}" for t in ticks])
    top.yaxis.minorticks_off()
    top.set_ylabel("odds ratio")
    top.grid(axis="y")
    top.tick_params(axis="x", length=0, labelbottom=False)
    top.spines["bottom"].set_visible(False)
    _matrix(bottom, known, choices, levels)
    bottom.set_xlim(-0.8, len(known) - 0.2)
    bottom.set_xlabel(f"{len(known)} specifications, sorted")
    handles = [
        Line2D([], [], marker="D", color=FOCUS, markeredgecolor="white", markersize=5, label="reported"),
        Line2D([], [], marker="o", color="#0072B2", markersize=3, label="interval excludes 1"),
        Line2D([], [], marker="o", color="#9aa0a6", markersize=3, label="includes 1"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, columnspacing=1.4)
    return figure


def _matrix(axes: Axes, known: pd.DataFrame, choices: Sequence[str], levels: Sequence[tuple[str, str]]) -> None:
    """Draw a tick for each specification in the row of each of its choices."""
    place, labels, y = {}, [], 0.0
    for choice in choices:
        own = [level for c, level in levels if c == choice]
        axes.axhspan(y - 0.55, y + len(own) - 0.45, color=BAND, linewidth=0, zorder=0)
        axes.annotate(
            choice,
            (0, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(2, 4.5),
            textcoords="offset points",
            fontsize=5.2,
            color=MUTED,
            va="bottom",
        )
        for level in own:
            place[choice, level] = y
            labels.append((y, level))
            y += 1
        y += 0.7
    for choice in choices:
        at = known[choice].fillna("none").astype(str).map(lambda level, c=choice: place[c, level])
        axes.plot(
            np.arange(len(known)),
            at,
            "|",
            color=INK,
            markersize=4,
            markeredgewidth=min(1.2, 80 / len(known)),
            gid="choice",
        )
    axes.set_yticks([at for at, _ in labels], [_shorten(level) for _, level in labels], fontsize=5.6)
    axes.set_ylim(max(y - 0.7, 0.5), -1.1)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _shorten(text: str, most: int = 34) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def about(results: Results, table: pd.DataFrame) -> str:
    """Return the contrast of a table that a figure of one contrast shows: the headline's, else the table's first."""
    first = results.headline()
    known = table["contrast"].tolist()
    return str(first["contrast"] if first is not None and first["contrast"] in known else known[0])


@figure(
    "specification_curve",
    section="robustness",
    place=10,
    short="One contrast under every combination of denominator, annotator, model, covariates, donor filter "
    "and rule for unresolved cells. Red: the one reported.",
)
def specification_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the headline's contrast under all that might have been chosen."""
    known = results[SPECIFICATION].dropna(subset=["log_odds_ratio"])
    if known.empty:
        return None
    contrast = about(results, known)
    own, summary = (t[t["contrast"] == contrast] for t in (results[SPECIFICATION], results[SPECIFICATION_SUMMARY]))
    # The title names the contrast.
    said = [str(text).removeprefix(f"{contrast.partition(': ')[2]}: ") for text in summary["sentence"].dropna()]
    ratios = np.exp(own["log_odds_ratio"].dropna())
    estimated = int(own["estimate"].notna().sum())
    if len(ratios) < estimated:
        said.append(f"{len(ratios)} of the {estimated} with an estimate have one on this scale.")
    return Plate(
        stem="specification_curve",
        title=f"Every reasonable analysis: {palette.contrast(contrast)}",
        caption=" ".join(
            [
                "Odds ratios of standardised shares, with 95 % intervals, under every combination of denominator, "
                "annotator, model, covariates, donor filter and rule for unresolved cells. Red: the one reported. "
                "Below: what each specification chose.",
                *said,
            ]
        ),
        alt=f"{len(ratios)} specifications; odds ratios from {ratios.min():.2f} to {ratios.max():.2f}, median "
        f"{ratios.median():.2f}.",
        table=own,
        draw=lambda: specification_curve(own, synthetic=results.synthetic),
    )
