"""A cohort in the shape of AIDA with known effects, compared once for all tests of the room."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.core.schema import write_tsv
from aida_tools.results.refit import Comparison, load_comparison

#: Site -> (batches, populations mixed in each).
SITES = {"SG": (6, ("SG_Chinese", "SG_Malay")), "KR": (4, ("Korean",)), "JP": (4, ("Japanese",))}
#: Type -> log weight. `CD4+_T` and `T` are unresolved.
TYPES = {"Treg": -3.0, "CD4_naive": 0.0, "CD4+_T": -2.0, "T": -2.0, "NK": -0.5}
CD4 = ("Treg", "CD4_naive", "CD4+_T")
#: Log odds ratio of Treg among the others.
EFFECTS = {"Korean": -0.6, "SG_Malay": 0.5}


def make_cohort(
    seed: int = 1,
    *,
    sites: Mapping[str, tuple[int, tuple[str, ...]]] = SITES,
    donors: int = 12,
    controls: int = 1,
    site_shift: Mapping[str, float] | None = None,
    batch_sd: float = 0.05,
    donor_sd: float = 0.25,
    cells: int = 1500,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return samples and long counts; `controls` control samples in every batch, from two donors in turn."""
    rng = np.random.default_rng(seed)
    rows, counts = [], []
    for site, (n_batches, populations) in sites.items():
        for b in range(n_batches):
            batch = f"{site}_B{b:02d}"
            shift = rng.normal(0, batch_sd) + (site_shift or {}).get(site, 0.0)
            for d in range(donors + controls):
                control = d >= donors
                donor = f"LONZA{(b + d) % 2}" if control else f"{batch}_H{d:02d}"
                population = "European" if control else populations[d % len(populations)]
                eta = np.array(list(TYPES.values()))
                eta[0] += shift + EFFECTS.get(population, 0.0) + (0 if control else rng.normal(0, donor_sd))
                share = np.exp(eta) / np.exp(eta).sum()
                n = int(rng.poisson(cells)) + 1
                rows.append(
                    {
                        "sample_id": f"{donor}|{batch}|{d}", "donor_id": donor, "population": population, "site": site,
                        "batch": batch, "sex": ("female", "male")[int(rng.integers(2)) or control],
                        "age": float(rng.integers(20, 70)), "is_control": control, "n_cells": n,
                        "bmi": None if site == "KR" else round(float(rng.normal(23, 3)), 1),
                        "introns": str(b >= n_batches // 2),
                    }
                )  # fmt: skip
                counts.append(rng.multinomial(n, share))
    samples = pd.DataFrame(rows)
    wide = pd.DataFrame(counts, columns=list(TYPES), index=samples["sample_id"])
    long = wide.rename_axis(columns="cell_type").stack().rename("n_cells").reset_index()
    long.insert(1, "annotator", "author")
    return samples, long


def compare_cohort(folder: Path, samples: pd.DataFrame, counts: pd.DataFrame, **options: object) -> Path:
    """Write the tables and compare them; return the folder of the comparison."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tsv(counts, folder / "counts.tsv")
    write_tsv(samples, folder / "samples.tsv")
    given: dict[str, object] = {
        "models": ("betabinomial-mixed", "quasibinomial", "log10-ols"), "focus": "Treg", "one_vs_rest": True,
        "denominators": (f"CD4_T={','.join(CD4)}", "all"), "min_cells": 400,
    }  # fmt: skip
    compare(folder / "counts.tsv", folder / "samples.tsv", folder / "compare", options=Options(**(given | options)))  # type: ignore[arg-type]
    return folder / "compare"


#: Two populations at one site, one at another: the smallest cohort that has everything.
SMALL = {"SG": (3, ("SG_Chinese", "SG_Malay")), "KR": (2, ("Korean",))}


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison of a small cohort: pairs only."""
    cohort = make_cohort(6, sites=SMALL)
    return compare_cohort(tmp_path_factory.mktemp("small"), *cohort, models=("quasibinomial",), one_vs_rest=False)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """The comparison of the default cohort."""
    return load_comparison(compare_cohort(tmp_path_factory.mktemp("robust"), *make_cohort()))
