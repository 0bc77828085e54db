"""A small cohort with known effects, in the shape of AIDA: three populations in one site, others alone in theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

#: Site -> (batches, populations mixed in each of them).
SITES = {"SG": (6, ("SG_Chinese", "SG_Malay", "SG_Indian")), "JP": (4, ("Japanese",)), "KR": (4, ("Korean",))}
TYPES = {"Treg": -3.0, "CD4_naive": 0.0, "CD4_memory": -0.3, "CD8": -0.2, "NK": -0.5}
#: Log odds of Treg among CD4 T against the rest of the populations.
EFFECTS = {"Korean": -0.5, "SG_Malay": 0.4}


def make_cohort(
    seed: int = 1,
    *,
    donors: int = 15,
    batch_sd: float = 0.1,
    donor_sd: float = 0.25,
    cells: int = 1500,
    sites: dict[str, tuple[int, tuple[str, ...]]] | None = None,
    controls: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return samples and long counts."""
    rng = np.random.default_rng(seed)
    base = np.array(list(TYPES.values()))
    samples, counts = [], []
    for site, (n_batches, populations) in (sites or SITES).items():
        for b in range(1, n_batches + 1):
            batch = f"{site}_B{b:03d}"
            shift = rng.normal(0, batch_sd, len(base))
            for d in range(donors + controls):
                control = d == donors
                donor = "LONZA1" if control else f"{batch}_H{d:02d}"
                population = "European" if control else populations[d % len(populations)]
                eta = base + shift + (0 if control else rng.normal(0, donor_sd, len(base)))
                eta[0] += EFFECTS.get(population, 0.0)
                n = int(rng.poisson(cells)) + 1
                share = np.exp(eta) / np.exp(eta).sum()
                samples.append(
                    {
                        "sample_id": f"{donor}|{batch}", "donor_id": donor, "population": population, "site": site,
                        "batch": batch, "sex": ("female", "male")[int(rng.integers(2)) | control],
                        "age": float(rng.integers(20, 70)), "is_control": control, "n_cells": n,
                    }
                )  # fmt: skip
                counts.append(rng.multinomial(n, share))
    table = pd.DataFrame(samples)
    wide = pd.DataFrame(counts, columns=list(TYPES), index=table["sample_id"])
    long = wide.rename_axis(columns="cell_type").stack().rename("n_cells").reset_index()
    long.insert(1, "annotator", "author")
    return table, long


def write(folder: Path, samples: pd.DataFrame, counts: pd.DataFrame) -> tuple[Path, Path]:
    """Write both tables; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "counts.tsv", folder / "samples.tsv"
    counts.to_csv(paths[0], sep="\t", index=False)
    samples.to_csv(paths[1], sep="\t", index=False)
    return paths
