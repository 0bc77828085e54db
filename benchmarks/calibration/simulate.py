"""SYNTHETIC cohorts in the shape of AIDA with known odds ratios, for the calibration of the models.

600 donors, 15 a batch, batches nested in five sites; Singapore's three populations are mixed inside its
batches, every other population is a site of its own. Age and sex differ between sites as published for AIDA; every
effect is invented. A donor's share has

    logit(share) = logit(base) + population + site + batch + donor + 0.1 (age - 40) / 12 - 0.05 male

and its cells are a binomial draw. The donor effect is normal, not beta: no model here is told the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

Array = NDArray[np.float64]

#: Site -> (its populations, donors, median age, share of women).
SITES = {
    "SG": (("SG_Chinese", "SG_Malay", "SG_Indian"), 210, 48.5, 0.54),
    "JP": (("Japanese",), 130, 35.0, 0.56),
    "KR": (("Korean",), 160, 39.0, 0.61),
    "TH": (("Thai",), 60, 34.0, 0.56),
    "IN": (("Indian",), 40, 26.5, 0.47),
}
DONORS_PER_BATCH, DONOR_SD = 15, 0.35
#: Cells of the denominator (CD4 T) in a donor: mean, gamma shape (coefficient of variation 0.5), at least.
CELLS, CELLS_SHAPE, FEWEST_CELLS = 700, 4.0, 50
#: The part of the denominator that is not the focus type, split between other types (for models that look at all).
OTHERS = np.array([0.45, 0.31, 0.07, 0.04, 0.13])

PLANTED = float(np.log(1.15))
#: Name of the contrast -> (side a, side b, true log odds ratio). Both kinds, with and without an effect.
CONTRASTS = {
    "within-site, no effect": ("SG_Malay", "SG_Chinese", 0.0),
    "within-site, OR 1.15": ("SG_Indian", "SG_Chinese", PLANTED),
    "between-site, no effect": ("Korean", "SG_Chinese", 0.0),
    "between-site, OR 1.15": ("Japanese", "SG_Chinese", PLANTED),
}


class Scenario(NamedTuple):
    """What varies between scenarios: the share, and standard deviations on the log-odds scale."""

    share: float
    batch_sd: float
    site_sd: float
    words: str


SCENARIOS = {
    "A": Scenario(0.05, 0.0, 0.0, "no batch or site effect"),
    "B": Scenario(0.05, 0.15, 0.0, "batch SD 0.15"),
    "C": Scenario(0.05, 0.15, 0.2, "batch SD 0.15, site SD 0.2"),
    "D": Scenario(0.05, 0.30, 0.0, "batch SD 0.30"),
    "E": Scenario(0.005, 0.15, 0.0, "rare type (0.5 %), batch SD 0.15"),
}


@dataclass(frozen=True, eq=False)
class Cohort:
    """A drawn cohort.

    Attributes
    ----------
    samples
        One row a donor: `sample_id, donor_id, population, site, batch, sex, age`.
    counts
        Cells of each type, the focus type first, shape (n, k).
    totals
        Cells of the denominator, shape (n,).
    truth
        Contrast (`population: A - B`) -> true log odds ratio.
    """

    samples: pd.DataFrame
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]
    truth: Mapping[str, float]


def make_samples(rng: np.random.Generator) -> pd.DataFrame:
    """Draw who is in the cohort; sizes, sites and batches are always the same."""
    rows = [
        (f"{site}{d:03d}", populations[d % len(populations)], site, f"{site}_B{d // DONORS_PER_BATCH:02d}")
        for site, (populations, donors, *_) in SITES.items()
        for d in range(donors)
    ]
    samples = pd.DataFrame(rows, columns=["donor_id", "population", "site", "batch"])
    median, share = (samples["site"].map({s: v[k] for s, v in SITES.items()}).to_numpy(float) for k in (2, 3))
    samples["age"] = np.clip(np.rint(rng.normal(median, 12)), 19, 77)
    samples["sample_id"] = samples["donor_id"]
    samples["sex"] = np.where(rng.random(len(samples)) < share, "female", "male")
    return samples


def draw(scenario: Scenario, rng: np.random.Generator) -> Cohort:
    """Draw one cohort of a scenario."""
    samples = make_samples(rng)
    n = len(samples)
    planted = {a: effect for a, _, effect in CONTRASTS.values()}
    eta = logit(scenario.share) + samples["population"].map(planted).fillna(0).to_numpy()
    eta += 0.1 * (samples["age"].to_numpy() - 40) / 12 - 0.05 * samples["sex"].eq("male").to_numpy()
    for column, sd in (("site", scenario.site_sd), ("batch", scenario.batch_sd), ("donor_id", DONOR_SD)):
        codes, members = pd.factorize(samples[column])
        eta += rng.normal(0, sd, len(members))[codes]
    totals = np.maximum(rng.poisson(CELLS * rng.gamma(CELLS_SHAPE, 1 / CELLS_SHAPE, n)), FEWEST_CELLS)
    focus = rng.binomial(totals, expit(eta))
    weights = OTHERS * np.exp(rng.normal(0, DONOR_SD, (n, len(OTHERS))))
    others = rng.multinomial(totals - focus, weights / weights.sum(axis=1, keepdims=True))
    truth = {f"population: {a} - {b}": effect for a, b, effect in CONTRASTS.values()}
    return Cohort(samples, np.column_stack([focus, others]), totals, truth)
