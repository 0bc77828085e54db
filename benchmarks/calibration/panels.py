"""Figures of `results.tsv`: every model in the scenarios A to E, and the primary one in the designs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import simulate
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aida_tools.core.names import ESTIMATED

WANTED = {"rejected": (0.04, 0.06), "coverage": (0.94, 0.96)}
#: Statuses with an estimate, and all the others together.
STATUSES = (*ESTIMATED, "no estimate")
COLOURS = dict(zip(STATUSES, ("#0072B2", "#56B4E9", "#E69F00", "#D55E00", "0.75"), strict=True))
_STYLE: Any = {
    "svg.hashsalt": "calibration",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NOTE = "bars: Monte Carlo 95 %; grey: wanted"


def _save(fig: Figure, out: Path, name: str) -> None:
    fig.savefig(out / f"{name}.png", dpi=110, metadata={"Software": None})
    fig.savefig(out / f"{name}.svg", metadata={"Date": None})
    plt.close(fig)


def _log_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.set_xticks([0.05, 0.2, 0.5], ["0.05", "0.2", "0.5"])
    ax.minorticks_off()


def draw_models(table: pd.DataFrame, out: Path) -> None:
    """Draw false positives and coverage by scenario, model and kind of contrast."""
    mpl.rcParams |= _STYLE
    models = list(dict.fromkeys(table["model"]))
    scenarios = [s for s in simulate.SCENARIOS if s in set(table["scenario"])]
    kinds = {"within-site": COLOURS["within-site"], "between-site": COLOURS["between-site"]}
    fig, axes = plt.subplots(
        2, len(scenarios), figsize=(2.1 * len(scenarios), 4.2), sharex="row", sharey=True, squeeze=False
    )
    for (row, quantity), label in zip(
        enumerate(WANTED), ("false positives at 0.05, no effect", "coverage of 95 % intervals"), strict=True
    ):
        for ax, scenario in zip(axes[row], scenarios, strict=True):
            ax.axvspan(*WANTED[quantity], color="0.88", lw=0)
            for shift, (kind, colour) in zip((-0.12, 0.12), kinds.items(), strict=True):
                part = table[(table["scenario"] == scenario) & (table["contrast"] == f"{kind}, no effect")]
                y = part["model"].map(models.index) + shift
                bar = 1.96 * part[f"{quantity}_mcse"]
                ax.errorbar(part[quantity], y, xerr=bar, fmt="o", ms=3, lw=0.8, color=colour, label=kind)
            ax.set_yticks(range(len(models)), models)
            ax.set_ylim(len(models) - 0.5, -0.5)
            if row == 0:
                ax.set_title(f"{scenario}: {simulate.SCENARIOS[scenario].words}".replace(", ", ",\n"), fontsize=7)
                _log_axis(ax)
        axes[row][len(scenarios) // 2].set_xlabel(label)
    axes[1][-1].legend(frameon=False, fontsize=7, loc="best")
    n = int(table["cohorts"].min())
    fig.suptitle(f"SYNTHETIC cohorts ({n} or more a point; {_NOTE})", fontsize=8)
    fig.tight_layout()
    _save(fig, out, "calibration")


def _statuses(ax: Axes, table: pd.DataFrame) -> None:
    """Draw how often each status was given, and a tick in the colour of the expected one where another was."""
    left = pd.Series(0.0, index=table.index)
    for status in STATUSES:
        width = table[status].fillna(0.0)
        ax.barh(range(len(table)), width, left=left, height=0.7, color=COLOURS[status], label=status)
        left += width
    for y, (expected, share) in enumerate(zip(table["expected"], table["as_expected"], strict=True)):
        if share < 1:
            ax.plot(1.06, y, "s", ms=4, clip_on=False, color=COLOURS.get(expected, COLOURS[STATUSES[-1]]))


def draw_designs(table: pd.DataFrame, out: Path) -> None:
    """Draw false positives, coverage, statuses and wrong labels of every design's contrasts.

    Wrong is an artefact called within-site whose interval misses the truth; supported a claim where the truth is 0.
    """
    mpl.rcParams |= _STYLE
    table = table.reset_index(drop=True)
    first = ~table["scenario"].duplicated()
    short = table["contrast"].str.removeprefix("population: ").str.removeprefix("site: ")
    names = (table["scenario"].where(first, "") + "   " + short).tolist()
    fig, axes = plt.subplots(
        1, 4, figsize=(10.5, 0.165 * len(table) + 1.2), sharey=True, width_ratios=(1.3, 1.3, 1.3, 1.0)
    )
    y = pd.Series(range(len(table)))
    null = table["truth"] == 0
    for ax, quantity, some in zip(axes, WANTED, (null, table["coverage"].notna()), strict=False):
        ax.axvspan(*WANTED[quantity], color="0.88", lw=0)
        for artefact, colour in ((False, "black"), (True, COLOURS["between-site"])):
            part = table[some & (table["artefact"].astype(bool) == artefact)]
            ax.errorbar(
                part[quantity].clip(lower=0.01), y[part.index], xerr=1.96 * part[f"{quantity}_mcse"],
                fmt="o", ms=3, lw=0.8, color=colour, label="with an artefact" if artefact else "without",
            )  # fmt: skip
    _log_axis(axes[0])
    _statuses(axes[2], table)
    for column, marker, colour in (("wrong", "o", COLOURS["between-site"]), ("supported", "x", "black")):
        axes[3].plot(table[column].where(null), y, marker, ms=3.5, color=colour, label=column)
    axes[3].axvspan(0, 0.05, color="0.88", lw=0)
    titles = (
        "false positives at 0.05,\nno effect",
        "coverage of 95 % intervals",
        "status (square: expected,\nwhere another was given)",
        "artefact called within-site,\nand supported",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=8)
        for row in table.index[first][1:]:
            ax.axhline(row - 0.5, color="0.9", lw=0.5, zorder=0)
    axes[0].set_yticks(y, names)
    axes[0].set_ylim(len(table) - 0.4, -0.6)
    for ax, columns in zip((axes[1], axes[2], axes[3]), (1, 3, 2), strict=True):
        ax.legend(frameon=False, fontsize=6.5, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.035))
    n = int(table["cohorts"].min())
    fig.suptitle(f"SYNTHETIC cohorts, primary model ({n} or more a row; {_NOTE})", fontsize=8)
    fig.tight_layout(rect=(0, 0, 1, 0.985))
    _save(fig, out, "designs")
