"""Age and sex: every donor's share against age, with the model's slope."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.design.contrasts import Contrast, split
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    DOUBLE,
    INK,
    Palette,
    canvas,
    legend_columns,
    note,
    percent_axis,
    stack,
    styled,
    wrap,
)
from aida_tools.models.model import ODDS_RATIO
from aida_tools.models.registry import MODELS
from aida_tools.results.results import Results
from aida_tools.results.scale import to_ratio
from aida_tools.results.words import effect, per_step


@styled
def age_and_sex(
    shares: pd.DataFrame,
    palette: Palette,
    *,
    age: pd.Series | None = None,
    sex: pd.Series | None = None,
    title: str = "Share",
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw shares against age, a panel for each sex, with the fitted curve of the model.

    Parameters
    ----------
    shares
        One row a sample: `population, sex, age` (years), `share` (0-1).
    palette
        Labels, colours and order of the populations.
    age
        The estimate of the term `age`: `estimate, ci_low, ci_high`, log odds ratio a year; or None.
    sex
        The estimate `sex: A - B`: `contrast, share_a, share_b`, standardised shares of the two sexes; or None: then the
        curve goes through the mean of the panel.
    title
        What the share is of, for the axis.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    A panel a sex. The curve has the model's slope and passes at the mean age through the standardised share; its band
    is the slope's 95 % interval, so it is narrowest at the mean age by construction.
    """
    known = shares.dropna(subset=["age", "share"])
    sexes = [s for s in ("female", "male", "unknown") if s in set(known["sex"])]
    narrow = width < 120
    figure = canvas(width, (56 * max(len(sexes), 1) if narrow else 66) + 4 * synthetic, synthetic=synthetic)
    if known.empty:
        note(figure.subplots(), "No sample has an age.")
        return figure
    mean_age = float(known["age"].mean())
    panels = stack(figure, len(sexes), narrow=narrow, sharex=True, sharey=True)
    codes = palette.order(known["population"].dropna())
    palette = palette.among(codes)
    for axes, name in zip(panels, sexes, strict=True):
        own = known[known["sex"] == name]
        for code in codes:
            group = own[own["population"] == code]
            axes.scatter(
                group["age"],
                group["share"],
                s=7,
                color=palette.colour(code),
                alpha=0.75,
                edgecolors="none",
                gid="donors",
                zorder=2,
            )
        level = _standardised(sex, name)
        level = float(own["share"].mean()) if level is None else level
        if age is not None and pd.notna(age["estimate"]) and 0 < level < 1:
            years = np.linspace(known["age"].min(), known["age"].max(), 60)
            middle = np.log(level / (1 - level))
            curves = [
                1 / (1 + np.exp(-(middle + age[c] * (years - mean_age)))) for c in ("estimate", "ci_low", "ci_high")
            ]
            axes.fill_between(
                years, np.minimum(*curves[1:]), np.maximum(*curves[1:]), color=INK, alpha=0.14, linewidth=0, zorder=3
            )
            axes.plot(years, curves[0], color=INK, linewidth=1.3, zorder=4, gid="curve")
        axes.set_title(f"{name} (n = {len(own)})")
        axes.grid(axis="y")
        percent_axis(axes, which="y")
        if not narrow or name == sexes[-1]:
            axes.set_xlabel("age, years")
    for axes in panels if narrow else panels[:1]:
        axes.set_ylabel(wrap(f"{title}, %", 36))
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=palette.colour(c), markersize=3.4, label=palette.label(c))
        for c in codes
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns(map(palette.label, codes), width),
        columnspacing=1.2,
    )
    return figure


def _standardised(sex: pd.Series | None, name: str) -> float | None:
    """Return the standardised share of one sex from the contrast of the two, or None."""
    if sex is None:
        return None
    contrast = Contrast.parse(sex["contrast"])
    value = {contrast.a: sex["share_a"], contrast.b: sex["share_b"]}.get(name)
    return None if value is None or pd.isna(value) else float(value)


def _effect(row: pd.Series | None) -> str:
    """Write an estimate as a ratio; nothing where it has none."""
    if row is None or (said := to_ratio(per_step(row.to_dict(), contrast := Contrast.parse(row["contrast"])))) is None:
        return ""
    of = f"{'of' if contrast.a else 'for'} {effect(contrast)}"
    return f" {said[0].capitalize()} {of}: {said[1]:.2f} ({said[2]:.2f} to {said[3]:.2f})."


@figure(
    "age_and_sex",
    section="context",
    place=20,
    short="The share against age, by sex, with the primary model's slope and its 95 % interval.",
)
def age_plate(results: Results, palette: Palette) -> Plate | None:
    """Show the focus type's share by age and sex, with what the primary model says of both."""
    shares, words, model = results.focus_shares(), results.share_words, results.primary.get("model")
    if not results.estimated or model is None or shares["age"].nunique() < 3:
        return None
    known = results.focus_estimates()
    known = known[(known["model"] == model) & known["estimate"].notna()]
    terms = split(known["contrast"])["column"]
    age, sex = (next((row for _, row in known[terms == term].iterrows()), None) for term in ("age", "sex"))
    said = _effect(age) + _effect(sex)
    # The curve is a logit: a slope on another scale has no place in it.
    slope = age if MODELS[model].ratio == ODDS_RATIO else None
    curve = (
        " Curve: the primary model's slope, through the standardised share at the mean age; band: the slope's 95 % "
        "interval (the level's uncertainty is not in it)."
    )
    return Plate(
        stem="age_and_sex",
        title="Age and sex",
        caption=f"{words} of every sample against its age, by sex, coloured by population."
        f"{curve if slope is not None else ''}{said}",
        alt=f"Scatter plot of {len(shares)} samples aged {shares['age'].min():.0f} to {shares['age'].max():.0f}.{said}",
        table=shares,
        draw=lambda: age_and_sex(shares, palette, age=slope, sex=sex, title=words, synthetic=results.synthetic),
    )
