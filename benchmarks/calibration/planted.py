"""Counts of the embedded SYNTHETIC sample cohort, drawn anew by its own code, without genes.

What is asked: does the interval of an odds ratio hold the planted one? Between sites it cannot be meant to, so there
the same interval is also held against the planted odds ratio times the drawn difference of the sites.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from simulate import Cohort

from aida_tools.sample import design
from aida_tools.sample.run import check_batches, draw_cohort
from aida_tools.sample.truth import EFFECTS, FOCUS, FOCUS_SET, sets

NAME = "sample"
#: The demo's sizes and filters.
DONORS_PER_BATCH, CELLS_PER_DONOR, MIN_CELLS = 15, 120, 40
EXCLUDED = ("Indian", "unknown")
WITH_SITE = " | with its site effect"


def draw(rng: np.random.Generator) -> Cohort:
    """Draw one sample cohort of the default size; controls, India and small samples are left out as in the demo."""
    cohort = draw_cohort(check_batches({}), DONORS_PER_BATCH, CELLS_PER_DONOR, rng.spawn(3))
    members = np.flatnonzero(sets(cohort.types)[FOCUS_SET])
    focus = int(np.flatnonzero(cohort.types["label"] == FOCUS)[0])
    counts = cohort.counts[:, [focus, *members[members != focus]]]
    samples, totals = cohort.samples.assign(sample_id=cohort.samples["donor_id"]), counts.sum(axis=1)
    used = ~samples["population"].isin(EXCLUDED) & (samples["n_cells"] >= MIN_CELLS) & (totals > 0)
    return Cohort(samples[used].reset_index(drop=True), counts[used], totals[used], truth(cohort.effects))


def truth(effects: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Return the planted log odds ratios of the focus type by contrast."""

    def planted(term: str) -> float:
        return EFFECTS.get(term, {}).get(FOCUS, 0.0)

    out = {"age": planted("age") / 10, "sex: male - female": planted("sex: male")}
    site_effect = effects["site"][FOCUS]
    for code, site in design.SITES.items():
        for population in site.populations:
            if population != "SG_Chinese" and population not in EXCLUDED:
                contrast, effect = f"population: {population} - SG_Chinese", planted(f"population: {population}")
                out[contrast] = effect
                if code != "SG":
                    out[contrast + WITH_SITE] = effect + site_effect[code] - site_effect["SG"]
    return out
