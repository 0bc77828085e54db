"""How long `aida-tools compare` takes on a table of AIDA's size: SYNTHETIC counts, all models, all contrasts.

    python benchmarks/compare_speed.py [--write FOLDER]

33 cell types, 600 donors in 40 batches at five sites, 6 populations (all pairs, each against the rest, age, sex),
three denominators. With --write the tables are kept for `Rscript benchmarks/compare_speed.R FOLDER`, which times limma
and glmmTMB on the same fits. Times are of processor and wall clock; models are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from memory import peak_mb

from aida_tools.compare.run import compare_tables
from aida_tools.compare.step import Options
from aida_tools.models.registry import MODELS

SITES = {
    "SG": (14, ("SG_Chinese", "SG_Malay", "SG_Indian")), "JP": (9, ("Japanese",)), "KR": (11, ("Korean",)),
    "TH": (4, ("Thai",)), "IN": (2, ("Indian",)),
}  # fmt: skip
N_TYPES, N_CD4, N_T, DONORS = 33, 6, 15, 15


def make_tables(seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Draw samples, counts and denominators."""
    rng = np.random.default_rng(seed)
    types = [f"type{i:02d}" for i in range(N_TYPES)]
    base = np.log(rng.dirichlet(np.full(N_TYPES, 2.0)))
    samples, counts = [], []
    for site, (batches, populations) in SITES.items():
        for batch in range(1, batches + 1):
            shift = rng.normal(0, 0.15, N_TYPES)
            for d in range(DONORS):
                share = np.exp(base + shift + rng.normal(0, 0.35, N_TYPES))
                n = int(rng.negative_binomial(8, 8 / (8 + 1900))) + 100
                name = f"{site}_{batch:02d}_{d:02d}"
                age, sex = float(rng.integers(20, 70)), ("female", "male")[int(rng.integers(2))]
                population = populations[d % len(populations)]
                samples.append((name, population, site, f"{site}_B{batch:03d}", sex, age, n))
                counts.append(rng.multinomial(n, share / share.sum()))
    columns = ["sample_id", "population", "site", "batch", "sex", "age", "n_cells"]
    table = pd.DataFrame(samples, columns=columns)
    wide = pd.DataFrame(counts, columns=types, index=table["sample_id"])
    long = wide.reset_index().melt("sample_id", var_name="cell_type", value_name="n_cells")
    sets = [("CD4_T", t) for t in types[:N_CD4]] + [("T", t) for t in types[:N_T]]
    denominators = pd.DataFrame(sets, columns=["denominator", "cell_type"]).assign(annotator="given")
    return table, long, denominators


def run(models: tuple[str, ...], tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]) -> tuple[float, float, int]:
    """Return processor seconds, wall seconds and rows of one run."""
    samples, counts, sets = tables
    options = Options(models=models, one_vs_rest=True, exclude_populations=("Indian",), focus="type00")
    cpu, wall = time.process_time(), time.perf_counter()
    found, _ = compare_tables(counts, samples, options=options, denominators=sets)
    return time.process_time() - cpu, time.perf_counter() - wall, len(found["estimates"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path)
    folder = parser.parse_args().write
    tables = make_tables()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in zip(("samples", "counts", "denominators"), tables, strict=True):
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    names = tuple(name for name, model in MODELS.items() if model.of_counts)
    few = tables[0].groupby("batch").head(4)
    run(names, (few, tables[1][tables[1]["sample_id"].isin(few["sample_id"])], tables[2]))
    print("model\tcpu_s\twall_s\trows")
    for chosen in [(name,) for name in names] + [names]:
        cpu, wall, rows = run(chosen, tables)
        print(f"{chosen[0] if len(chosen) == 1 else 'all of them'}\t{cpu:.1f}\t{wall:.1f}\t{rows}")
    print(f"memory at most {peak_mb()} MB")
