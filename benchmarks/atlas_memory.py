"""Time and peak memory of `aida-tools atlas` on a SYNTHETIC file in the shape of AIDA.

python benchmarks/atlas_memory.py --cells 1270000 --work DIR
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from scan_speed import make_file

N_TYPES = 34
#: The command, in a process that says at its end how much time and memory it took.
RUN = """
import time
from aida_tools.cli import main
from memory import peak_mb
try:
    main()
finally:
    print(time.process_time(), peak_mb())
"""
PATHS = {"PYTHONPATH": str(Path(__file__).parent)}


def make_tables(work: Path, n_cells: int) -> None:
    """Write cells.parquet and the labels of one annotator: types from 30 % to one in 100,000, drawn at random."""
    from anndata.io import read_elem
    from h5py import File

    with File(work / f"aida_shaped_{n_cells}.h5ad") as handle:
        ids = np.asarray(read_elem(handle["obs/_index"]), dtype=object)
    rng = np.random.default_rng(0)
    batch = pd.Series(ids).str.extract(r"-(KR_SGI_B\d+)")[0].astype("category")
    cells = pd.DataFrame({"cell_id": ids, "donor_id": pd.Categorical((np.arange(len(ids)) // 2000).astype(str))})
    cells = cells.assign(sample_id=cells["donor_id"], population="unknown", site="KR", batch=batch, library=batch)
    cells = cells.assign(sex="unknown", age=np.nan, is_control=False, author_label="", cell_type_id=None)
    (work / f"cells_{n_cells}").mkdir(exist_ok=True)
    text = dict.fromkeys(("population", "site", "sex", "author_label", "cell_type_id"), "category")
    cells.astype(text).to_parquet(work / f"cells_{n_cells}" / "cells.parquet", index=False)
    shares = np.geomspace(0.3, 1e-5, N_TYPES)
    kind = rng.choice(N_TYPES, len(ids), p=shares / shares.sum())
    names = np.array([f"T{i}" for i in range(N_TYPES)], dtype=object)
    labels = pd.DataFrame({"cell_id": ids, "cell_type": pd.Categorical(names[kind])})
    folder = work / f"author_{n_cells}"
    folder.mkdir(exist_ok=True)
    labels.to_parquet(folder / "labels.parquet", index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, action="append", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for n in options.cells:
        make_file(options.work, n)
        make_tables(options.work, n)
        names = [f"cohort_{n}.yaml", f"fetch_{n}", f"cells_{n}", f"author_{n}"]
        command = [sys.executable, "-c", RUN, "atlas", *(str(options.work / name) for name in names)]
        command += ["--out", str(options.work / f"atlas_{n}"), "--threads", str(options.threads)]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | PATHS)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        cpu, memory = map(float, done.stdout.splitlines()[-1].split())
        row = {
            "cells": n, "seconds": round(time.perf_counter() - start), "load": round(os.getloadavg()[0], 1),
            "cpu_seconds": round(cpu), "peak_mb": round(memory),
        }  # fmt: skip
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
