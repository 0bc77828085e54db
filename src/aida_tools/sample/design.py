"""Who is in the SYNTHETIC cohort: sites, batches, donors and controls, as published for AIDA; donors invented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Site(NamedTuple):
    """One site: AIDA's codes, ages and processing; `depth` is invented."""

    prefix: str
    institute: str
    populations: tuple[str, ...]
    median_age: float
    female_share: float
    batches: int
    aligner: str
    introns_from_batch: int
    """Reads in introns count from this batch on."""
    depth: float
    """UMIs of a cell, relative to the reference cells."""


_NEVER = 10**6
SITES = {
    "SG": Site("SG_HEL", "Genome Institute of Singapore", ("SG_Chinese", "SG_Malay", "SG_Indian"), 48.5, 0.54, 8,
               "DRAGEN RNA", 6, 0.9),
    "KR": Site("KR_SGI", "Samsung Genome Institute", ("Korean",), 39, 0.61, 4, "DRAGEN RNA", _NEVER, 1.05),
    "JP": Site("JP_RIK", "Riken", ("Japanese",), 35, 0.56, 4, "DRAGEN RNA", _NEVER, 0.8),
    "TH": Site("TH_MAH", "Mahidol University", ("Thai",), 34, 0.56, 2, "DRAGEN RNA", 1, 0.95),
    "IN": Site("IN_NIB", "National Institute of Biomedical Genomics", ("Indian",), 26.5, 0.47, 2,
               "Cell Ranger", _NEVER, 0.7),
}  # fmt: skip

#: The commercial control donors of AIDA: name, sex, age.
CONTROLS = (
    ("LONZA3038016", "male", 21), ("LONZA3038097", "female", 41), ("LONZA3038099", "male", 23),
    ("LONZA3038306", "male", 30), ("LONZA3030004", "male", 33), ("LONZA3061635", "female", 25),
)  # fmt: skip

#: Spread of the cells per sample: gamma shape, so a coefficient of variation of 1 / sqrt(shape) above Poisson.
CELLS_SHAPE = 8.0
AGE_SD = 12.0


def make_samples(
    batches: Mapping[str, int], donors_per_batch: int, cells_per_donor: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw the samples: every donor once, one control in every batch.

    Parameters
    ----------
    batches
        Site code -> number of batches.
    donors_per_batch
        Donors pooled in a batch, the control not counted.
    cells_per_donor
        Mean number of cells of a sample; the numbers are negative binomial.
    rng
        Source of random numbers.

    Returns
    -------
    One row per sample, in the order of batches, at least three donors: `donor_id, population, sex, age` (years)`,
    is_control, bmi` (kg/m2)`, smoking` ("0", "1", missing)`, viability` (%)`, site, batch, introns, aligner, institute,
    depth, trap, n_cells`.
    Donors of all sites but Korea have a BMI, except some; the populations of a site rotate within each batch.
    """
    rows: list[dict[str, Any]] = []
    for code, site in SITES.items():
        n = batches[code] * donors_per_batch
        # Gaps in the numbers, as where donors were withdrawn.
        numbers = np.sort(rng.permutation(int(1.15 * n) + 2)[:n]) + 1
        for b in range(batches[code]):
            pooled = [
                {
                    "donor_id": f"{site.prefix}_H{numbers[b * donors_per_batch + d]:03d}",
                    "population": site.populations[(b + d) % len(site.populations)],
                    "sex": "female" if rng.random() < site.female_share else "male",
                    "age": int(np.clip(np.rint(rng.normal(site.median_age, AGE_SD)), 19, 77)),
                    "is_control": False,
                    "bmi": np.nan if code == "KR" or rng.random() < 0.05 else round(rng.normal(23.5, 3.2), 1),
                    "smoking": None if rng.random() < 0.03 else "1" if rng.random() < 0.15 else "0",
                    "viability": round(rng.uniform(90, 97), 1),
                }
                for d in range(donors_per_batch)
            ]
            donor_id, sex, age = CONTROLS[b % len(CONTROLS)]
            pooled.append(
                {
                    "donor_id": donor_id, "population": "unknown", "sex": sex, "age": age, "is_control": True,
                    "bmi": np.nan, "smoking": None, "viability": 67.0,
                }
            )  # fmt: skip
            batch = {
                "site": code,
                "batch": f"{site.prefix}_B{b + 1:03d}",
                "introns": b + 1 >= site.introns_from_batch,
                "aligner": site.aligner,
                "institute": site.institute,
                "depth": site.depth,
                "trap": "",
            }
            for row in pooled:
                mean = cells_per_donor * rng.gamma(CELLS_SHAPE, 1 / CELLS_SHAPE)
                rows.append(row | batch | {"n_cells": 1 + int(rng.poisson(mean))})
    _set_traps([row for row in rows if not row["is_control"]], cells_per_donor)
    return pd.DataFrame(rows)


def _set_traps(donors: list[dict[str, Any]], cells_per_donor: int) -> None:
    """Make three donors (the first, who are from Singapore) what careless readers of such files stumble over."""
    donors[0].update(trap="id_with_letter", donor_id=f"{donors[0]['donor_id'][:-2]}7a")
    # Enough cells that the missing Tregs are no accident of sampling.
    donors[1].update(trap="no_treg", n_cells=max(donors[1]["n_cells"], cells_per_donor))
    donors[2].update(trap="below_minimum", n_cells=max(2, cells_per_donor // 10))
