"""Draw every figure that a comparison's tables allow, and write them with their captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aida_tools.config import load_populations
from aida_tools.figures.contrasts import forest, forest_table
from aida_tools.figures.design import controls, design_map
from aida_tools.figures.heatmap import shifts, shifts_table
from aida_tools.figures.results import Results, load_results, of_what
from aida_tools.figures.shares import composition, share_by_population, share_by_sample, summarise
from aida_tools.figures.style import Palette, rows, save
from aida_tools.files import staged, write_json

#: Above this many samples they are shown by population only.
MANY_SAMPLES = 40


@dataclass(frozen=True)
class Plate:
    """One figure with all that belongs to it.

    Attributes
    ----------
    number
        Its fixed number, the same in every run.
    stem
        Name of its files.
    title
        A heading of a few words.
    caption
        What is drawn, complete enough for a manuscript.
    alt
        What is to be seen, in words and numbers, for those who cannot see it.
    table
        The source table.
    draw
        Makes the figure.
    """

    number: int
    stem: str
    title: str
    caption: str
    alt: str
    table: pd.DataFrame
    draw: Callable[[], Figure]


def standardised_shares(results: Results) -> pd.DataFrame | None:
    """Take the age- and sex-standardised shares of the focus type out of the primary model's one-vs-rest contrasts.

    Returns
    -------
    Columns `population, share, ci_low, ci_high` (0-1), or None where the model gives none.
    """
    estimates = results.focus_estimates()
    pattern = r"population: (?P<population>.*) - rest"
    chosen = estimates[
        (estimates["model"] == results.primary.get("model")) & estimates["contrast"].str.fullmatch(pattern)
    ]
    if not chosen["share_a"].notna().any():
        return None
    codes = chosen["contrast"].str.extract(pattern)["population"]
    return pd.DataFrame({"population": codes, "share": chosen["share_a"], "ci_low": np.nan, "ci_high": np.nan})


def _share_plate(results: Results, palette: Palette) -> Plate:
    shares, words = results.focus_shares(), results.share_words
    if not results.estimated and len(shares) <= MANY_SAMPLES:
        seen = "; ".join(f"{e.sample_id} {100 * e.share:.2f} %" for e in rows(shares))
        return Plate(
            number=1,
            stem="share_by_sample",
            title=f"{words}, sample by sample",
            caption=f"{words} in each sample, with the 95 % Wilson interval that its number of cells leaves. The "
            f"interval "
            "says how well a sample was measured, not how donors differ: no comparison was made.",
            alt=f"Dot plot. {words}: {seen}.",
            table=shares,
            draw=lambda: share_by_sample(shares, palette, title=words, synthetic=results.synthetic),
        )
    seen = "; ".join(
        f"{e.label} {100 * e.median:.2f} % ({e.n_donors} donors, {e.n_batches} batches)"
        for e in rows(summarise(shares, palette))
    )
    standardised = standardised_shares(results)
    caption = (
        f"{words} by population. Each point is a sample; batches lie side by side in lanes of alternating shade. "
        "Line: median; grey box: its distribution-free 95 % interval (none below 6 samples). Rows are grouped by the "
        "site of measurement."
    )
    table = shares
    if standardised is not None:
        caption += f" Right: the share standardised to the cohort's age and sex ({results.primary['model']})."
        table = shares.merge(
            standardised[["population", "share"]].rename(columns={"share": "standardised_share"}),
            on="population",
            how="left",
        )
    return Plate(
        number=1,
        stem="share_by_population",
        title=f"{words} by population",
        caption=caption,
        alt=f"Dot plot of {len(shares)} samples. Median {words}: {seen}.",
        table=table,
        draw=lambda: share_by_population(
            shares, palette, title=words, standardised=standardised, synthetic=results.synthetic
        ),
    )


def _forest_plate(results: Results, palette: Palette) -> Plate:
    estimates, model = results.focus_estimates(), results.primary["model"]
    table = forest_table(estimates, model=model)
    primary = table[table["model"] == model]
    seen = "; ".join(
        f"{palette.contrast(e.contrast)} {e.ratio:.2f} ({e.low:.2f} to {e.high:.2f}), {e.panel}" for e in rows(primary)
    )
    models = set(estimates["model"])
    units = "log10-ols gives ratios of shares, drawn hollow. " if "log10-ols" in models else ""
    units += "propeller-asin has another unit and is in the table only. " if "propeller-asin" in models else ""
    return Plate(
        number=2,
        stem="forest",
        title="Contrasts between populations",
        caption=f"Odds ratios of the {results.share_words} with 95 % intervals, by model; the numbers at the right "
        f"are those "
        f"of the primary model ({model}). {units}Contrasts between sites describe population and site together.",
        alt=f"Forest plot of {primary['contrast'].nunique()} contrasts. Odds ratios with 95 % intervals: {seen}.",
        table=table,
        draw=lambda: forest(estimates, palette, model=model, synthetic=results.synthetic),
    )


def _shifts_plate(results: Results, palette: Palette) -> Plate | None:
    estimates, model = results.estimates, results.primary["model"]
    estimates = estimates[(estimates["model"] == model) & (estimates["annotator"] == results.primary["annotator"])]
    # The denominator that most types are compared in: `all` in most cohorts.
    sizes = estimates[estimates["contrast"].str.endswith(" - rest")].groupby("denominator")["cell_type"].nunique()
    if sizes.empty:
        return None
    denominator = "all" if "all" in sizes else str(sizes.idxmax())
    chosen = estimates[estimates["denominator"] == denominator]
    table, focus = shifts_table(chosen, palette), results.primary["focus"]
    types = table["cell_type"].nunique()
    rank = table.loc[table["cell_type"] == focus, "rank"]
    place = f" {focus} is number {rank.iloc[0]} of {types}." if len(rank) else ""
    strong = int((table["q_value"] < 0.05).sum())
    return Plate(
        number=3,
        stem="shifts",
        title="Shifts of all cell types",
        caption=f"Every cell type's share of {of_what(denominator)} in each population against all others: odds ratio "
        f"({model}), cell types ordered by their largest absolute test statistic.{place} Dots: adjusted "
        f"p-value q (Holm for {focus}, Benjamini-Hochberg for the others); cross: not estimated. A population "
        "measured at one site only carries that site's effect.",
        alt=f"Heat map of {types} cell types in {table['population'].nunique()} populations; {strong} of {len(table)} "
        f"shifts have q below 0.05.{place}",
        table=table,
        draw=lambda: shifts(chosen, palette, focus=focus, synthetic=results.synthetic),
    )


def _design_plate(results: Results, palette: Palette) -> Plate:
    design = results.design
    aliased = [palette.label(code) for code in palette.order(design.dropna(subset=["aliased_with"])["population"])]
    said = f"cannot be told apart from their site: {', '.join(aliased)}" if aliased else "none is aliased with its site"
    return Plate(
        number=4,
        stem="design_map",
        title="Who was measured where",
        caption="Donors by population, site and batch (darker: more donors), for the samples the models used. A "
        "population "
        "that fills a site alone, and is measured nowhere else, is aliased with that site: no model can separate the "
        "two.",
        alt=f"Map of {design['population'].nunique()} populations, {design['site'].nunique()} sites and "
        f"{len(design[['site', 'batch']].drop_duplicates())} batches; {said}.",
        table=design,
        draw=lambda: design_map(design, palette, synthetic=results.synthetic),
    )


def _controls_plate(results: Results) -> Plate:
    table, words = results.focus_controls(), results.share_words
    pooled = table.groupby("site")[["n", "total"]].sum()
    seen = "; ".join(f"{site} {100 * share:.2f} %" for site, share in (pooled["n"] / pooled["total"]).items())
    return Plate(
        number=5,
        stem="controls",
        title="The same controls at every site",
        caption=f"{words} of the control samples by site and batch, with 95 % intervals. Horizontal lines: one control "
        "donor's pooled share at a site. The same control should measure the same everywhere.",
        alt=f"Dot plot of {len(table)} control samples of {table['donor_id'].nunique()} donors. Pooled share by "
        f"site: {seen}.",
        table=table,
        draw=lambda: controls(table, title=words, synthetic=results.synthetic),
    )


def _composition_plate(results: Results, palette: Palette) -> Plate:
    shares, focus = results.shown(results.shares), results.primary["focus"]
    shares = shares[shares["annotator"] == results.primary["annotator"]]
    denominator = "all" if "all" in set(shares["denominator"]) else results.primary["denominator"]
    shares = shares[shares["denominator"] == denominator]
    mean = shares.groupby("cell_type")["share"].mean().sort_values(ascending=False)
    seen = "; ".join(f"{name} {100 * value:.1f} %" for name, value in mean.head(6).items())
    return Plate(
        number=10,
        stem="composition",
        title="The whole composition",
        caption=f"Mean composition of {of_what(denominator)} by population, and every sample as a column (ordered by "
        f"the "
        f"most frequent type). {focus} is at the base; rarer types are united.",
        alt=f"Stacked bars of {mean.size} cell types in {shares['sample_id'].nunique()} samples. Mean shares: {seen}.",
        table=shares[["sample_id", "population", "site", "batch", "cell_type", "n", "total", "share"]],
        draw=lambda: composition(shares, palette, focus=focus, synthetic=results.synthetic),
    )


def plates(results: Results, palette: Palette) -> Iterator[Plate]:
    """Yield the figures that a comparison's tables allow, in order of their numbers."""
    yield _share_plate(results, palette)
    if results.estimated and "model" in results.primary:
        yield _forest_plate(results, palette)
        if (plate := _shifts_plate(results, palette)) is not None:
            yield plate
    if results.design["population"].nunique() > 1:
        yield _design_plate(results, palette)
    if len(results.focus_controls()):
        yield _controls_plate(results)
    if results.shares["cell_type"].nunique() > 1:
        yield _composition_plate(results, palette)


def draw_figures(compare: Path, populations: Path, out: Path) -> list[Plate]:
    """Draw the figures of a comparison.

    Parameters
    ----------
    compare
        Folder that `aida-tools compare` wrote.
    populations
        `populations.tsv`.
    out
        Folder for `NAME.pdf`, `.svg`, `.png` (300 dpi) and `.tsv` of each figure, and `figures.json`, which lists them
        with their captions.

    Raises
    ------
    AidaError
        If a table is missing or is not what `compare` writes.
    """
    results = load_results(compare)
    palette = Palette(load_populations(populations))
    inputs = [*sorted(Path(compare).glob("*.tsv")), Path(compare) / "compare.json", Path(populations)]
    drawn = list(plates(results, palette))
    with staged(Path(out), step="figures", inputs=inputs) as folder:
        for plate in drawn:
            save(plate.draw(), plate.table, folder / plate.stem)
        listed = [{key: getattr(p, key) for key in ("number", "stem", "title", "caption", "alt")} for p in drawn]
        codes = palette.order(results.shares["population"].dropna())
        write_json(folder / "figures.json", {"figures": listed, "populations": {c: palette.label(c) for c in codes}})
    return drawn
