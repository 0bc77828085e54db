"""Which figures a comparison's tables allow, each with its caption and what is to be seen in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from aida_tools.compare.results import Results, of_what
from aida_tools.figures.agreement import errors_table, label_errors
from aida_tools.figures.annotation import annotation, depth_table
from aida_tools.figures.atlas import EXPRESSION, atlas
from aida_tools.figures.claimed import claims_forest
from aida_tools.figures.contrasts import ODDS_MODELS, RATIO_MODELS, forest, forest_table, site_band
from aida_tools.figures.covariates import age_and_sex
from aida_tools.figures.depth_matched import depth_matched, matched_table
from aida_tools.figures.design import controls, design_map
from aida_tools.figures.heatmap import shifts, shifts_table
from aida_tools.figures.label_scores import label_curves, scores_table
from aida_tools.figures.planning import power_curves
from aida_tools.figures.robustness import (
    leave_one_out,
    permutation_null,
    recalibrated,
    specification_curve,
    tipping_points,
)
from aida_tools.figures.shares import composition, share_by_population, share_by_sample, summarise
from aida_tools.figures.style import Palette, rows

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
    table = results.focus_standardised()
    pattern = r"population: (?P<population>.*) - rest"
    chosen = table[(table["model"] == results.primary.get("model")) & table["contrast"].str.fullmatch(pattern)]
    if not chosen["share_a"].notna().any():
        return None
    codes = chosen["contrast"].str.extract(pattern)["population"]
    sides = {"share": "share_a", "ci_low": "share_a_low", "ci_high": "share_a_high"}
    return chosen.assign(population=codes).rename(columns={v: k for k, v in sides.items()})[["population", *sides]]


def _share_plate(results: Results, palette: Palette) -> Plate:
    shares, words = results.focus_shares(), results.share_words
    if not results.estimated and len(shares) <= MANY_SAMPLES:
        seen = "; ".join(f"{e.sample_id} {100 * e.share:.2f} %" for e in rows(shares))
        return Plate(
            number=1,
            stem="share_by_sample",
            title=f"{words}, sample by sample",
            caption=f"{words} in each sample, with the 95 % Wilson interval that its number of cells leaves. The "
            "interval says how well a sample was measured, not how donors differ: no comparison was made.",
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
        caption += (
            f" Right: the share standardised to the cohort's age and sex ({results.primary['model']}), with its 95 % "
            "interval."
        )
        names = {"share": "standardised_share", "ci_low": "standardised_low", "ci_high": "standardised_high"}
        table = shares.merge(standardised.rename(columns=names), on="population", how="left")
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
    band, sd = None, np.nan
    if (bound := results.extra.get("site_bound")) is not None and len(bound):
        band, sd = site_band(bound)
    said = (
        f" Yellow: odds ratios that sites alone would give in 95 % of cases if they differed with SD {sd:.2f} (log "
        "odds), the larger of what batches of one site (upper limit) and the controls between sites were measured to "
        "differ by."
        if band is not None and len(band)
        else ""
    )
    units = "log10-ols gives ratios of shares, drawn hollow. " if "log10-ols" in models else ""
    if other := sorted(models - set(ODDS_MODELS) - set(RATIO_MODELS)):
        units += f"{' and '.join(other)} have other units and are not drawn. "
    return Plate(
        number=2,
        stem="forest",
        title="Contrasts between populations",
        caption=f"Odds ratios of the {results.share_words} with 95 % intervals, by model; the numbers at the right "
        f"are those of the primary model ({model}). {units}Contrasts between sites describe population and site "
        f"together.{said}",
        alt=f"Forest plot of {primary['contrast'].nunique()} contrasts. Odds ratios with 95 % intervals: {seen}.",
        table=table,
        draw=lambda: forest(estimates, palette, model=model, site_bound=band, synthetic=results.synthetic),
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
        "population that fills a site alone, and is measured nowhere else, is aliased with that site: no model can "
        "separate the two.",
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
        f"the most frequent type). {focus} is at the base; rarer types are united.",
        alt=f"Stacked bars of {mean.size} cell types in {shares['sample_id'].nunique()} samples. Mean shares: {seen}.",
        table=shares[["sample_id", "population", "site", "batch", "cell_type", "n", "total", "share"]],
        draw=lambda: composition(shares, palette, focus=focus, synthetic=results.synthetic),
    )


def _about(results: Results, table: pd.DataFrame) -> str:
    """Return the contrast of a table that a figure of one contrast shows: the headline's, else the table's first."""
    first = results.headline()
    known = table["contrast"].tolist()
    return first["contrast"] if first is not None and first["contrast"] in known else str(known[0])


def _specification_plate(results: Results, palette: Palette) -> Plate | None:
    table = results.extra.get("specification")
    if table is None or not table["log_odds_ratio"].notna().any():
        return None
    contrast = _about(results, table.dropna(subset=["log_odds_ratio"]))
    own = table[table["contrast"] == contrast]
    summary = results.extra.get("specification_summary", pd.DataFrame(columns=["contrast", "sentence"]))
    said = summary.loc[summary["contrast"] == contrast, "sentence"].dropna()
    ratios = np.exp(own["log_odds_ratio"].dropna())
    known = int(own["estimate"].notna().sum()) if "estimate" in own else len(ratios)
    of = "" if known == len(ratios) else f" {len(ratios)} of the {known} with an estimate have one on this scale."
    return Plate(
        number=6,
        stem="specification_curve",
        title=f"Every reasonable analysis: {palette.contrast(contrast)}",
        caption="The same contrast under every combination of denominator, annotator, model, covariates, donor "
        "filter and rule for unresolved cells, on one scale (odds ratios of standardised shares). Red: the one "
        f"reported. Below: what each specification chose.{of}{f' {said.iloc[0]}' if len(said) else ''}",
        alt=f"{len(ratios)} specifications; odds ratios from {ratios.min():.2f} to {ratios.max():.2f}, median "
        f"{ratios.median():.2f}.",
        table=own,
        draw=lambda: specification_curve(own, synthetic=results.synthetic),
    )


def _age_plate(results: Results, palette: Palette) -> Plate | None:
    shares, words = results.focus_shares(), results.share_words
    if shares["age"].nunique() < 3:
        return None
    estimates = results.focus_estimates()
    estimates = estimates[(estimates["model"] == results.primary.get("model")) & estimates["estimate"].notna()]
    age = next((row for _, row in estimates[estimates["contrast"] == "age"].iterrows()), None)
    sex = next((row for _, row in estimates[estimates["contrast"].str.startswith("sex: ")].iterrows()), None)
    said = ""
    if age is not None:
        ratio, low, high = (float(np.exp(10 * age[c])) for c in ("estimate", "ci_low", "ci_high"))
        said = f" Odds ratio for ten years of age: {ratio:.2f} ({low:.2f} to {high:.2f})."
    if sex is not None:
        ratio, low, high = (float(np.exp(sex[c])) for c in ("estimate", "ci_low", "ci_high"))
        said += f" {sex['contrast'].removeprefix('sex: ').capitalize()}: {ratio:.2f} ({low:.2f} to {high:.2f})."
    return Plate(
        number=8,
        stem="age_and_sex",
        title="Age and sex",
        caption=f"{words} against age, by sex; a point a sample, coloured by population. Curve: the primary model's "
        "slope, through the standardised share at the mean age; band: the slope's 95 % interval (the level's "
        f"uncertainty is not in it).{said}",
        alt=f"Scatter plot of {len(shares)} samples aged {shares['age'].min():.0f} to {shares['age'].max():.0f}.{said}",
        table=shares,
        draw=lambda: age_and_sex(shares, palette, age=age, sex=sex, title=words, synthetic=results.synthetic),
    )


def _tipping_plate(results: Results, palette: Palette) -> Plate | None:
    bound, grid = results.extra.get("site_bound"), results.extra.get("misclassification_grid")
    shown = bound.dropna(subset=["site_sd_bound"]) if bound is not None else pd.DataFrame()
    # One-vs-rest contrasts speak for the pairs, as in the forest plot.
    rest = shown[shown["contrast"].str.endswith(" - rest")] if len(shown) else shown
    shown = rest if len(rest) else shown
    drawn = grid.dropna(subset=["estimate"]) if grid is not None else pd.DataFrame()
    if shown.empty and drawn.empty:
        return None
    contrast, own = "", None
    if grid is not None and len(drawn):
        contrast = _about(results, drawn)
        own = grid[grid["contrast"] == contrast]
    seen = "; ".join(f"{palette.contrast(e.contrast)} {e.site_sd_bound:.2f}" for e in rows(shown))
    caption = []
    if len(shown):
        caption.append(
            "Site effect (standard deviation between sites, log-odds scale) that would be enough for each between-site "
            "interval to include no difference; open: it does so without any. Bands: what batches of one site, and the "
            "controls between sites, were measured to differ by (95 % intervals)."
        )
    if own is not None:
        caption.append(
            "Odds ratio after correction for labelling that differs between the two sides in sensitivity and "
            "specificity. Solid line: no difference left; dashed: the interval just includes it; diamond: as "
            "reported; grey: impossible."
        )
    return Plate(
        number=9,
        stem="tipping_points",
        title="How much bias would be enough",
        caption=" ".join(caption),
        alt=f"Tipping points. Site effect that suffices (SD): {seen or 'not available'}."
        + (f" Contour plot of the corrected odds ratio of {palette.contrast(contrast)}." if own is not None else ""),
        table=shown if len(shown) else own if own is not None else drawn,
        draw=lambda: tipping_points(
            shown if len(shown) else None, own, palette, contrast=contrast, synthetic=results.synthetic
        ),
    )


def _permutation_plate(results: Results, palette: Palette) -> Plate | None:
    tests, null = results.extra.get("permutation"), results.extra.get("permutation_null")
    if tests is None or null is None or null.empty:
        return None
    contrast = _about(results, null)
    own, drawn = tests[tests["contrast"] == contrast], null[null["contrast"] == contrast]
    own = own[own["p_value"].notna()]
    seen = "; ".join(f"{e.test}: p = {e.p_value:.2g}" for e in rows(own))
    scheme = own["scheme"].iloc[0] if len(own) else "samples"
    return Plate(
        number=11,
        stem="permutation_null",
        title=f"The test on shuffled data: {palette.contrast(contrast)}",
        caption=f"The statistic of the contrast (red) among its values with {scheme} permuted. If the test were "
        "honest, 5 % of the permuted values would lie beyond the dashed lines; more means that it finds differences "
        "where there are none.",
        alt=f"Histograms of permuted statistics. {seen}.",
        table=drawn,
        draw=lambda: permutation_null(drawn, own, synthetic=results.synthetic),
    )


def _power_plate(results: Results) -> Plate | None:
    table = results.extra.get("power_curves")
    if table is None or table.empty:
        return None
    plans = list(dict.fromkeys(table["plan"]))
    return Plate(
        number=12,
        stem="power_curves",
        title="What such a study can find",
        caption="Power at 0.05 against the true odds ratio, from this cohort's own spread between donors and "
        "batches: within a site, and between sites whose effects differ with the given standard deviation (log-odds "
        "scale). Dotted: 80 %.",
        alt=f"Power curves of {len(plans)} plans: {'; '.join(plans[:4])}.",
        table=table,
        draw=lambda: power_curves(table, synthetic=results.synthetic),
    )


def _recalibrated_plate(results: Results, palette: Palette) -> Plate | None:
    table = results.extra.get("recalibrated")
    if table is None or not table["recalibrated"].notna().any():
        return None
    rest = table[table["contrast"].str.endswith(" - rest")]
    table = rest if rest["recalibrated"].notna().any() else table
    known = table.dropna(subset=["recalibrated"])
    seen = "; ".join(
        f"{palette.contrast(e.contrast)} {np.exp(e.estimate):.2f} becomes {np.exp(e.recalibrated):.2f} "
        f"({np.exp(e.recalibrated_ci_low):.2f} to {np.exp(e.recalibrated_ci_high):.2f})"
        for e in rows(known)
    )
    return Plate(
        number=13,
        stem="recalibrated",
        title="Recalibrated by the controls",
        caption="Between-site odds ratios with 95 % intervals as reported, and after subtracting what the same "
        "controls differ by between the same sites, with the uncertainty of both. A wide interval is the answer, not "
        "a failure.",
        alt=f"Paired dot plot. {seen}.",
        table=table,
        draw=lambda: recalibrated(table, palette, synthetic=results.synthetic),
    )


def _leave_out_plate(results: Results, palette: Palette) -> Plate | None:
    table = results.extra.get("leave_one_out")
    if table is None or not table["estimate"].notna().any():
        return None
    rest = table[table["contrast"].str.endswith(" - rest")]
    table = rest if rest["estimate"].notna().any() else table
    known = table[table["estimate"].notna() & (table["unit"] != "none")]
    units = known.groupby("unit")["left_out"].nunique()
    seen = " and ".join(f"{n} {unit}{'es' if unit == 'batch' else 's'}" for unit, n in units.items())
    largest = next(
        iter(known.sort_values("change", key=lambda s: -s.abs()).dropna(subset="change").to_dict("records")), None
    )
    most = (
        f" The largest change is that of {palette.contrast(largest['contrast'])} without {largest['left_out']}: odds "
        f"ratio {np.exp(largest['estimate']):.2f}."
        if largest is not None
        else ""
    )
    return Plate(
        number=14,
        stem="leave_one_out",
        title="Without one batch, without one site",
        caption="Odds ratios with 95 % intervals from all samples, and the odds ratios when one batch, or one site, "
        "is left out.",
        alt=f"Dot plot of estimates with {seen} left out, one at a time.{most}",
        table=table,
        draw=lambda: leave_one_out(table, palette, synthetic=results.synthetic),
    )


def _annotation_plate(results: Results) -> Plate | None:
    agreement, focus = results.extra.get("confusion"), results.primary["focus"]
    if agreement is None or agreement.empty:
        return None
    names = ("one annotator", "another")
    said = ""
    if {"annotator_a", "annotator_b"} <= set(agreement.columns):
        # The table may hold several pairs of annotators; the first is the primary one's.
        names = (str(agreement["annotator_a"].iloc[0]), str(agreement["annotator_b"].iloc[0]))
        same = (agreement["annotator_a"] == names[0]) & (agreement["annotator_b"] == names[1])
        agreement = agreement.loc[same]
    ours = agreement[agreement["cell_type_a"] == focus]
    both = ours.loc[ours["cell_type_b"] == focus, "n_cells"].sum()
    if ours["n_cells"].sum():
        said = f" {names[1]} confirms {100 * both / ours['n_cells'].sum():.0f} % of the {focus} cells of {names[0]}."
    measured, depth = results.extra.get("agreement"), None
    if measured is not None and "stratum" in measured:
        depth = depth_table(measured, annotators=names, within=results.primary["denominator"])
    with_depth = depth is not None and len(depth) > 0
    by_depth = (
        f", and how many of the {focus} cells of {names[0]} {names[1]} finds by site and depth of sequencing, with "
        "95 % intervals (none below 10 cells)"
        if with_depth
        else ""
    )
    return Plate(
        number=7,
        stem="annotation",
        title="How sure the labels are",
        caption=f"Labels of {names[0]} beside those of {names[1]}: agreement in per cent of each row{by_depth}.{said}",
        alt=f"Heat map and dot plot of agreement between annotators.{said}",
        table=agreement,
        draw=lambda: annotation(
            agreement=agreement, by_depth=depth, focus=focus, annotators=names, synthetic=results.synthetic
        ),
    )


def _atlas_plate(results: Results) -> Plate | None:
    sketch = results.extra.get("sketch")
    if sketch is None or sketch.empty:
        return None
    focus = results.primary["focus"]
    genes = [str(c).removeprefix(EXPRESSION) for c in sketch if str(c).startswith(EXPRESSION)]
    place = "site" if sketch["site"].nunique() > 1 else "batch" if sketch["batch"].nunique() > 1 else ""
    by_place = f", by {place}" if place else ""
    by_gene = (
        f", and by expression of {len(genes)} genes (log1p counts per 10,000; darkest: the 99th percentile)"
        if genes
        else ""
    )
    shown = f"; expression of {', '.join(genes)}" if genes else ""
    about = results.extra.get("sketch_about", pd.DataFrame({"key": [], "value": []}))
    how = dict(zip(about["key"], about["value"].astype(str), strict=True))
    source = f" of the {int(how['n_cells_of_cohort']):,} cells" if "n_cells_of_cohort" in how else " cells of a sketch"
    by_whom = f" as labelled by {how['annotator']}" if "annotator" in how else ""
    batches = {"True": ", after correction for batches by Harmony", "False": ", not corrected for batches"}
    common = ", ".join(str(n) for n in sketch["cell_type"].value_counts().index[:5])
    everyone = len(sketch) == int(how.get("n_cells_of_cohort", -1))
    uneven = (
        ""
        if everyone
        else " A sketch is not proportional: rare and unusual cells were drawn more often, so numbers of points are no "
        "shares."
    )
    return Plate(
        number=19,
        stem="atlas",
        title="The cells",
        caption=f"{len(sketch):,}{source}, placed by UMAP{batches.get(how.get('harmony', ''), '')}: by cell type"
        f"{by_whom} with {focus} in red{by_place}{by_gene}.{uneven} "
        "Distances, sizes and gaps in a UMAP are no evidence.",
        alt=f"Scatter plots of {len(sketch):,} cells of {sketch['cell_type'].nunique()} types, the most common in the "
        f"sketch being {common}{shown}.",
        table=sketch,
        draw=lambda: atlas(sketch, focus=focus, synthetic=results.synthetic),
    )


def _label_errors_plate(results: Results) -> Plate | None:
    table = results.extra.get("agreement")
    if table is None or table.empty:
        return None
    focus = results.primary["focus"]
    open_ = results.extra.get("unresolved")
    drawn = errors_table(table, within=results.primary["denominator"], unresolved=open_)
    within = of_what(str(drawn["within"].iloc[0])) if len(drawn) else "all cells"
    place = "batch" if "batch" in set(drawn["stratum"]) else "site"
    together = drawn[(drawn["stratum"] == "all") & drawn["measure"].isin(["sensitivity", "specificity"])]
    unresolved = (
        " Unresolved: cells without a definite label, of all cells." if "unresolved" in set(drawn["measure"]) else ""
    )
    truth = str(together["annotator_a"].iloc[0]) if len(together) else ""
    seen = "; ".join(
        f"{e.annotator} has a {e.measure} of {100 * e.estimate:.1f} % ({100 * e.low:.1f} to {100 * e.high:.1f})"
        for e in rows(together)
    )
    errors = (
        f" Sensitivity and specificity take {truth} for the truth, without the cells it leaves unresolved: shares of "
        "what is or is not the focus type by the truth."
        if truth
        else ""
    )
    return Plate(
        number=16,
        stem="label_errors",
        title="Who finds how many, and how often wrongly",
        caption=f"{focus} share of {within} by each annotator, by {place} and by depth of sequencing (1: the "
        "shallowest tenth), with 95 % intervals between donors (dashed, where there is none: from cells alone). "
        f"Dotted: all cells together.{errors}{unresolved}",
        alt=f"Dot plots by {place} and depth. {seen or 'There is one annotator'}.",
        table=drawn,
        draw=lambda: label_errors(drawn, focus=focus, synthetic=results.synthetic),
    )


def _label_curves_plate(results: Results) -> Plate | None:
    measured = results.extra.get("agreement")
    if measured is None:
        return None
    focus, within = results.primary["focus"], results.primary["denominator"]
    tables = [results.extra.get(name) for name in ("curves", "calibration")]
    table = scores_table(tables[0], tables[1], measured, within=within)
    if table.empty:
        return None
    areas, ratios = (table[table["point"] == point].dropna(subset="y") for point in ("area", "ratio"))
    seen = [f"{e.annotator} has an average precision of {e.y:.2f}" for e in rows(areas)]
    seen += [
        f"{e.annotator} promises {e.y:.2f} times the {focus} cells there are ({e.low:.2f} to {e.high:.2f})"
        for e in rows(ratios[ratios["stratum"] == "all"])
    ]
    truth = next(str(t["annotator_a"].iloc[0]) for t in tables if t is not None and len(t))
    caption = f"Each annotator's scores held against the labels of {truth}"
    if len(areas):
        caption += (
            f". Precision and recall where the cells with at least a score are called {focus}; circles: the "
            "annotator's own labels; the area is the average precision, with its 95 % interval between donors"
        )
    if (table["panel"] == "calibration").any():
        caption += (
            f". Calibration: share of {focus} among cells of equal probability, thick in all cells with 95 % "
            "intervals between donors, thin at each site; dotted: probabilities that hold. Right: the number of cells "
            "that the probabilities (or the soft counts, if there are any) add up to, divided by the number that "
            f"{truth} finds: the factor that soft counts are off by"
        )
    return Plate(
        number=17,
        stem="label_curves",
        title="What scores and probabilities are worth",
        caption=f"{caption}.",
        alt=f"Curves and dot plots. {'; '.join(seen) or 'Nothing could be measured'}.",
        table=table,
        draw=lambda: label_curves(table, focus=focus, annotators=_annotators(measured), synthetic=results.synthetic),
    )


def _annotators(agreement: pd.DataFrame) -> list[str]:
    """Return the annotators in the order that their colours go by."""
    return list(dict.fromkeys(agreement.loc[agreement["measure"] == "rate", "annotator_a"]))


def _depth_matched_plate(results: Results) -> Plate | None:
    thinned, measured = results.extra.get("thinned"), results.extra.get("agreement")
    if thinned is None or thinned.empty or measured is None:
        return None
    focus = results.primary["focus"]
    table = matched_table(thinned, measured, within=results.primary["denominator"])
    if table.empty:
        return None
    seen = "; ".join(
        f"{e.annotator} {100 * e.rate:.2f} % becomes {100 * e.rate_thinned:.2f} %"
        for e in rows(table[table["stratum"] == "all"])
    )
    within = of_what(str(table["within"].iloc[0]))
    unit = "batch" if (table["stratum"] == "batch").any() else "site"
    return Plate(
        number=18,
        stem="depth_matched",
        title="The same cells at matched depth",
        caption=f"{focus} share of {within} by {unit}, as measured and with all counts thinned to one depth, that of "
        "the shallowest site or batch, with 95 % intervals between donors (none of a single donor). Right: the change "
        "in percentage points; its interval compares every donor with itself. It is the work of depth, not of the "
        "donors.",
        alt=f"Paired dot plot. {focus} share of {within}, all cells: {seen}.",
        table=table,
        draw=lambda: depth_matched(table, focus=focus, annotators=_annotators(measured), synthetic=results.synthetic),
    )


def _claims_plate(results: Results, palette: Palette) -> Plate | None:
    contrasts, claims = results.extra.get("claim_contrasts"), results.extra.get("claims")
    if contrasts is None or claims is None or not contrasts["estimate"].notna().any():
        return None
    known = contrasts.dropna(subset=["estimate"])
    verdicts = claims["verdict"].value_counts()
    seen = "; ".join(f"{n} {verdict}" for verdict, n in verdicts.items())
    return Plate(
        number=15,
        stem="claims",
        title="The claims beside the estimates",
        caption="Every contrast that would have to show a published claim, with 95 % intervals, grouped by claim "
        "with its verdict. A contrast between sites describes population and site together.",
        alt=f"Forest plot of {len(known)} contrasts of {known['claim'].nunique()} claims. Verdicts: {seen}.",
        table=contrasts,
        draw=lambda: claims_forest(contrasts, claims, palette, synthetic=results.synthetic),
    )


def plates(results: Results, palette: Palette) -> list[Plate]:
    """Return the figures that a comparison's tables allow, in order of their numbers."""
    found: list[Plate | None] = [_share_plate(results, palette)]
    if results.estimated and "model" in results.primary:
        found += [_forest_plate(results, palette), _shifts_plate(results, palette), _age_plate(results, palette)]
    if results.design["population"].nunique() > 1 and results.design["site"].notna().any():
        found.append(_design_plate(results, palette))
    if len(results.focus_controls()):
        found.append(_controls_plate(results))
    if results.shares["cell_type"].nunique() > 1:
        found.append(_composition_plate(results, palette))
    found += [
        _specification_plate(results, palette),
        _annotation_plate(results),
        _atlas_plate(results),
        _label_errors_plate(results),
        _label_curves_plate(results),
        _depth_matched_plate(results),
        _claims_plate(results, palette),
        _tipping_plate(results, palette),
        _permutation_plate(results, palette),
        _power_plate(results),
        _recalibrated_plate(results, palette),
        _leave_out_plate(results, palette),
    ]
    return sorted((plate for plate in found if plate is not None), key=lambda plate: plate.number)
