"""Forest plot: contrasts by what they can tell apart, those within sites above, those between sites below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.core.words import counted, listed
from aida_tools.design.contrasts import POPULATION, split
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    BAND,
    DOUBLE,
    INK,
    MUTED,
    Palette,
    canvas,
    note,
    odds_axis,
    rows,
    rows_to_read,
    styled,
    two_lines,
    wrap,
)
from aida_tools.models.model import ODDS_RATIO
from aida_tools.models.registry import MODELS
from aida_tools.results.results import STRUCTURE, Results
from aida_tools.results.scale import to_ratio
from aida_tools.results.words import effect, per_step

#: A reading of the tables: columns `contrast, low, high` (odds ratios) to draw behind the contrasts, and a sentence for
#: the caption; None where the tables do not give one.
Band = Callable[[Results], tuple[pd.DataFrame, str] | None]
#: What later steps know of the contrasts.
BANDS: list[Band] = []

#: Status -> heading of its panel; `{}` is what is compared.
_PANELS = {
    "within-site": "Within sites: {} and site are told apart",
    "indirect": "Indirect: the two sides never shared a site",
    "between-batch": "Between batches: {} and batch cannot be told apart",
    "between-site": "Between sites: {} and site cannot be told apart",
}
#: Panels that describe: pairs are left out of them where contrasts with all others speak for them.
_DESCRIBING = ("between-batch", "between-site")


def forest_table(estimates: pd.DataFrame, palette: Palette, *, model: str, limit: int = 14) -> pd.DataFrame:
    """Choose and convert the rows of a forest plot.

    Parameters
    ----------
    estimates
        Rows of `estimates.tsv` for one cell type, denominator and annotator. Contrasts of other terms than population
        are shown only where no contrast of populations has an estimate, those of age for ten years.
    palette
        Knows the populations.
    model
        The primary model: it decides which contrasts are shown, and their panel.
    limit
        Most contrasts shown in a panel. Pairs are left out of the panels between sites and between batches where
        one-vs-rest contrasts exist.

    Returns
    -------
    Columns `panel, contrast, model, quantity, ratio, low, high`: `quantity` is what the model's ratio is. Models whose
    estimates are no logarithms of ratios are left out, as are estimates that do not exist.
    """
    drawn = estimates[estimates["estimate"].notna()]
    of = split(drawn["contrast"], palette.parse)
    drawn = drawn[of["of_populations"] if of["of_populations"].any() else ~of["column"].isin(STRUCTURE)]
    found = []
    for status in _PANELS:
        chosen = drawn[(drawn["model"] == model) & (drawn["status"] == status)]
        if status in _DESCRIBING:
            chosen = palette.speaking(chosen, "estimate")
        for contrast in chosen["contrast"].drop_duplicates().head(limit):
            every = drawn[drawn["contrast"] == contrast]
            for name in dict.fromkeys([model, *MODELS]):
                for record in every[every["model"] == name].to_dict("records"):
                    said = to_ratio(per_step(record, palette.parse(contrast)))
                    if said is not None:
                        found.append([status, contrast, name, *said])
    return pd.DataFrame(found, columns=["panel", "contrast", "model", "quantity", "ratio", "low", "high"])


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
    """Draw contrasts as odds ratios: a panel for each status that occurs, models as rows.

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
        behind the contrast.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A figure with a panel for each status with an estimate, contrasts within sites first.
    """
    table = forest_table(estimates, palette, model=model)
    if table.empty:
        figure = canvas(width, 30 + 4 * synthetic, synthetic=synthetic)
        note(figure.subplots(), "No contrast could be estimated. The table of contrasts says why for each.")
        return figure
    models = [m for m in dict.fromkeys([model, *MODELS]) if m in set(table["model"])]
    counts = {p: table.loc[table["panel"] == p, "contrast"].nunique() for p in _PANELS}
    shown = [p for p in _PANELS if counts[p]]
    pitch = max(6.0, 1.9 * len(models) + 1.5)
    height = sum(counts.values()) * pitch + 10 * len(shown) + 9 + 4 * synthetic
    figure = canvas(width, height, synthetic=synthetic)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=[counts[p] for p in shown])[:, 0]
    spread = table[["ratio", "low", "high"]].to_numpy(float)
    low, high = max(float(np.nanmin(spread)), 1 / 20), min(float(np.nanmax(spread)), 20.0)
    low, high = min(low / 1.04, 0.8), max(high * 1.04, 1.25)
    what = "covariate" if _compared(table, palette) != [POPULATION] else POPULATION
    for axes, panel in zip(panels, shown, strict=True):
        _panel(axes, table[table["panel"] == panel], models, palette, model, site_bound, width)
        axes.set_title(wrap(_PANELS[panel].format(what), 34 if width < 120 else 90))
        odds_axis(axes, low, high)
    panels[-1].set_xlabel(f"{table['quantity'].iloc[0]} (logarithmic axis)")
    figure.legend(
        handles=[_handle(m, m == model) for m in models],
        loc="outside lower center",
        ncols=min(len(models), 2 if width < 120 else 6),
        columnspacing=1.4,
    )
    return figure


def _words(text: str, palette: Palette) -> str:
    """Write a contrast for readers; of a number with the step that its ratio is for."""
    contrast = palette.parse(text)
    return palette.contrast(text) if contrast.of_populations else effect(contrast, between=" – ")


def _compared(table: pd.DataFrame, palette: Palette) -> list[str]:
    """Return the columns that the contrasts of a forest plot are of: the population, or covariates."""
    return list(dict.fromkeys(palette.parse(text).column for text in table["contrast"]))


def _look(name: str, primary: bool) -> dict[str, Any]:
    marker, colour = MODELS[name].marker
    return {
        "marker": marker,
        "color": INK if primary else colour,
        "markersize": 4.6 if primary else 3.0,
        "markerfacecolor": INK if primary else colour if MODELS[name].ratio == ODDS_RATIO else "white",
        "markeredgewidth": 0.8,
        "linewidth": 1.5 if primary else 0.8,
    }


def _handle(name: str, primary: bool) -> Line2D:
    ratio = MODELS[name].ratio
    label = f"{name} (primary)" if primary else name if ratio == ODDS_RATIO else f"{name} ({ratio})"
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
        [two_lines(_words(c, palette), 20 if width < 120 else 34, 20 if width < 120 else 30) for c in contrasts],
    )
    axes.set_ylim(len(contrasts) - 0.5, -0.5)
    rows_to_read(axes)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks([row for row, _ in printed], [text for _, text in printed])
    right.tick_params(axis="y", length=0)
    right.spines[:].set_visible(False)


def _scales(models: Sequence[str]) -> str:
    """Say which models are drawn hollow, because their ratios are not odds ratios, and which are not drawn."""
    known = {name: MODELS[name].ratio if name in MODELS else "" for name in models}
    hollow = {name: ratio for name, ratio in known.items() if ratio not in (ODDS_RATIO, "")}
    said = [f"{name} gives {ratio.replace('ratio', 'ratios')}, drawn hollow." for name, ratio in hollow.items()]
    if absent := [name for name, ratio in known.items() if not ratio]:
        one = len(absent) == 1
        units, are = ("another unit", "is") if one else ("other units", "are")
        said.append(f"{listed(absent)} {'has' if one else 'have'} {units} and {are} not drawn.")
    return " ".join(said)


#: Status -> what the caption says of its panel.
_CAPTIONS = {
    "indirect": "Indirect contrasts rest on a third group that was measured with both sides.",
    "between-batch": "Contrasts between batches describe {} and batch together.",
    "between-site": "Contrasts between sites describe {} and site together.",
}


@figure(
    "forest",
    section="measured",
    place=20,
    short="Odds ratios with 95 % intervals by model, a panel for each status: contrasts within sites; indirect ones; "
    "contrasts between batches or sites, which describe population and batch or site together. Yellow: what a measured "
    "site effect alone could give.",
)
def forest_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the focus type's contrasts between populations, or else those of covariates, under every model."""
    if not results.estimated or "model" not in results.primary:
        return None
    estimates, model = results.focus_estimates(), results.primary["model"]
    table = forest_table(estimates, palette, model=model)
    primary = table[table["model"] == model]
    seen = "; ".join(
        f"{_words(e.contrast, palette)} {e.ratio:.2f} ({e.low:.2f} to {e.high:.2f}), {e.panel}" for e in rows(primary)
    )
    ratios = next(iter(table["quantity"]), ODDS_RATIO).replace("ratio", "ratios")
    band, of_band = next(filter(None, (band(results) for band in BANDS)), (None, ""))
    columns = _compared(table, palette)
    what = "covariate" if columns != [POPULATION] else POPULATION
    said = [
        f"{ratios.capitalize()} of the {results.share_words} with 95 % intervals, by model; the numbers at the right "
        f"are those of the primary model ({model}).",
        _scales(sorted(set(estimates["model"]))),
        *(text.format(what) for status, text in _CAPTIONS.items() if status in set(table["panel"])),
        of_band,
    ]
    return Plate(
        stem="forest",
        title="Contrasts between populations" if what == POPULATION else f"Effects of {listed(columns)}",
        caption=" ".join(filter(None, said)),
        alt=f"Forest plot of {counted(primary['contrast'].nunique(), 'contrast')}. {ratios.capitalize()} with 95 % "
        f"intervals: {seen}.",
        table=table,
        draw=lambda: forest(estimates, palette, model=model, site_bound=band, synthetic=results.synthetic),
    )
