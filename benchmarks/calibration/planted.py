"""Counts of the embedded SYNTHETIC sample cohort, drawn anew with its own kernel, without cells or genes.

What is asked: does the interval of an odds ratio hold the planted one? Between sites it cannot be meant to, so there
the same interval is also held against the planted odds ratio times the drawn difference of the sites.
"""

from __future__ import annotations

import numpy as np
from simulate import Cohort

from aida_tools.sample import composition, design
from aida_tools.sample import run as sample

NAME = "sample"
DONORS_PER_BATCH, CELLS_PER_DONOR, MIN_CELLS = 15, 120, 40
EXCLUDED = ("Indian", "unknown")
WITH_SITE = " | with its site effect"


def draw(rng: np.random.Generator) -> Cohort:
    """Draw one sample cohort of the default size; controls, India and small samples are left out as in the demo."""
    types = sample._table("types")
    names, base = types["label"].tolist(), types["n_cells"].to_numpy(float)
    focus, in_set = names.index(sample.FOCUS), types["level2"].eq("CD4+_T").to_numpy()
    samples = design.make_samples(sample.check_batches({}), DONORS_PER_BATCH, CELLS_PER_DONOR, rng)
    effects = sample._random_effects(samples, names, rng)
    terms = composition.covariates(
        samples["population"].tolist(), samples["sex"].tolist(), samples["age"].to_numpy(float)
    )
    eta = composition.fixed_effects(terms, sample.EFFECTS, names)
    eta += sum(table.loc[samples[level]].to_numpy() for level, table in effects.items())
    counts = rng.multinomial(samples["n_cells"], composition.type_shares(eta, base, in_set, focus))
    totals = counts[:, in_set].sum(axis=1)
    used = (
        ~samples["population"].isin(EXCLUDED).to_numpy() & (samples["n_cells"] >= MIN_CELLS).to_numpy() & (totals > 0)
    )
    order = [focus, *np.flatnonzero(in_set & (np.arange(len(names)) != focus))]
    return Cohort(samples[used].reset_index(drop=True), counts[used][:, order], totals[used], _truth(effects))


def _truth(effects: dict) -> dict[str, float]:
    """Return the planted log odds ratios of the focus type by contrast."""

    def planted(term: str) -> float:
        return sample.EFFECTS.get(term, {}).get(sample.FOCUS, 0.0)

    truth = {"age": planted("age") / 10, "sex: male - female": planted("sex: male")}
    site_effect = effects["site"][sample.FOCUS]
    for code, site in design.SITES.items():
        for population in site.populations:
            if population != "SG_Chinese" and population not in EXCLUDED:
                contrast, effect = f"population: {population} - SG_Chinese", planted(f"population: {population}")
                truth[contrast] = effect
                if code != "SG":
                    truth[contrast + WITH_SITE] = effect + site_effect[code] - site_effect["SG"]
    return truth
