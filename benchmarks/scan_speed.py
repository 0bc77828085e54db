"""Speed and memory of the scan: side by side with CellTypist, and up a ladder of sizes. SYNTHETIC files.

    python benchmarks/scan_speed.py side-by-side --cells 40000 --work DIR
    python benchmarks/scan_speed.py ladder --cells 100000 --cells 1270000 --work DIR
    python benchmarks/scan_speed.py extras --cells 300000 --work DIR

Every run is a process of its own, so that its peak memory is its own. Times are those of the work, from the file on
the disk to the labels, without the start of Python and compilation (both tools are warmed up on a small file first).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import aida_shaped
from memory import peak_mb

GATE = Path(__file__).parents[1] / "config" / "annotators" / "gate.tsv"
N_CLASSES, N_FEATURES = 40, 3_000
#: Samples and authors' labels of the sums by group.
N_SAMPLES, N_LABELS = 600, 33
COHORT = """
name: speed
title: SYNTHETIC file in the shape of AIDA
synthetic: true
source: {{ kind: h5ad, path: {path} }}
columns: {{ donor_id: donor_id, population: {{ value: unknown }} }}
"""


def make_file(work: Path, n_cells: int) -> Path:
    """Write a file of the wanted size, unless it is there."""
    path = work / f"aida_shaped_{n_cells}.h5ad"
    if not path.exists():
        aida_shaped.write(path, n_cells)
    folder = work / f"fetch_{n_cells}"
    folder.mkdir(exist_ok=True)
    (folder / "source.json").write_text(json.dumps({"path": str(path.resolve()), "format": "h5ad"}))
    (work / f"cohort_{n_cells}.yaml").write_text(COHORT.format(path=path.name))
    return path


def make_classifier(work: Path) -> None:
    """Write one random linear classifier of 40 classes and 3,000 commonly seen genes, for both tools."""
    import pickle

    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    from aida_tools.annotate.classifiers import import_classifier
    from aida_tools.scan.stores import open_counts

    if (work / "classifiers" / "speed").exists():
        return
    rng = np.random.default_rng(0)
    with open_counts(make_file(work, 5_000)) as counts:
        block = counts.read(0, 2_000)
        sums = np.bincount(block.indices, weights=block.data, minlength=counts.shape[1])
        features = np.sort(rng.choice(np.argsort(-sums)[:9_000], N_FEATURES, replace=False))
        names = counts.genes.symbols[features]
    classifier = SGDClassifier(loss="log_loss")
    classifier.classes_ = np.array([f"type{i:02d}" for i in range(N_CLASSES)], dtype=object)
    classifier.coef_, classifier.intercept_ = rng.normal(size=(N_CLASSES, N_FEATURES)), rng.normal(size=N_CLASSES)
    classifier.features, classifier.n_features_in_ = names, N_FEATURES
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = rng.uniform(0.1, 1, N_FEATURES), rng.uniform(0.2, 1, N_FEATURES)
    with (work / "speed.pkl").open("wb") as handle:
        pickle.dump({"Model": classifier, "Scaler_": scaler, "description": {"details": "SYNTHETIC"}}, handle)
    import_classifier(work / "speed.pkl", work / "classifiers", name="speed", label_map=None)


def make_soft_classifier(work: Path) -> None:
    """Write the same classifier with classes that exclude one another."""
    from aida_tools.scan.classifier import load_linear, save_linear

    folder = work / "classifiers" / "soft"
    if not folder.exists():
        speed = load_linear(work / "classifiers" / "speed")
        folder.mkdir()
        save_linear(dataclasses.replace(speed, name="soft", link="softmax"), folder)


def make_tables(work: Path, n_cells: int) -> Path:
    """Write which cell is of which sample, in order and in none, and an earlier scan with sites of five depths."""
    import pandas as pd

    from aida_tools.scan.stores import open_counts

    folder = work / f"tables_{n_cells}"
    if not folder.exists():
        folder.mkdir()
        with open_counts(make_file(work, n_cells)) as counts:
            ids = counts.cell_ids(0, counts.shape[0])
        rng = np.random.default_rng(0)
        sample = np.arange(len(ids)) * N_SAMPLES // len(ids)
        for name, codes in (("sorted", sample), ("mixed", rng.permutation(sample))):
            table = {"cell_id": ids, "sample_id": [f"d{i:03d}|b" for i in codes], "site": [f"s{i % 5}" for i in codes]}
            labels = [f"type{i:02d}" for i in rng.integers(0, N_LABELS, len(ids))]
            cells = pd.DataFrame({**table, "author_label": labels, "cell_type_id": None})
            cells.to_parquet(folder / f"{name}.parquet")
            if name == "sorted":
                # The deepest of the five keeps half of its UMIs.
                scan = pd.DataFrame({"cell_id": ids, "total": 1000 * (4 + codes % 5)})
                scan.to_parquet(folder / "scan.parquet")
    return folder


def run_scan(work: Path, n_cells: int, threads: int, classifier: str = "speed", **options: Any) -> tuple[float, float]:
    """Scan a file with gate and classifier; return the seconds and the CPU seconds."""
    import pyarrow.parquet as pq

    from aida_tools.scan.run import scan

    start, cpu = time.perf_counter(), time.process_time()
    scan(
        work / f"cohort_{n_cells}.yaml", work / f"fetch_{n_cells}", work / f"scan_{n_cells}", gate_path=GATE,
        classifiers=[classifier], classifier_folder=work / "classifiers", threads=threads, **options,
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(pq.read_metadata(work / f"scan_{n_cells}" / "scan.parquet").num_rows, "cells")
    return seconds, cpu


def run_extra(what: str, work: Path, n_cells: int, threads: int) -> tuple[float, float]:
    """Scan a file with something more than gate and classifier."""
    folder = make_tables(work, n_cells)
    extras: dict[str, dict[str, Any]] = {
        "softmax": {"classifier": "soft"},
        "expected": {"classifier": "soft", "expected": ["soft"]},
        "pseudobulk": {"pseudobulk": ["author"]},
        "pseudobulk-mixed": {"pseudobulk": ["author"], "samples_path": folder / "mixed.parquet"},
        "thin": {"thin": folder / "scan.parquet"},
    }
    return run_scan(work, n_cells, threads, **{"samples_path": folder / "sorted.parquet", **extras[what]})


def run_celltypist(work: Path, n_cells: int, threads: int) -> tuple[float, float]:
    """Read, normalise and annotate a file with CellTypist; return the seconds and the CPU seconds."""
    import warnings

    warnings.simplefilter("ignore")
    os.environ.setdefault("CELLTYPIST_FOLDER", str(work / "celltypist"))
    import anndata
    import celltypist
    import numba
    import scanpy

    numba.set_num_threads(threads)
    start, cpu = time.perf_counter(), time.process_time()
    data = anndata.read_h5ad(work / f"aida_shaped_{n_cells}.h5ad")
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    result = celltypist.annotate(data, model=str(work / "speed.pkl"), majority_voting=False)
    result.predicted_labels.to_csv(work / f"celltypist_{n_cells}.csv")
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(data.n_obs, "cells")
    return seconds, cpu


EXTRAS = ("softmax", "expected", "pseudobulk", "pseudobulk-mixed", "thin")
RUNS = {"scan": run_scan, "celltypist": run_celltypist} | {name: partial(run_extra, name) for name in EXTRAS}
TOOLS = {"side-by-side": ("scan", "celltypist"), "ladder": ("scan",), "extras": ("scan", *EXTRAS)}


def measure(tool: str, work: Path, n_cells: int, threads: int) -> dict[str, Any]:
    """Run a tool in a process of its own: seconds, CPU seconds and peak memory."""
    command = [sys.executable, __file__, "one", tool, "--cells", str(n_cells), "--threads", str(threads)]
    command += ["--work", str(work)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        output = process.stdout.read().decode() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    # The last two lines: how many cells; seconds and CPU seconds of the work and peak memory of the process.
    *_, cells, times = output.splitlines()
    n_cells = int(cells.split()[0])
    seconds, cpu, memory = (float(value) for value in times.split())
    return {
        "tool": tool, "cells": n_cells, "seconds": round(seconds, 1), "cells_per_second": round(n_cells / seconds),
        "cpu_seconds": round(cpu, 1), "cells_per_cpu_second": round(n_cells / cpu),
        "peak_mb": round(memory),
    }  # fmt: skip


def compare_labels(work: Path, n_cells: int) -> float:
    """Return the share of cells both tools label alike."""
    import pandas as pd

    ours = pd.read_parquet(work / f"scan_{n_cells}" / "scan.parquet", columns=["speed:label"])["speed:label"]
    theirs = pd.read_csv(work / f"celltypist_{n_cells}.csv")["predicted_labels"]
    return float((ours.astype(str).to_numpy() == theirs.to_numpy()).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*TOOLS, "one"])
    parser.add_argument("tool", nargs="?", choices=RUNS)
    parser.add_argument("--cells", type=int, action="append", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.what == "one":
        RUNS[options.tool](options.work, 5_000, options.threads)
        print(*RUNS[options.tool](options.work, options.cells[0], options.threads), peak_mb())
        return
    make_classifier(options.work)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.threads} threads")
    for n_cells in options.cells:
        make_file(options.work, n_cells)
        if options.what == "extras":
            make_soft_classifier(options.work)
            for size in (5_000, n_cells):
                make_tables(options.work, size)
        rows = []
        for tool in TOOLS[options.what]:
            rows.append(measure(tool, options.work, n_cells, options.threads))
            print(json.dumps(rows[-1]), flush=True)
        if options.what == "side-by-side":
            ratio, cpu = (rows[1][key] / rows[0][key] for key in ("seconds", "cpu_seconds"))
            alike = compare_labels(options.work, n_cells)
            print(f"scan: {ratio:.1f} times as fast, {cpu:.1f} times less CPU time; labels alike: {alike:.6f}")


if __name__ == "__main__":
    main()
