"""How large a bias would have to be: a site effect, or labelling errors that differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aida_tools.figures.contrasts import BANDS
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    DOUBLE,
    FOCUS,
    INK,
    MUTED,
    RULE,
    Palette,
    canvas,
    note,
    odds_ticks,
    rows,
    rows_to_read,
    stack,
    styled,
    two_lines,
)
from aida_tools.results.results import Results
from aida_tools.robustness.figures.specifications import about
from aida_tools.robustness.tables import MISCLASSIFICATION_GRID, SITE_BOUND, SITE_PRIOR

_BATCH, _SITE = "#009E73", "#E69F00"


def site_band(site_bound: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Turn measured differences between batches and sites into the odds ratios that sites alone could give.

    Parameters
    ----------
    site_bound
        One row a between-site contrast: `contrast, spread` (sum of squared site weights), and on the log-odds scale
        `batch_sd_high` (upper limit of the SD between batches of one site) and `control_site_sd` (SD between sites by
        the controls).

    Returns
    -------
    Columns `contrast, low, high`: odds ratios, 95 % of differences between sites of that SD; and the SD, the larger
    of the two measured ones (NaN where none was measured).
    """
    measured = site_bound.reindex(columns=["batch_sd_high", "control_site_sd"]).to_numpy(float)
    known = measured[np.isfinite(measured)]
    sd = float(known.max()) if len(known) else np.nan
    reach = 1.96 * np.sqrt(site_bound["spread"].to_numpy(float)) * sd
    band = pd.DataFrame({"contrast": site_bound["contrast"], "low": np.exp(-reach), "high": np.exp(reach)})
    return band.dropna(), sd


def behind_the_forest(results: Results) -> tuple[pd.DataFrame, str] | None:
    """Return what sites alone could give, for the forest plot, and a sentence for its caption."""
    band, sd = site_band(results[SITE_BOUND])
    if band.empty:
        return None
    return band, (
        f"Yellow: odds ratios that sites alone would give in 95 % of cases if they differed with SD {sd:.2f} (log "
        "odds), the larger of what batches of one site (upper limit) and the controls between sites were measured to "
        "differ by."
    )


BANDS.append(behind_the_forest)


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


@figure(
    "tipping_points",
    section="robustness",
    place=20,
    short="How large a site effect, or a difference in labelling error, would be enough to make a difference vanish.",
)
def tipping_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the biases that would explain the contrasts between sites."""
    grid = results[MISCLASSIFICATION_GRID]
    shown = palette.speaking(results[SITE_BOUND].dropna(subset=["site_sd_bound"]), "site_sd_bound")
    drawn = grid.dropna(subset=["estimate"])
    if shown.empty and drawn.empty:
        return None
    contrast = about(results, drawn) if len(drawn) else ""
    own = grid[grid["contrast"] == contrast]
    seen = "; ".join(f"{palette.contrast(e.contrast)} {e.site_sd_bound:.2f}" for e in rows(shown))
    caption = []
    if len(shown):
        caption.append(
            "Site effect (standard deviation between sites, log-odds scale) that would be enough for each between-site "
            "interval to include no difference; open: it does so without any. Bands: what batches of one site, and the "
            "controls between sites, were measured to differ by (95 % intervals)."
        )
    if len(own):
        caption.append(
            "Odds ratio after correction for labelling that differs between the two sides in sensitivity and "
            "specificity. Solid line: no difference left; dashed: the interval just includes it; diamond: as "
            "reported; grey: impossible."
        )
    return Plate(
        stem="tipping_points",
        title="How much bias would be enough",
        caption=" ".join(caption),
        alt=f"Tipping points. Site effect that suffices (SD): {seen or 'not available'}."
        + (f" Contour plot of the corrected odds ratio of {palette.contrast(contrast)}." if len(own) else ""),
        table=shown if len(shown) else own,
        draw=lambda: tipping_points(shown, own, palette, contrast=contrast, synthetic=results.synthetic),
    )


@styled
def site_prior(
    prior: pd.DataFrame,
    bound: pd.DataFrame,
    palette: Palette,
    *,
    contrast: str = "",
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw which site effects are plausible, and how many of them each contrast survives.

    Parameters
    ----------
    prior
        One row a standard deviation between sites: `site_sd` (log odds), `start, density`.
    bound
        One row a between-site contrast: `contrast, site_sd_bound` (log odds), `keeps_sign, keeps_interval` (0 to 1).
    palette
        Labels of the populations.
    contrast
        The one whose bound is marked in the density.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Left: the density of the standard deviation between sites, with a line at the bound of one contrast. Right: the
    shares of the site effects under which each contrast keeps its sign, and its interval its side.
    """
    shown = bound.dropna(subset=["keeps_sign"]).sort_values("keeps_sign", kind="stable", ignore_index=True)
    narrow = width < 120
    height = max(50.0, 4.6 * len(shown) + 26)
    figure = canvas(width, (height + 50 if narrow else height) + 4 * synthetic, synthetic=synthetic)
    if shown.empty:
        note(figure.subplots(), "No contrast between sites has an estimate to question.")
        return figure
    left, right = stack(figure, 2, narrow=narrow, heights=[50, height])
    changed = not np.allclose(prior["start"], prior["density"], rtol=1e-3)
    left.fill_between(prior["site_sd"], prior["density"], color=_SITE, alpha=0.35, linewidth=0, gid="density")
    left.plot(prior["site_sd"], prior["start"], color=MUTED, linewidth=0.9, linestyle="dashed", gid="start")
    reach = float(prior.loc[prior["density"] > 0.01 * prior["density"].max(), "site_sd"].max())
    limits = shown.loc[(shown["contrast"] == contrast) & (shown["site_sd_bound"] > 0), "site_sd_bound"]
    left.set_xlim(0, max([reach, *(1.08 * limits)]))
    left.set_ylim(0, 1.1 * float(prior[["start", "density"]].to_numpy().max()))
    for limit in limits:
        left.axvline(limit, color=INK, linewidth=0.9, gid="bound")
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.set_xlabel("SD between sites (log odds)")
    left.set_title("Plausible site effects")
    places = np.arange(len(shown))
    right.hlines(places, shown["keeps_interval"], shown["keeps_sign"], color=MUTED, linewidth=0.8)
    dots: dict[str, Any] = {"marker": "o", "linestyle": "none", "markeredgecolor": INK, "markersize": 4}
    for column, colour in (("keeps_sign", INK), ("keeps_interval", "white")):
        right.plot(shown[column], places, markerfacecolor=colour, clip_on=False, zorder=3, gid=column, **dots)
    right.set_yticks(places, [two_lines(palette.contrast(c), 26, 40) for c in shown["contrast"]], fontsize=6)
    right.set_ylim(len(shown) - 0.4, -0.6)
    right.set_xlim(0, 1.02)
    right.set_xticks(np.linspace(0, 1, 6), [f"{x:.0f} %" for x in np.linspace(0, 100, 6)])
    right.set_xlabel("of the plausible site effects")
    right.set_title("What the contrasts survive")
    rows_to_read(right)
    density = "given the data" if changed else "assumed"
    handles = [
        Patch(color=_SITE, alpha=0.35, linewidth=0, label=f"plausible, {density}"),
        *([Line2D([], [], color=MUTED, linewidth=0.9, linestyle="dashed", label="before the data")] * changed),
        *(
            Line2D(
                [], [], color=INK, linewidth=0.9, label=f"enough for {two_lines(palette.contrast(contrast), 30, 60)}"
            )
            for _ in limits
        ),
        Line2D([], [], markerfacecolor=INK, label="keeps its sign", **dots),
        Line2D([], [], markerfacecolor="white", label="interval still without 1", **dots),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if narrow else 3, columnspacing=1.2)
    return figure


@figure(
    "site_prior",
    section="robustness",
    place=25,
    short="Which site effects are plausible, and the share of them under which a contrast keeps its sign.",
)
def site_prior_plate(results: Results, palette: Palette) -> Plate | None:
    """Show how many of the plausible site effects the contrasts survive."""
    prior = results[SITE_PRIOR]
    shown = palette.speaking(results[SITE_BOUND].dropna(subset=["keeps_sign"]), "keeps_sign")
    if prior.empty or shown.empty:
        return None
    first, contrast = next(rows(shown)), about(results, shown)
    seen = "; ".join(f"{palette.contrast(e.contrast)} {100 * e.keeps_sign:.0f} %" for e in rows(shown))
    return Plate(
        stem="site_prior",
        title="Site effects that are plausible",
        caption=f"How much sites may differ (standard deviation, log-odds scale): {first.rests_on}; half of the "
        f"distribution is below {first.plausible_site_sd:.2f}, 95 % below {first.plausible_site_sd_high:.2f}. Vertical "
        f"line: enough for the interval of {palette.contrast(contrast)} to include 1 (no difference). Dots: share of "
        "the plausible site effects under which a contrast keeps its sign (filled), and under which its interval, "
        "less the site effect, is still without 1 (open).",
        alt=f"Density of the standard deviation between sites, and a dot plot. Share keeping their sign: {seen}.",
        table=shown[["contrast", "site_sd_bound", "keeps_sign", "keeps_interval"]],
        draw=lambda: site_prior(prior, shown, palette, contrast=contrast, synthetic=results.synthetic),
    )
