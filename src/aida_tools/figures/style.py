"""How every figure looks: sizes in mm, type, colours of populations, the SYNTHETIC mark, and saving."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from aida_tools.core.schema import write_tsv
from aida_tools.design.contrasts import Contrast, split

#: Widths of one and two journal columns, mm.
SINGLE, DOUBLE = 89.0, 183.0
#: Resolution of the PNG files.
DPI = 300
INK, MUTED, RULE, BAND = "#1a1a1a", "#5f6368", "#d9dce0", "#f3f4f6"
#: Behind words that stand on what is drawn.
PAPER: Any = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
#: The focus cell type and the mark of synthetic data.
FOCUS, WARN = "#B3261E", "#B3261E"
#: For populations without a colour of their own, and for cell types (Okabe-Ito and Tol, told apart when colour-blind).
CYCLE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#8C6D31",
    "#332288",
    "#999933",
    "#AA4499",
    "#117733",
    "#882255",
)
#: The colours of the cycle, lighter ones, darker ones.
SHADES = 3

RC: Any = {
    "font.family": "sans-serif",
    # Only what matplotlib itself ships, so that a figure is the same on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 6.5,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": RULE,
    "grid.linewidth": 0.4,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.borderaxespad": 0.0,
    "figure.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "savefig.facecolor": "white",
    # Text stays text: it can be edited, searched and copied.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "aida_tools",
}


def rows(table: pd.DataFrame) -> Iterator[Any]:
    """Iterate over the rows of a table as named tuples."""
    return table.itertuples(index=False)


def styled[**P](function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw a figure in the house style, whatever the caller's settings are."""

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(RC):
            return function(*args, **kwargs)

    return draw


def canvas(width: float, height: float, *, synthetic: bool = False) -> Figure:
    """Make an empty figure.

    Parameters
    ----------
    width, height
        Size in mm.
    synthetic
        Mark the figure as made from synthetic data.
    """
    figure = Figure(figsize=(width / 25.4, height / 25.4), layout="constrained")
    if synthetic:
        mark_synthetic(figure)
    return figure


def stack(
    figure: Figure, n: int, *, narrow: bool, heights: Sequence[float] | None = None, **options: Any
) -> list[Axes]:
    """Put n panels side by side, or one below the other where the page is narrow; `heights` are those of the latter."""
    if narrow:
        return list(figure.subplots(n, 1, squeeze=False, height_ratios=heights, **options).ravel())
    return list(figure.subplots(1, n, squeeze=False, **options).ravel())


def mark_synthetic(figure: Figure) -> None:
    """Write SYNTHETIC across a figure, and once more in its corner where no point hides it."""
    layout: Any = figure.get_layout_engine()
    width, height = figure.get_size_inches() * 25.4
    # A strip of 4 mm at the top is kept free for the badge.
    layout.set(rect=(0, 0, 1, 1 - 4 / height))
    angle = float(np.degrees(np.arctan2(height, width)))
    across = figure.text(
        0.5,
        0.5,
        "SYNTHETIC",
        fontsize=min(width, height * 1.8) * 0.28,
        fontweight="bold",
        color=MUTED,
        alpha=0.07,
        rotation=min(angle, 30),
        ha="center",
        va="center",
        zorder=5,
    )
    badge = figure.text(
        1 - 2 / width,
        1 - 0.8 / height,
        "SYNTHETIC DATA",
        fontsize=5.5,
        fontweight="bold",
        color="white",
        ha="right",
        va="top",
        bbox={"boxstyle": "round,pad=0.3", "facecolor": WARN, "edgecolor": "none"},
    )
    for text in (across, badge):
        text.set_in_layout(False)


class Palette:
    """Labels and colours of populations, those of `populations.tsv` first.

    Parameters
    ----------
    table
        Columns `code, label, colour`; its order is the order of drawing.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._label = dict(zip(table["code"], table["label"], strict=True))
        self._colour = dict(zip(table["code"], table["colour"], strict=True))
        self._order = {code: i for i, code in enumerate(table["code"])}

    def among(self, codes: Iterable[str]) -> Palette:
        """Return the palette of a set of populations, in which each has a colour of its own.

        Those of the table keep theirs. The others take, by name, the colours of the cycle that nobody in the set has,
        and after these lighter and darker shades.
        """
        codes = set(codes)
        made = copy(self)
        made._colour = dict(self._colour)
        taken = [self._colour[code] for code in codes if code in self._colour]
        free = [c for c in map(cycle, range(SHADES * len(CYCLE))) if all(_apart(c, other) for other in taken)]
        unknown = sorted(codes - set(self._colour))
        made._colour |= {code: free[i % len(free)] for i, code in enumerate(unknown)}
        return made

    def label(self, code: str) -> str:
        """Return the name to print; a code that is not in the table stands for itself."""
        return self._label.get(code, code.replace("_", " "))

    def colour(self, code: str) -> str:
        """Return the colour as `#rrggbb`; a code that is neither in the table nor in the set (`among`) is grey."""
        return self._colour.get(code, MUTED)

    def order(self, codes: Iterable[str]) -> list[str]:
        """Sort codes as the table lists them, unknown ones last by name."""
        return sorted(set(codes), key=lambda c: (self._order.get(c, len(self._order)), c))

    def parse(self, text: str) -> Contrast:
        """Read a contrast, whose populations may have names that hold a minus."""
        return Contrast.parse(text, self._colour)

    def contrast(self, text: str) -> str:
        """Write a contrast for readers: `population: Korean - rest` becomes `Korean – all others`."""
        return self.parse(text).words(self._label, between=" – ")

    def speaking(self, table: pd.DataFrame, column: str) -> pd.DataFrame:
        """Return the contrasts against all others, which speak for the pairs, if one of them has a value; else all."""
        rest = table[split(table["contrast"], self.parse)["kind"] == "rest"]
        return rest if rest[column].notna().any() else table


def cycle(i: int) -> str:
    """Return the i-th colour; after the cycle come lighter and darker shades of it."""
    return shade(CYCLE[i % len(CYCLE)], (0, 0.45, -0.4)[i // len(CYCLE) % SHADES])


def _apart(colour: str, other: str) -> bool:
    """Tell whether two colours are told apart."""
    return float(np.linalg.norm(np.subtract(to_rgb(colour), to_rgb(other)))) > 0.15


def shade(colour: str, amount: float) -> str:
    """Mix a colour with white (amount > 0) or black (amount < 0); amount in [-1, 1]."""
    target = 1.0 if amount > 0 else 0.0
    red, green, blue = (c + (target - c) * abs(amount) for c in to_rgb(colour))
    return to_hex((red, green, blue))


def on(colour: Any) -> str:
    """Return the text colour, ink or white, that is the more readable on a background."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], channels))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.06 else INK


def wrap(text: str, width: int) -> str:
    """Break a long label into lines of at most `width` characters, behind spaces, hyphens, underscores and bars.

    A unit stays with its words: no line begins with the `%` of `, %`.
    """
    lines = [""]
    for piece in re.split(r"(?<=[ _|-])", text.replace(", %", ",\u00a0%")):
        while len(lines[-1]) + len(piece.rstrip(" ")) > width:
            if not lines[-1]:
                lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip(" ") for line in lines)


def row_height(names: Iterable[str], width: int, *, least: float, extra: float = 0.0) -> float:
    """Return the height of a row, mm, that leaves room for the longest of its wrapped names.

    Parameters
    ----------
    names
        The names.
    width
        Longest line of a name, characters.
    least
        Least height, mm.
    extra
        Room for what stands below the name, mm.
    """
    return max(least, max((2.9 * (wrap(name, width).count("\n") + 1) for name in names), default=0.0) + extra + 1.2)


def label_rows(axes: Axes, labels: list[tuple[str, str]], *, width: int) -> None:
    """Label the rows 0, 1, ... of an axis: a name in bold, and below it a muted line.

    Parameters
    ----------
    axes
        Where; the y axis points down.
    labels
        A name and a line for each row.
    width
        Longest line of a name, characters.
    """
    axes.set_yticks(range(len(labels)), [wrap(name, width) for name, _ in labels], va="bottom", fontweight="bold")
    axes.tick_params(axis="y", length=0, pad=5)
    for row, (_, line) in enumerate(labels):
        axes.annotate(
            line,
            (0, row),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-5, -1),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=5.6,
            color=MUTED,
            linespacing=1.2,
        )


def rows_to_read(axes: Axes) -> None:
    """Make an axis of rows that the eye follows across: no edge and no ticks at the left, a faint grid of values."""
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def name_columns(axes: Axes, name: str, first: float, last: float) -> None:
    """Write the name of a group of columns above them; `first` and `last` are their places."""
    axes.annotate(
        name,
        ((first + last) / 2, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontweight="bold",
        fontsize=7,
    )


def percent_axis(axes: Axes, *, which: str = "x") -> None:
    """Print shares (0-1) as percentages on an axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.5g}")


def odds_ticks(low: float, high: float) -> list[float]:
    """Choose at most seven readable ticks for odds ratios between two limits."""
    steps = (0.05, 0.1, 0.2, 0.25, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 10, 20)
    coarse = {0.05, 0.1, 0.25, 0.5, 0.67, 1, 1.5, 2, 4, 10, 20} if high / low < 12 else {0.1, 0.25, 0.5, 1, 2, 4, 10}
    ticks = [s for s in steps if low <= s <= high]
    return ticks if len(ticks) <= 7 else [t for t in ticks if t in coarse]


def odds_axis(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in the odds ratio, with readable ticks; `low` and `high` are odds ratios."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = odds_ticks(low, high)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.xaxis.minorticks_off()


def two_lines(contrast: str, width: int, most: int) -> str:
    """Break a contrast longer than `most` characters before its second side, its sides at `width` characters."""
    left, _, right = contrast.partition(" – ")
    if len(contrast) <= most or not right:
        return contrast
    return f"{wrap(left, width)}\n– {wrap(right, width - 2)}"


def legend_columns(labels: Iterable[str], width: float) -> int:
    """Return how many columns of these labels fit a legend across a page of `width` mm."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=1)
    # About 1.3 mm a character at the legend's size, and 9 mm for the handle and the gap.
    return max(1, min(6, int(width / (1.3 * longest + 9))))


def note(axes: Axes, text: str) -> Text:
    """Write a sentence in the middle of an empty panel."""
    axes.set_axis_off()
    return axes.text(0.5, 0.5, wrap(text, 70), transform=axes.transAxes, ha="center", va="center", color=MUTED)


def save(figure: Figure, table: pd.DataFrame, stem: Path) -> list[Path]:
    """Write a figure as PDF, SVG and 300-dpi PNG, with the table it was drawn from beside it.

    The files depend on the figure alone: no date, no random ids.

    Parameters
    ----------
    figure
        The figure.
    table
        Its source table, written as TSV.
    stem
        Path without suffix.

    Returns
    -------
    The four paths.
    """
    metadata: Mapping[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None},
        "svg": {"Date": None},
        "png": {"Software": None},
    }
    paths = [stem.with_suffix(f".{kind}") for kind in (*metadata, "tsv")]
    with mpl.rc_context(RC):
        # Laid out once, not once a format, and at the picture's resolution: hinting makes text wider at a lower one.
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for path, (kind, facts) in zip(paths, metadata.items(), strict=False):
            figure.savefig(path, format=kind, dpi=DPI, metadata=facts)
    write_tsv(table, paths[-1])
    return paths
