"""The methods paragraph, with this run's numbers, versions and references filled in."""

from __future__ import annotations

from typing import Any

from aida_tools.core.words import counted, listed, units
from aida_tools.models.registry import MODELS
from aida_tools.results.page import SECTIONS, Labels
from aida_tools.results.results import Results, of_what
from aida_tools.results.words import covariates

#: The study whose comparison is rerun.
REFERENCE_STUDY = "Kock et al. (2025) Cell 188:2288-2306, doi:10.1016/j.cell.2025.02.017"


def methods_paragraphs(results: Results, labels: Labels, packages: dict[str, str]) -> list[str]:
    """Write the methods section of a manuscript.

    Parameters
    ----------
    results
        The tables and options.
    labels
        Population code -> name to print.
    packages
        Package -> version, from the provenance record.

    Returns
    -------
    Paragraphs of plain text.
    """
    o = results.options
    focus, denominators = results.primary["focus"], [of_what(d) for d in o.get("denominators", [o["denominator"]])]
    after, before = o.get("after", {}), o.get("before", {})
    design = results.design
    populations = [labels.get(p, p) for p in dict.fromkeys(design["population"].dropna())]
    sizes = listed(
        [
            f"{labels.get(str(p), str(p))} ({int(n)})"
            for p, n in design.groupby("population", sort=False)["n_donors"].sum().items()
        ]
    )
    cohort = o.get("cohort") or {}
    source = f"{cohort.get('title') or cohort.get('name') or 'the cohort'}"
    citation = f" [{cohort['citation']}]" if cohort.get("citation") else ""
    samples = (
        f"Cell type shares were taken from {source}{citation}. Of {counted(before.get('samples', 0), 'sample')} "
        f"({counted(before.get('donors', 0), 'donor')}, {counted(before.get('cells', 0), 'cell')}), "
        f"{counted(after.get('samples', 0), 'sample')} ({counted(after.get('donors', 0), 'donor')}, "
        f"{counted(after.get('cells', 0), 'cell')}) entered the models: "
        f"{sizes or 'none'}, measured in {counted(design['batch'].nunique(), 'batch', 'batches')} at "
        f"{counted(design['site'].nunique(), 'site')}."
    )
    if reasons := o.get("excluded"):
        samples += f" Left out: {listed([f'{why} ({n})' for why, n in reasons.items()])}."
    if o.get("has_counts", True):
        outcome = f"the number of {units(focus)} among {listed(denominators)}"
    else:
        outcome = f"the {focus} share of {listed(denominators)}, of which no counts were given,"
    shares = (
        f"The outcome was {outcome} in each sample (a donor in one batch), with {of_what(o['denominator'])} as the "
        f"primary denominator and the labels of {o['annotator']} as the primary annotation. Donors, not cells, were "
        "the units of replication."
    )
    paragraphs = [samples, shares, *(text for s in SECTIONS.values() for text in s.methods(results, labels))]
    if results.primary.get("model") and (results.estimated or len(populations) > 1):
        paragraphs += [_model_text(o), _contrast_text(results)]
    paragraphs.append(_software_text(o, packages))
    return paragraphs


def _named(model: str) -> str:
    return f"{MODELS[model].words} ({model})"


def _model_text(o: dict[str, Any]) -> str:
    model, others = o["model"], [m for m in o.get("models", []) if m != o["model"]]
    text = f"Shares were compared by {_named(model)} with the formula `{o.get('formula', '')}`"
    if o.get("dropped_terms"):
        dropped = o["dropped_terms"]
        names = [f"{k} ({v})" for k, v in dropped.items()] if isinstance(dropped, dict) else [str(d) for d in dropped]
        text += f" (terms left out: {listed(names)})"
    # A model that drops them says so in its own words.
    text += "." if MODELS[model].drops_zeros else "; samples without a single cell of the type stayed in."
    if MODELS[model].by_batch:
        text += " Only donors of the same batch are compared with one another."
    if others:
        text += f" For comparison: {'; '.join(map(_named, others))}."
    return text


def _contrast_text(results: Results) -> str:
    focus, entry = results.primary["focus"], MODELS[results.primary["model"]]
    effects = entry.ratio.replace("ratio", "ratios") or f"on the model's own scale ({entry.unit})"
    over = covariates(results)
    shares = ""
    if over and results.focus_estimates()["share_a"].notna().any():
        shares = f"; standardised shares average the model's predictions over the {listed(over)} of all samples"
    return (
        f"Effects are {effects}, with 95 % confidence intervals{shares}. Before fitting, the design was examined for "
        "aliasing: a contrast is called within-site if no effect of a site enters it and batches hold both sides, "
        "indirect if its sides never shared a site but are compared through others, between-batch if they share a site "
        f"but no batch, between-site if effects of sites enter it, and not estimable otherwise. {_refitted(results)}"
        f"P-values were adjusted within families of contrasts, by Holm's method for {focus} and by the "
        "Benjamini-Hochberg method for the exploratory table of all cell types; contrasts of different status are "
        "separate families."
    )


def _refitted(results: Results) -> str:
    """Say that contrasts were fitted with a term for the site that the formula lacks."""
    if results.superseded().empty:
        return ""
    return (
        "Contrasts that effects of sites enter were fitted again with a term for the site, and are reported with it. "
    )


def _software_text(o: dict[str, Any], packages: dict[str, str]) -> str:
    names = ("aida-tools", "numpy", "scipy", "pandas", "matplotlib")
    versions = listed([f"{n} {packages[n]}" for n in names if n in packages])
    python = f" on Python {packages['python']}" if "python" in packages else ""
    seed = f" The seed was {o['seed']}." if o.get("seed") is not None else ""
    return f"Computed with {versions or 'aida-tools'}{python}.{seed}"


def references(results: Results, labels: Labels) -> list[str]:
    """List what the methods text rests on: the reference study, the data, the models."""
    o = results.options
    found = [REFERENCE_STUDY]
    if citation := (o.get("cohort") or {}).get("citation"):
        found.append(f"Data: {citation}")
    found += [text for section in SECTIONS.values() for text in section.references(results, labels)]
    used = o.get("models", []) if results.estimated else []
    found += [f"{model}: {o['references'][model]}" for model in used if o.get("references", {}).get(model)]
    return found
