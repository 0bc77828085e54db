"""Forest plot: contrasts within one site above, contrasts between sites below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.figures.style import (
    BAND,
    DOUBLE,
    INK,
    MUTED,
    Palette,
    canvas,
    note,
    odds_axis,
    rows_to_read,
    styled,
    two_lines,
    wrap,
)

#: Models on the natural-log odds scale; `log10-ols` is a ratio of shares and is drawn hollow; others have no ratio.
ODDS_MODELS = {
    "betabinomial-mixed": ("o", "#1a1a1a"),
    "betabinomial-cluster": ("D", "#0072B2"),
    "betabinomial-library": ("s", "#009E73"),
    "betabinomial": ("s", "#56B4E9"),
    "quasibinomial": ("^", "#E69F00"),
    "quasi-share": ("<", "#999933"),
    "propeller-logit": ("v", "#CC79A7"),
    "clr-2class": ("P", "#8C6D31"),
}
RATIO_MODELS = {"log10-ols": ("o", "#D55E00")}
_PANELS = {
    "within-site": "Within one site: population and site are told apart",
    "between-site": "Between sites: population and site cannot be told apart",
}


def to_ratio(record: Mapping[Any, Any]) -> tuple[str, float, float, float] | None:
    """Turn an estimate into a ratio.

    Parameters
    ----------
    record
        A row of `estimates.tsv`.

    Returns
    -------
    What it is a ratio of, its value and limits; None for a model of another unit or an estimate that does not exist.
    """
    model = record["model"]
    if pd.isna(record["estimate"]) or (model not in ODDS_MODELS and model not in RATIO_MODELS):
        return None
    base, quantity = (10.0, "ratio of shares") if model in RATIO_MODELS else (np.e, "odds ratio")
    value, low, high = (float(base ** record[c]) for c in ("estimate", "ci_low", "ci_high"))
    return quantity, value, low, high


def forest_table(estimates: pd.DataFrame, *, model: str, limit: int = 14) -> pd.DataFrame:
    """Choose and convert the rows of a forest plot.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv` for one cell type, denominator and annotator; contrasts of other terms than
        population are left out.
    model
        The primary model: it decides which contrasts are shown, and their panel.
    limit
        Most contrasts shown in a panel. One-vs-rest contrasts come first in the between-site panel, and pairs are
        left out of it where one-vs-rest contrasts exist.

    Returns
    -------
    Columns `panel, contrast, model, quantity, ratio, low, high`, with odds ratios (or, for `log10-ols`, ratios of
    shares). Models of another unit (`propeller-asin`, `clr`) are left out, as are estimates that do not exist.
    """
    drawn = estimates[estimates["estimate"].notna() & estimates["contrast"].str.startswith("population: ")]
    rows = []
    for status in _PANELS:
        chosen = drawn[(drawn["model"] == model) & (drawn["status"] == status)]
        versus_rest = chosen["contrast"].str.endswith(" - rest")
        if status == "between-site" and versus_rest.any():
            chosen = chosen[versus_rest]
        for contrast in chosen["contrast"].drop_duplicates().head(limit):
            every = drawn[drawn["contrast"] == contrast]
            for name in [model, *[m for m in (*ODDS_MODELS, *RATIO_MODELS) if m != model]]:
                for record in every[every["model"] == name].to_dict("records"):
                    said = to_ratio(record)
                    if said is not None:
                        rows.append([status, contrast, name, *said])
    return pd.DataFrame(rows, columns=["panel", "contrast", "model", "quantity", "ratio", "low", "high"])


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


@styled
def forest(
    estimates: pd.DataFrame,
    palette: Palette,
    *,
    model: str,
    site_bound: pd.DataFrame | None = None,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw contrasts as odds ratios: a panel within sites, a panel between sites, models as rows.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv` for one cell type, denominator and annotator.
    palette
        Labels of the populations.
    model
        The primary model, drawn large; its ratio and interval are printed at the right.
    site_bound
        Columns `contrast, low, high` (odds ratios): what a difference between sites alone could look like; a band
        behind the contrast (`site_band`).
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with a panel for contrasts within sites and one for those between sites.
    """
    table = forest_table(estimates, model=model)
    if table.empty:
        figure = canvas(width, 30 + 4 * synthetic, synthetic=synthetic)
        note(figure.subplots(), "No contrast could be estimated. The table of contrasts says why for each.")
        return figure
    models = [m for m in (model, *ODDS_MODELS, *RATIO_MODELS) if m in set(table["model"])]
    models = list(dict.fromkeys(models))
    counts = {p: table.loc[table["panel"] == p, "contrast"].nunique() for p in _PANELS}
    shown = [p for p in _PANELS if counts[p]]
    pitch = max(6.0, 1.9 * len(models) + 1.5)
    height = sum(counts.values()) * pitch + 10 * len(shown) + 9 + 4 * synthetic
    figure = canvas(width, height, synthetic=synthetic)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=[counts[p] for p in shown])[:, 0]
    spread = table[["ratio", "low", "high"]].to_numpy(float)
    low, high = max(float(np.nanmin(spread)), 1 / 20), min(float(np.nanmax(spread)), 20.0)
    low, high = min(low / 1.04, 0.8), max(high * 1.04, 1.25)
    for axes, panel in zip(panels, shown, strict=True):
        _panel(axes, table[table["panel"] == panel], models, palette, model, site_bound, width)
        axes.set_title(wrap(_PANELS[panel], 34 if width < 120 else 90))
        odds_axis(axes, low, high)
    panels[-1].set_xlabel("odds ratio (logarithmic axis)")
    figure.legend(
        handles=[_handle(m, m == model) for m in models],
        loc="outside lower center",
        ncols=min(len(models), 2 if width < 120 else 6),
        columnspacing=1.4,
    )
    return figure


def _look(name: str, primary: bool) -> dict[str, Any]:
    marker, colour = {**ODDS_MODELS, **RATIO_MODELS}[name]
    return {
        "marker": marker,
        "color": INK if primary else colour,
        "markersize": 4.6 if primary else 3.0,
        "markerfacecolor": "white" if name in RATIO_MODELS else INK if primary else colour,
        "markeredgewidth": 0.8,
        "linewidth": 1.5 if primary else 0.8,
    }


def _handle(name: str, primary: bool) -> Line2D:
    label = f"{name} (primary)" if primary else f"{name} (ratio of shares)" if name in RATIO_MODELS else name
    return Line2D([], [], label=label, **_look(name, primary))


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    models: list[str],
    palette: Palette,
    model: str,
    site_bound: pd.DataFrame | None,
    width: float,
) -> None:
    contrasts = list(dict.fromkeys(table["contrast"]))
    step = 0.78 / len(models)
    printed = []
    for row, contrast in enumerate(contrasts):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color=BAND, linewidth=0, zorder=0)
        if site_bound is not None:
            for bound in site_bound[site_bound["contrast"] == contrast].to_dict("records"):
                axes.fill_betweenx(
                    [row - 0.5, row + 0.5],
                    bound["low"],
                    bound["high"],
                    color="#F2C94C",
                    alpha=0.35,
                    linewidth=0,
                    zorder=1,
                )
        for entry in table[table["contrast"] == contrast].to_dict("records"):
            primary = entry["model"] == model
            y = row + (models.index(entry["model"]) - (len(models) - 1) / 2) * step
            axes.plot(
                [entry["low"], entry["high"]],
                [y, y],
                solid_capstyle="butt",
                zorder=3,
                **{k: v for k, v in _look(entry["model"], primary).items() if k in ("color", "linewidth")},
            )
            axes.plot(
                entry["ratio"],
                y,
                zorder=4,
                linestyle="none",
                gid=f"{contrast}|{entry['model']}",
                **_look(entry["model"], primary),
            )
            if primary:
                interval = f"({entry['low']:.2f}–{entry['high']:.2f})" if pd.notna(entry["low"]) else "(no interval)"
                printed.append((row, f"{entry['ratio']:.2f}  {interval}"))
    axes.axvline(1, color=MUTED, linewidth=0.7, zorder=2)
    axes.set_yticks(
        range(len(contrasts)),
        [two_lines(palette.contrast(c), 20 if width < 120 else 34, 20 if width < 120 else 30) for c in contrasts],
    )
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    rows_to_read(axes)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks([row for row, _ in printed], [text for _, text in printed])
    right.tick_params(axis="y", length=0)
    right.spines[:].set_visible(False)
