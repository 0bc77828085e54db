"""What the data can and cannot tell apart: the design, and the control samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aida_tools.core.words import counted
from aida_tools.figures.registry import Plate, figure
from aida_tools.figures.style import (
    BAND,
    CYCLE,
    DOUBLE,
    INK,
    MUTED,
    RULE,
    Palette,
    canvas,
    label_rows,
    legend_columns,
    name_columns,
    note,
    on,
    percent_axis,
    row_height,
    shade,
    styled,
    wrap,
)
from aida_tools.results.results import Results


def _short(batch: str, site: str) -> str:
    """Leave out of a batch's name what its site already says: KR_SGI_B007 -> B007."""
    return batch.rsplit("_", 1)[-1] if batch.startswith(f"{site}_") else batch


def _columns(table: pd.DataFrame, sites: list[str]) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Place the batches of a table side by side, sites apart: their (site, batch) and positions, shape (n,)."""
    keys, places, x = [], [], 0.0
    for site in sites:
        for batch in sorted(set(table.loc[table["site"] == site, "batch"])):
            keys.append((site, batch))
            places.append(x)
            x += 1
        x += 0.6
    return keys, np.array(places)


def _site_order(table: pd.DataFrame, palette: Palette) -> list[str]:
    """Order sites by the first of their populations."""
    order = {code: i for i, code in enumerate(palette.order(table["population"]))}
    first = table["population"].map(order).groupby(table["site"]).min()
    return first.sort_values(kind="stable").index.tolist()


#: Stands for a site that nobody recorded.
_NO_SITE = "no site"
#: Stands for a batch that nobody recorded.
_NO_BATCH = "no batch"
#: How the verdict on a population begins that shares batches with others.
_MIXED = "mixed with others"


def _text(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(site=table["site"].fillna(_NO_SITE), batch=table["batch"].fillna(_NO_BATCH))


@styled
def design_map(
    design: pd.DataFrame,
    palette: Palette,
    *,
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw which population was measured in which batch of which site, and what is therefore aliased.

    Parameters
    ----------
    design
        One row a population, site and batch: `population, site, batch, n_donors, aliased_with` (the last a sentence,
        or missing).
    palette
        Labels, colours and order of the populations.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Rows are populations, columns batches grouped by site, tiles numbers of donors (darker is more). The verdict at the
    right is `aliased with site X` where a population cannot be told from its site, `no shared batch` where it shares a
    site with others but no batch, `mixed` where it shares both.
    """
    table = _text(design)
    palette = palette.among(table["population"])
    codes = palette.order(table["population"])
    sites = _site_order(table, palette) if codes else []
    codes = sorted(codes, key=lambda c: min(sites.index(s) for s in table.loc[table["population"] == c, "site"]))
    pitch = row_height([palette.label(c) for c in codes], 24, least=7.0, extra=2.8)
    figure = canvas(width, pitch * max(len(codes), 2) + 24 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if table.empty:
        note(axes, "No sample entered the comparison.")
        return figure
    keys, places = _columns(table, sites)
    at = dict(zip(keys, places, strict=True))
    most = float(table["n_donors"].max())
    numbers = len(keys) <= width / 6.5
    for row, code in enumerate(codes):
        axes.axhline(row, color=RULE, linewidth=0.4, zorder=0)
        own = table[table["population"] == code]
        for record in own.to_dict("records"):
            colour = shade(palette.colour(code), 0.72 * (1 - record["n_donors"] / most))
            x = at[record["site"], record["batch"]]
            axes.bar(x, 0.8, width=0.88, bottom=row - 0.4, color=colour, linewidth=0, zorder=2, gid=f"tile-{code}")
            if numbers:
                axes.text(
                    x,
                    row,
                    f"{record['n_donors']:.0f}",
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color=on(colour),
                    zorder=3,
                )
    for site in sites:
        own_places = [at[k] for k in keys if k[0] == site]
        axes.axvspan(own_places[0] - 0.55, own_places[-1] + 0.55, color=BAND, linewidth=0, zorder=-1)
        name_columns(axes, site, own_places[0], own_places[-1])
    total = table.groupby("population")["n_donors"].sum()
    label_rows(axes, [(palette.label(code), counted(int(total[code]), "donor")) for code in codes], width=24)
    axes.set_ylim(len(codes) - 0.45, -0.55)
    axes.set_xlim(-0.7, places[-1] + 0.7)
    crowded = len(keys) > width / 3.2
    axes.set_xticks(places, ["" if crowded else _short(b, s) for s, b in keys], rotation=90, fontsize=5.5)
    axes.set_xlabel("batch" if not crowded else f"{len(keys)} batches, a column each")
    axes.tick_params(axis="x", length=0)
    axes.spines[:].set_visible(False)
    verdicts = axes.twinx()
    verdicts.set_ylim(axes.get_ylim())
    verdicts.set_yticks(range(len(codes)), [_verdict(table, c) for c in codes], fontsize=6.2)
    for label in verdicts.get_yticklabels():
        mixed = label.get_text().startswith(_MIXED)
        label.set(color=MUTED if mixed else INK, fontweight="normal" if mixed else "bold")
    verdicts.tick_params(length=0)
    verdicts.spines[:].set_visible(False)
    return figure


def _verdict(table: pd.DataFrame, code: str) -> str:
    own = table[table["population"] == code]
    sites = list(dict.fromkeys(own["site"]))
    if _NO_SITE in sites:
        return "site not\nrecorded"
    if own["aliased_with"].notna().any():
        return f"aliased with\nsite {' + '.join(sites)}"
    others = table[table["population"] != code]
    if not set(others["site"]) & set(sites):
        return f"alone\nin {' + '.join(sites)}"
    if _NO_BATCH in set(own["batch"]):
        return "batch not\nrecorded"
    if own[["site", "batch"]].merge(others[["site", "batch"]]).empty:
        return f"no shared batch\nin {' + '.join(sites)}"
    return f"{_MIXED}\nin {' + '.join(sites)}"


@figure(
    "design_map",
    section="measured",
    place=30,
    short="Donors by population, site and batch. A population that fills a site alone is aliased with it; one that "
    "shares no batch with others, with its batches.",
)
def design_plate(results: Results, palette: Palette) -> Plate | None:
    """Show which populations cannot be told from their site."""
    design = results.design
    if design["population"].nunique() < 2 or not design["site"].notna().any():
        return None
    aliased = [palette.label(code) for code in palette.order(design.dropna(subset=["aliased_with"])["population"])]
    said = f"cannot be told apart from their site: {', '.join(aliased)}" if aliased else "none is aliased with its site"
    return Plate(
        stem="design_map",
        title="Who was measured where",
        caption="Donors by population, site and batch (darker: more donors), for the samples the models used. A "
        "population that fills a site alone, and is measured nowhere else, is aliased with that site: no model can "
        "separate the two. One that shares a site with others, but no batch, cannot be told apart from its batches.",
        alt=f"Map of {design['population'].nunique()} populations, {counted(design['site'].nunique(), 'site')} and "
        f"{counted(len(design[['site', 'batch']].drop_duplicates()), 'batch', 'batches')}; {said}.",
        table=design,
        draw=lambda: design_map(design, palette, synthetic=results.synthetic),
    )


@styled
def controls(
    table: pd.DataFrame,
    *,
    title: str = "Share",
    width: float = DOUBLE,
    synthetic: bool = False,
) -> Figure:
    """Draw what the same control sample measures in every batch of every site.

    Parameters
    ----------
    table
        One row a control sample: `site, batch, donor_id, n, total, share, ci_low, ci_high` (shares 0-1).
    title
        What the share is of, for the axis.
    width
        Width in mm.
    synthetic
        Mark the figure.

    Returns
    -------
    Columns are batches grouped by site, points control samples with their interval (marker and colour: the control
    donor), horizontal lines the pooled share of a control donor at a site.
    """
    table = _text(table)
    figure = canvas(width, 62 + 4 * synthetic, synthetic=synthetic)
    axes = figure.subplots()
    if table.empty:
        note(axes, "This cohort has no control samples: nothing measures the difference between its sites.")
        return figure
    sites = sorted(set(table["site"]))
    keys, places = _columns(table, sites)
    at = dict(zip(keys, places, strict=True))
    donors = sorted(set(table["donor_id"]))
    looks = {d: ("osD^vPX"[i % 7], CYCLE[i % len(CYCLE)]) for i, d in enumerate(donors)}
    for i, site in enumerate(sites):
        own_places = [at[k] for k in keys if k[0] == site]
        if i % 2 == 0:
            axes.axvspan(own_places[0] - 0.8, own_places[-1] + 0.8, color=BAND, linewidth=0, zorder=0)
        name_columns(axes, site, own_places[0], own_places[-1])
        for donor, group in table[table["site"] == site].groupby("donor_id"):
            pooled = group["n"].sum() / group["total"].sum()
            axes.plot(
                [own_places[0] - 0.45, own_places[-1] + 0.45],
                [pooled, pooled],
                color=looks[donor][1],
                linewidth=1,
                alpha=0.7,
                zorder=2,
                gid="pooled",
            )
    for key in keys:
        site, batch = key
        group = table[(table["site"] == site) & (table["batch"] == batch)]
        ordered = group.sort_values("donor_id")
        for k, record in enumerate(ordered.to_dict("records")):
            x = at[key] + (k - (len(ordered) - 1) / 2) * min(0.28, 0.8 / len(ordered))
            marker, colour = looks[record["donor_id"]]
            axes.plot([x, x], [record["ci_low"], record["ci_high"]], color=colour, linewidth=0.8, alpha=0.75, zorder=3)
            axes.plot(
                x,
                record["share"],
                marker=marker,
                color=colour,
                markersize=3.6,
                markeredgecolor="white",
                markeredgewidth=0.4,
                linestyle="none",
                zorder=4,
                gid="control",
            )
    crowded = len(keys) > width / 2.8
    axes.set_xticks(places, ["" if crowded else _short(b, s) for s, b in keys], rotation=90, fontsize=5.5)
    axes.set_xlim(-0.9, places[-1] + 0.9)
    axes.set_xlabel("batch" if not crowded else f"{len(keys)} batches, a column each")
    axes.set_ylabel(wrap(f"{title}, %", 36))
    axes.set_ylim(bottom=0)
    percent_axis(axes, which="y")
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D(
            [],
            [],
            marker=m,
            color=c,
            linewidth=1,
            markersize=3.6,
            markeredgecolor="white",
            markeredgewidth=0.4,
            label=f"control {d}",
        )
        for d, (m, c) in looks.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=legend_columns([f"control {d}" for d in donors], width)
    )
    return figure


@figure(
    "controls",
    section="measured",
    place=40,
    short="The same control samples at every site and batch, with 95 % intervals; lines are a control donor's"
    " pooled share at a site.",
)
def controls_plate(results: Results, palette: Palette) -> Plate | None:
    """Show what the same samples measure at every site."""
    table, words = results.focus_controls(), results.share_words
    if table.empty:
        return None
    pooled = table.groupby("site")[["n", "total"]].sum()
    seen = "; ".join(f"{site} {100 * share:.2f} %" for site, share in (pooled["n"] / pooled["total"]).items())
    return Plate(
        stem="controls",
        title="The same controls at every site",
        caption=f"{words} of the control samples by site and batch, with 95 % intervals. Horizontal lines: one control "
        "donor's pooled share at a site. A control should measure the same at every site.",
        alt=f"Dot plot of {counted(len(table), 'control sample')} of {counted(table['donor_id'].nunique(), 'donor')}. "
        f"Pooled share by site: {seen}.",
        table=table,
        draw=lambda: controls(table, title=words, synthetic=results.synthetic),
    )
