"""The methods paragraph, with this run's numbers, versions and references filled in."""

from __future__ import annotations

from typing import Any

from aida_tools.compare.results import Results, of_what
from aida_tools.report.labels import label_methods, label_references
from aida_tools.report.words import counted, listed

#: Model -> what it is, as a manuscript says it.
MODEL_WORDS = {
    "betabinomial-mixed": "beta-binomial regression by maximum likelihood with a random intercept for the batch",
    "betabinomial": "beta-binomial regression by maximum likelihood",
    "betabinomial-cluster": "beta-binomial regression with batch-clustered standard errors",
    "betabinomial-library": "beta-binomial regression with fixed effects for the library",
    "quasibinomial": "quasi-binomial regression",
    "propeller-logit": "linear models of logit-transformed shares with empirical Bayes variances (propeller)",
    "propeller-asin": "linear models of arcsine-square-root shares with empirical Bayes variances (propeller)",
    "log10-ols": "least squares on log10 shares, samples without a cell of the type left out (the reference study's "
    "model)",
    "clr": "precision-weighted linear models of centred log-ratios",
    "clr-2class": "precision-weighted linear models of two-class log-ratios",
}
#: The study whose comparison is rerun.
REFERENCE_STUDY = "Kock et al. (2025) Cell 188:2288-2306, doi:10.1016/j.cell.2025.02.017"


def methods_paragraphs(results: Results, labels: dict[str, str], packages: dict[str, str]) -> list[str]:
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
    shares = (
        f"The outcome was the number of {focus} cells among {listed(denominators)} in each sample (a donor in one "
        "batch), "
        f"with {of_what(o['denominator'])} as the primary denominator and the labels of {o['annotator']} as the "
        "primary "
        "annotation. Donors, not cells, were the units of replication."
    )
    paragraphs = [samples, shares, *filter(None, [label_methods(results)])]
    if results.primary.get("model") and len(populations) > 1:
        paragraphs += [_model_text(o), _contrast_text(focus)]
    paragraphs.append(_software_text(o, packages))
    return paragraphs


def _model_text(o: dict[str, Any]) -> str:
    model, others = o["model"], [m for m in o.get("models", []) if m != o["model"]]
    text = (
        f"Shares were compared by {MODEL_WORDS.get(model, model)} ({model}) with the formula `{o.get('formula', '')}`"
    )
    if o.get("dropped_terms"):
        dropped = o["dropped_terms"]
        names = [f"{k} ({v})" for k, v in dropped.items()] if isinstance(dropped, dict) else [str(d) for d in dropped]
        text += f" (terms left out: {listed(names)})"
    text += "; samples without a single cell of the type stayed in."
    if others:
        text += f" For comparison: {'; '.join(f'{MODEL_WORDS.get(m, m)} ({m})' for m in others)}."
    return text


def _contrast_text(focus: str) -> str:
    return (
        "Effects are odds ratios with 95 % confidence intervals; standardised shares average the model's predictions "
        "over "
        "the age and sex of all samples. Before fitting, the design was examined for aliasing: a contrast is called "
        "within-site if the compared populations share their sites, between-site if population and site cannot be told "
        "apart, and not estimable otherwise. "
        f"P-values were adjusted within families of contrasts, by Holm's method for {focus} and by the "
        "Benjamini-Hochberg "
        "method for the exploratory table of all cell types; contrasts within and between sites are separate families."
    )


def _software_text(o: dict[str, Any], packages: dict[str, str]) -> str:
    names = ("aida-tools", "numpy", "scipy", "pandas", "matplotlib")
    versions = listed([f"{n} {packages[n]}" for n in names if n in packages])
    python = f" on Python {packages['python']}" if "python" in packages else ""
    seed = f" The seed was {o['seed']}." if o.get("seed") is not None else ""
    return f"Computed with {versions or 'aida-tools'}{python}.{seed}"


def references(results: Results) -> list[str]:
    """List what the methods text rests on: the reference study, the data, the models."""
    o = results.options
    found = [REFERENCE_STUDY]
    if citation := (o.get("cohort") or {}).get("citation"):
        found.append(f"Data: {citation}")
    found += label_references(results)
    used = o.get("models", []) if results.estimated else []
    found += [f"{model}: {o['references'][model]}" for model in used if o.get("references", {}).get(model)]
    return found
