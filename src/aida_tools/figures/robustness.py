"""Figures that question an estimate: other specifications, site effects, label errors, permuted batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aida_tools.figures.style import (
    BAND,
    CYCLE,
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
    Palette,
    canvas,
    note,
    odds_axis,
    odds_ticks,
    rows,
    rows_to_read,
    stack,
    styled,
    two_lines,
)

#: What a specification chooses, in the order of the rows of the matrix.
CHOICES = ("denominator", "annotator", "model", "covariates", "donors", "unresolved")
_BATCH, _SITE = "#009E73", "#E69F00"


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


@styled
def tipping_points(
    site_bound: pd.DataFrame | None,
    grid: pd.DataFrame | None,
    palette: Palette,
    *,
    contrast: str = "",
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw how large a site effect, or a difference in labelling error, would have to be to make a difference vanish.

    Parameters
    ----------
    site_bound
        One row a between-site contrast: `contrast, site_sd_bound, batch_sd_low, batch_sd_high, control_site_sd_low,
        control_site_sd_high` (standard deviations on the log-odds scale); or None.
    grid
        One row a grid point: `sensitivity_difference, specificity_difference` (first side minus second), `estimate,
        ci_low, ci_high` (log odds ratio after correction; missing where impossible); or None.
    palette
        Labels of the populations.
    contrast
        The contrast of `grid`, for its title.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Left: the smallest site effect at which each interval includes no difference, with bands of what batches and
    controls measure. Right: the corrected odds ratio; solid line: no difference; dashed: the interval just includes it.
    """
    bound = site_bound.dropna(subset=["site_sd_bound"]) if site_bound is not None else pd.DataFrame()
    drawn = grid if grid is not None and grid["estimate"].notna().any() else None
    panels = int(len(bound) > 0) + int(drawn is not None)
    narrow = width < 120
    height = max(58.0 if drawn is not None else 0, 4.6 * len(bound) + 24 if len(bound) else 0, 30)
    figure = canvas(width, (height + 62 if narrow and panels == 2 else height) + 4 * synthetic, synthetic=synthetic)
    if panels == 0:
        note(figure.subplots(), "No contrast between sites has an estimate to question.")
        return figure
    axes = stack(figure, panels, narrow=narrow, heights=[height, 58][:panels])
    if len(bound):
        _bounds(axes.pop(0), bound, palette, figure)
    if drawn is not None:
        _tipping(axes.pop(0), drawn, palette.contrast(contrast), figure)
    return figure


def _bounds(axes: Axes, bound: pd.DataFrame, palette: Palette, figure: Figure) -> None:
    bound = bound.sort_values("site_sd_bound", ascending=False, ignore_index=True)
    right = max(0.4, 1.5 * float(bound["site_sd_bound"].max()))
    handles = []
    for name, colour, words in (
        ("batch", _BATCH, "batches of one site"),
        ("control_site", _SITE, "controls between sites"),
    ):
        low, high = bound.get(f"{name}_sd_low"), bound.get(f"{name}_sd_high")
        if low is None or high is None or not high.notna().any():
            continue
        start, end = float(low.min()), float(high.max())
        lower, upper = (0.0, 0.5) if name == "batch" else (0.5, 1.0)
        axes.axvspan(start, min(end, right), lower, upper, color=colour, alpha=0.16, linewidth=0, zorder=0, gid=name)
        open_end = " (goes on)" if end > right else ""
        handles.append(
            Patch(color=colour, alpha=0.3, linewidth=0, label=f"{words}: {start:.2f} to {end:.2f}{open_end}")
        )
    axes.hlines(bound.index, 0, bound["site_sd_bound"], color=MUTED, linewidth=0.8, zorder=2)
    holds = bound["site_sd_bound"] > 0
    axes.plot(
        bound.loc[holds, "site_sd_bound"], bound.index[holds], "o", color=INK, markersize=4, zorder=3, gid="bound"
    )
    axes.plot(
        bound.loc[~holds, "site_sd_bound"],
        bound.index[~holds],
        "o",
        markerfacecolor="white",
        markeredgecolor=INK,
        markersize=4,
        zorder=3,
        clip_on=False,
        gid="bound",
    )
    axes.set_yticks(bound.index, [two_lines(palette.contrast(c), 26, 40) for c in bound["contrast"]], fontsize=6)
    axes.set_ylim(len(bound) - 0.4, -0.6)
    axes.set_xlim(0, right)
    axes.set_xlabel("site effect that suffices (SD, log odds)")
    axes.set_title("Site effect that suffices")
    rows_to_read(axes)
    if handles:
        figure.legend(
            handles=handles, loc="outside lower left", ncols=1, title="Measured, 95 % interval", alignment="left"
        )


def _tipping(axes: Axes, grid: pd.DataFrame, contrast: str, figure: Figure) -> None:
    def surface(column: str) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
        wide = grid.pivot(index="sensitivity_difference", columns="specificity_difference", values=column)
        return wide.columns.to_numpy(float), wide.index.to_numpy(float), np.ma.masked_invalid(wide.to_numpy(float))

    x, y, z = surface("estimate")
    limit = float(max(np.quantile(np.abs(z.compressed()), 0.98), 0.1))
    image = axes.contourf(
        x,
        y,
        z,
        levels=np.linspace(-limit, limit, 21),
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -limit, limit),
        extend="both",
    )
    if z.min() < 0 < z.max():
        axes.contour(x, y, z, levels=[0], colors=INK, linewidths=1.3)
    for column in ("ci_low", "ci_high"):
        _, _, edge = surface(column)
        if edge.count() and edge.min() < 0 < edge.max():
            axes.contour(x, y, edge, levels=[0], colors=INK, linewidths=0.9, linestyles="dashed")
    axes.plot(0, 0, "D", color=FOCUS, markersize=5, markeredgecolor="white", zorder=4, gid="reported")
    axes.set_facecolor(RULE)
    axes.set_xlabel("specificity, first minus second")
    axes.set_ylabel("sensitivity, first minus second")
    axes.set_title(two_lines(contrast, 30, 44))
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=16, pad=0.02)
    ticks = odds_ticks(float(np.exp(-limit)), float(np.exp(limit)))
    bar.set_ticks(list(np.log(ticks)), labels=[f"{t:g}" for t in ticks])
    bar.set_label("corrected odds ratio", fontsize=6)
    bar.outline.set_visible(False)


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
