"""The comparison done again: on permuted data, less what the controls differ by, without one batch or site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aida_tools.core.words import counted
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    BAND,
    CYCLE,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    Palette,
    canvas,
    note,
    odds_axis,
    rows,
    rows_to_read,
    stack,
    styled,
    two_lines,
)
from aida_tools.results.results import Results
from aida_tools.robustness.figures.specifications import about
from aida_tools.robustness.permutations import blind, out_of_reach
from aida_tools.robustness.tables import LEAVE_ONE_OUT, PERMUTATION, PERMUTATION_NULL, RECALIBRATED


@styled
def permutation_null(
    null: pd.DataFrame,
    tests: pd.DataFrame,
    *,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw a test statistic beside its values in permuted data, one panel a test.

    Parameters
    ----------
    null
        One row a test and bin: `test, bin_low, bin_high` (t units), `n` (permutations).
    tests
        One row a test: `test, statistic, critical, p_value, rejection_rate, n_permutations, scheme`.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with a panel a test.
    """
    names = [t for t in dict.fromkeys(tests["test"]) if t in set(null["test"])]
    narrow = width < 120
    figure = canvas(width, (44 * max(len(names), 1) if narrow else 58) + 4 * synthetic, synthetic=synthetic)
    if not names:
        note(figure.subplots(), "No contrast could be permuted. The table of permutation tests says why.")
        return figure
    for axes, name in zip(stack(figure, len(names), narrow=narrow, sharex=True), names, strict=True):
        own = null[null["test"] == name]
        test = next(rows(tests[tests["test"] == name]))
        axes.bar(
            own["bin_low"],
            own["n"],
            width=own["bin_high"] - own["bin_low"],
            align="edge",
            color="#b8bcc2",
            linewidth=0,
            gid="null",
        )
        for side in (-1, 1):
            if pd.notna(test.critical):
                axes.axvline(side * test.critical, color=MUTED, linewidth=0.8, linestyle="dashed", gid="critical")
        axes.axvline(test.statistic, color=FOCUS, linewidth=1.5, gid="statistic")
        said = [f"permutation p = {test.p_value:.2g}"]
        if pd.notna(test.rejection_rate):
            said.append(f"beyond the dashed lines: {100 * test.rejection_rate:.1f} %")
        axes.set_title(name, fontsize=7, pad=19)
        axes.annotate(
            "\n".join(said),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 2),
            textcoords="offset points",
            va="bottom",
            fontsize=5.6,
            color=MUTED,
        )
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("t statistic")
    handles = [
        Line2D([], [], color=FOCUS, linewidth=1.5, label="observed"),
        Patch(color="#b8bcc2", label="permuted"),
        Line2D([], [], color=MUTED, linewidth=0.8, linestyle="dashed", label="5 % limits the test assumes"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 3, columnspacing=1.4)
    return figure


@figure(
    "permutation_null",
    section="robustness",
    place=30,
    short="The test statistic among its values in permuted data; dashed: the 5 % limits the test assumes.",
)
def permutation_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the tests of the headline's contrast on shuffled data."""
    tests, null = results[PERMUTATION], results[PERMUTATION_NULL]
    if null.empty:
        return None
    contrast = about(results, null)
    drawn, own = null[null["contrast"] == contrast], tests[tests["contrast"] == contrast].dropna(subset=["p_value"])
    seen = "; ".join(f"{e.test}: p = {e.p_value:.2g}" for e in rows(own))
    scheme = next(iter(own["scheme"]), "samples")
    caption = [f"Red: the statistic of the contrast; grey: its values after permuting {scheme}."]
    if own["rejection_rate"].notna().any():
        caption.append(
            "A test that keeps its level has 5 % of the permuted values beyond the dashed lines; with more, it finds "
            "differences where there are none."
        )
    elif out_of_reach(own["p_min"].min()):
        caption.append(f"No permutation could give p below {own['p_min'].min():.2g}: the test can find nothing here.")
    if blind(scheme):
        caption.append(f"The {scheme.partition(' ')[0]} change sites with their labels: a site effect is not seen.")
    return Plate(
        stem="permutation_null",
        title=f"The test on shuffled data: {palette.contrast(contrast)}",
        caption=" ".join(caption),
        alt=f"Histograms of permuted statistics. {seen}.",
        table=drawn,
        draw=lambda: permutation_null(drawn, own, synthetic=results.synthetic),
    )


def _pairs_axis(axes: Axes, contrasts: Sequence[str], palette: Palette, values: np.ndarray, width: float) -> None:
    finite = values[np.isfinite(values)]
    low, high = float(np.clip(finite.min(), 1 / 20, 1)), float(np.clip(finite.max(), 1, 20))
    for row in range(0, len(contrasts), 2):
        axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
    axes.axvline(1, color=MUTED, linewidth=0.7, zorder=1)
    narrow = width < 120
    axes.set_yticks(
        range(len(contrasts)),
        [two_lines(palette.contrast(c), 20 if narrow else 34, 20 if narrow else 44) for c in contrasts],
    )
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    odds_axis(axes, min(low / 1.05, 0.8), max(high * 1.05, 1.25))
    axes.set_xlabel("odds ratio (logarithmic axis)")
    rows_to_read(axes)


@styled
def recalibrated(table: pd.DataFrame, palette: Palette, *, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw contrasts between sites as reported, and less what the controls differ by between the same sites.

    Parameters
    ----------
    table
        One row a contrast: `contrast, estimate, ci_low, ci_high, recalibrated, recalibrated_ci_low,
        recalibrated_ci_high` (log odds ratios). Rows without `recalibrated` are left out.
    palette
        Labels of the populations.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with two points a contrast: as estimated, and recalibrated.
    """
    known = table.dropna(subset=["recalibrated"]).reset_index(drop=True)
    figure = canvas(width, 6.4 * max(len(known), 2) + 22 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if known.empty:
        note(axes, "No control sample was run at the sites of a contrast: nothing can be recalibrated.")
        return figure
    drawn = []
    for columns, colour, shift, name in (
        (("estimate", "ci_low", "ci_high"), INK, -0.17, "as reported"),
        (
            ("recalibrated", "recalibrated_ci_low", "recalibrated_ci_high"),
            "#0072B2",
            0.17,
            "recalibrated by the controls",
        ),
    ):
        value, low, high = (np.exp(known[c].to_numpy(float)) for c in columns)
        y = np.arange(len(known)) + shift
        axes.hlines(y, low, high, color=colour, linewidth=1.2, zorder=2)
        axes.plot(
            value,
            y,
            "o",
            color=colour,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=3,
            label=name,
        )
        drawn += [value, low, high]
    _pairs_axis(axes, known["contrast"].tolist(), palette, np.concatenate(drawn), width)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@figure(
    "recalibrated",
    section="robustness",
    place=40,
    short="Between-site contrasts as reported, and after subtracting what the same controls differ by.",
)
def recalibrated_plate(results: Results, palette: Palette) -> Plate | None:
    """Show what the controls leave of the contrasts between sites."""
    table = palette.speaking(results[RECALIBRATED], "recalibrated")
    known = table.dropna(subset=["recalibrated"])
    if known.empty:
        return None
    seen = "; ".join(
        f"{palette.contrast(e.contrast)} {np.exp(e.estimate):.2f} becomes {np.exp(e.recalibrated):.2f} "
        f"({np.exp(e.recalibrated_ci_low):.2f} to {np.exp(e.recalibrated_ci_high):.2f})"
        for e in rows(known)
    )
    return Plate(
        stem="recalibrated",
        title="Recalibrated by the controls",
        caption="Between-site odds ratios with 95 % intervals as reported, and after subtracting what the same "
        "controls differ by between the same sites, with the uncertainty of both. Few controls leave wide intervals.",
        alt=f"Paired dot plot. {seen}.",
        table=table,
        draw=lambda: recalibrated(table, palette, synthetic=results.synthetic),
    )


@styled
def leave_one_out(table: pd.DataFrame, palette: Palette, *, width: float = DOUBLE, synthetic: bool = False) -> Figure:
    """Draw what happens to each contrast when one batch, or one site, is left out.

    Parameters
    ----------
    table
        One row a left-out unit and contrast: `unit` (`none`, `batch`, `site`), `left_out, contrast, estimate` (log odds
        ratio), `ci_low, ci_high`.
    palette
        Labels of the populations.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with a row a contrast and a point for each unit that was left out.
    """
    known = table.dropna(subset=["estimate"])
    contrasts = list(dict.fromkeys(known.loc[known["unit"] == "none", "contrast"]))
    figure = canvas(width, 6.0 * max(len(contrasts), 2) + 22 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if not contrasts:
        note(axes, "No contrast has an estimate to leave a batch out of.")
        return figure
    drawn = [np.ones(1)]
    styles = {"batch": ("|", CYCLE[0], 7.0), "site": ("D", CYCLE[1], 3.4)}
    for row, contrast in enumerate(contrasts):
        own = known[known["contrast"] == contrast]
        whole = next(rows(own[own["unit"] == "none"]))
        low, high = np.exp(whole.ci_low), np.exp(whole.ci_high)
        axes.plot([low, high], [row, row], color=INK, linewidth=1.2, zorder=2)
        axes.plot(np.exp(whole.estimate), row, "o", color=INK, markersize=4.4, zorder=3)
        for unit, (marker, colour, size) in styles.items():
            values = np.exp(own.loc[own["unit"] == unit, "estimate"].to_numpy(float))
            axes.plot(
                values,
                np.full(len(values), row),
                marker,
                color=colour,
                markersize=size,
                markeredgewidth=1.0,
                linestyle="none",
                zorder=4,
                gid=unit,
            )
            drawn.append(values)
        drawn.append(np.array([low, high]))
    _pairs_axis(axes, contrasts, palette, np.concatenate(drawn), width)
    handles = [Line2D([], [], marker="o", color=INK, markersize=4.4, linewidth=1.2, label="all samples, 95 % interval")]
    handles += [
        Line2D(
            [], [], marker=m, color=c, markersize=s, markeredgewidth=1.0, linestyle="none", label=f"without one {unit}"
        )
        for unit, (m, c, s) in styles.items()
        if unit in set(known["unit"])
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if width < 120 else 3)
    return figure


@figure(
    "leave_one_out",
    section="robustness",
    place=60,
    short="Contrasts from all samples, and with one batch or one site left out.",
)
def leave_out_plate(results: Results, palette: Palette) -> Plate | None:
    """Show how much of each contrast hangs on one batch or site."""
    table = palette.speaking(results[LEAVE_ONE_OUT], "estimate")
    known = table[table["estimate"].notna() & (table["unit"] != "none")]
    if known.empty:
        return None
    units = known.groupby("unit")["left_out"].nunique()
    seen = " and ".join(counted(n, str(unit), "batches" if unit == "batch" else None) for unit, n in units.items())
    changes = known.dropna(subset=["change"]).sort_values("change", key=lambda s: -s.abs(), kind="stable")
    most = "".join(
        f" The largest change is that of {palette.contrast(row.contrast)} without {row.left_out}: odds ratio "
        f"{np.exp(row.estimate):.2f}."
        for row in rows(changes.head(1))
    )
    return Plate(
        stem="leave_one_out",
        title="Without one batch, without one site",
        caption="Odds ratios with 95 % intervals from all samples, and the odds ratios when one batch, or one site, "
        "is left out.",
        alt=f"Dot plot of estimates with {seen} left out, one at a time.{most}",
        table=table,
        draw=lambda: leave_one_out(table, palette, synthetic=results.synthetic),
    )
