"""Age and sex: every donor's share against age, with the model's slope."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
    left, _, right = str(sex["contrast"]).removeprefix("sex: ").partition(" - ")
    value = sex["share_a"] if name == left else sex["share_b"] if name == right else None
    return None if value is None or pd.isna(value) else float(value)
