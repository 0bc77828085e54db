"""Write an h5ad file in the shape of AIDA, of any size, in seconds: SYNTHETIC counts for measuring speed.

A few thousand different cells are drawn, and their compressed chunks are written over and over with
`write_direct_chunk`: to a reader it is a file of that many cells.

    python benchmarks/aida_shaped.py --cells 1270000 out.h5ad
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import write_elem

GENES = 36_000
MEAN_GENES = 2_000
#: Entries of a chunk, as anndata and h5py choose them for arrays of this length.
CHUNK = 65_536
#: Chunks of entries that are drawn; the rest of the file repeats them.
POOL = 128


def draw_cells(rng: np.random.Generator, n_entries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw cells until their entries are exactly `n_entries`: indptr, indices and counts."""
    popularity = rng.lognormal(0, 2.0, GENES)
    popularity /= popularity.sum()
    # A gene of rate r is seen with probability 1 - exp(-r): scale the rates to the wanted number of genes.
    low, high = 1e2, 1e6
    for _ in range(60):
        depth = np.sqrt(low * high)
        low, high = (depth, high) if -np.expm1(-popularity * depth).sum() < MEAN_GENES else (low, depth)
    sizes, indices, counts = [], [], []
    left = n_entries
    while left:
        cell = rng.poisson(popularity * depth * rng.gamma(20, 1 / 20))
        genes = np.flatnonzero(cell)[:left]
        sizes.append(len(genes))
        indices.append(genes)
        counts.append(cell[genes])
        left -= len(genes)
    return np.array([0, *np.cumsum(sizes)]), np.concatenate(indices), np.concatenate(counts)


def symbols() -> list[str]:
    """Name the genes: those of the gate and some mitochondrial ones among 36,000."""
    table = pd.read_csv(Path(__file__).parents[1] / "config" / "annotators" / "gate.tsv", sep="\t")
    names = [f"GENE{i}" for i in range(GENES)]
    places = np.linspace(100, GENES - 100, len(table) + 3).astype(int)
    for place, gene in zip(places, [*table["gene"], "MT-ND1", "MT-CO1", "MT-CYB"], strict=True):
        names[place] = gene
    return names


def write(path: Path, n_cells: int, *, index: str = "int32", seed: int = 1) -> int:
    """Write a file of about `n_cells` cells (whole repeats of the pool); return how many.

    Files beyond 2**31 entries have `int64` indices when scipy made them, `int32` ones when they were written in parts.
    """
    indptr, indices, counts = draw_cells(np.random.default_rng(seed), POOL * CHUNK)
    per_pool = len(indptr) - 1
    repeats = max(1, round(n_cells / per_pool))
    n_cells = per_pool * repeats
    with h5py.File(path, "w") as handle:
        handle.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = handle.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, GENES)})
        for name, values in (("indices", indices.astype(index)), ("data", counts.astype(np.float32))):
            chunks = [zlib.compress(values[a : a + CHUNK].tobytes(), 4) for a in range(0, len(values), CHUNK)]
            dataset = x.create_dataset(
                name, (len(values) * repeats,), values.dtype, chunks=(CHUNK,), compression="gzip", compression_opts=4
            )
            for i in range(POOL * repeats):
                dataset.id.write_direct_chunk((i * CHUNK,), chunks[i % POOL])
        ends = (np.arange(repeats)[:, None] * indptr[-1] + indptr[1:]).ravel()
        indptr = np.concatenate([[0], ends])
        small = indptr[-1] < 2**31 and index == "int32"
        x.create_dataset("indptr", data=indptr.astype(np.int32 if small else np.int64), compression="gzip")
        ids = np.array([f"CELL{i:07d}-KR_SGI_B{i // 40_000:03d}_L001" for i in range(n_cells)], dtype=object)
        write_elem(
            handle, "obs", pd.DataFrame({"donor_id": pd.Categorical(np.arange(n_cells) * 625 // n_cells)}, index=ids)
        )
        write_elem(handle, "var", pd.DataFrame(index=symbols()))
    return n_cells


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--index", choices=["int32", "int64"], default="int32")
    options = parser.parse_args()
    print(write(options.path, options.cells, index=options.index), "cells")
