"""Sums of counts by sample and label, exact and in little memory, however many groups there are."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.core.errors import AidaError
from aida_tools.core.tables import read_cells
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Genes

#: Bytes of sums that may lie in memory before those of the group that waited longest are left to the disk.
_RESIDENT = 192 * 2**20
#: Groups written at a time.
_ROWS = 256
#: Shuffled, small whole numbers deflate to half the size in half the time.
_STORED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "chunks": (65_536,)}


class Samples:
    """The sample of every cell of a file, and the authors' labels."""

    def __init__(self, path: Path):
        import pyarrow.parquet as pq

        table = read_cells(path, columns=["sample_id", "author_label", "cell_type_id"])
        self.path = path
        self.codes, names = pd.factorize(table["sample_id"])
        self.names = [str(n) for n in names]
        label = table["author_label"] if table["author_label"].notna().any() else table["cell_type_id"]
        self.author, labels = pd.factorize(label, sort=True)
        self.author_labels = [str(x) for x in labels]
        # Arrow keeps the ids at a fraction of what pandas needs.
        self._ids = pq.read_table(path, columns=["cell_id"]).column("cell_id")

    def check(self, start: int, cell_ids: NDArray[np.object_]) -> None:
        """Check that these cells of the file are the cells of the table.

        Raises
        ------
        AidaError
            At the first that is not.
        """
        mine = self._ids.slice(start, len(cell_ids)).to_pylist()
        for row, (here, there) in enumerate(zip(mine, cell_ids, strict=False), start=start + 1):
            if here != there:
                raise AidaError(
                    f"{self.path}: row {row} is cell '{here}', but the counts have '{there}' there. Make it again."
                )
        if len(mine) < len(cell_ids):
            raise AidaError(f"{self.path}: {len(self._ids)} cells, fewer than the file of counts has. Make it again.")


class Pseudobulk:
    """Sums of counts by sample and label.

    Files come sample after sample, or library after library, so that few groups grow at a time: their sums lie dense
    in memory. Those of other groups wait on the disk, non-zeros only; a group that comes back starts from zero, and
    its parts are added up at the end.

    Parameters
    ----------
    name
        The annotator whose labels these are.
    samples, labels
        Names of the samples and of the labels; every pair is a group, empty ones included.
    n_genes
        Number of genes.
    file
        Open for reading and writing, empty: keeps the parts.
    """

    def __init__(self, name: str, samples: Sequence[str], labels: Sequence[str], n_genes: int, file: IO[bytes]):
        self.name, self.samples, self.labels, self.n_genes = name, list(samples), list(labels), n_genes
        n_groups = len(samples) * len(labels)
        self.n_cells = np.zeros(n_groups, dtype=np.int64)
        self._lock = threading.Lock()
        self._sums = np.zeros((max(1, min(n_groups, _RESIDENT // (8 * max(n_genes, 1)))), n_genes), dtype=np.int64)
        #: Group -> its row of `_sums`, the one that waited longest first.
        self._row: dict[int, int] = {}
        self._file = file
        #: Group -> where in the file its parts begin, and their numbers of non-zeros.
        self._parts: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, block: Block, sample: NDArray[np.integer], label: NDArray[np.integer]) -> None:
        """Add a block of cells.

        Parameters
        ----------
        block
            The counts.
        sample, label
            Places in `samples` and `labels`, arrays of shape (n_cells,); -1 is left out.
        """
        group = np.where((sample < 0) | (label < 0), -1, sample.astype(np.int64) * len(self.labels) + label)
        order = np.argsort(group, kind="stable")
        order = order[group[order] >= 0]
        names, first = np.unique(group[order], return_index=True)
        step = len(self._sums)
        with self._lock:
            self.n_cells += np.bincount(group[order], minlength=len(self.n_cells))
            for i in range(0, len(names), step):
                cells = order[first[i] : first[i + step] if i + step < len(names) else len(order)]
                rows = np.full(len(group), -1)
                rows[cells] = self._rows_of(names[i : i + step])[np.searchsorted(names[i : i + step], group[cells])]
                kernels.add_to_groups(block.indptr, block.indices, block.data, rows, cells, self._sums)

    def _rows_of(self, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find or make room in memory for groups, at most as many as there is room for."""
        wanted = groups.tolist()
        for group in wanted:
            if group in self._row:
                self._row[group] = self._row.pop(group)
        for group in wanted:
            if group not in self._row:
                n = len(self._row)
                self._row[group] = n if n < len(self._sums) else self._leave(next(iter(self._row)))
        return np.array([self._row[group] for group in wanted])

    def _leave(self, group: int) -> int:
        """Leave the sums of a group to the disk; return their row, which is zero again."""
        row = self._row.pop(group)
        genes, sums = kernels.take_nonzero(self._sums[row])
        self._parts[group].append((self._file.tell(), len(genes)))
        self._file.write(genes)
        self._file.write(sums)
        return row

    def write(self, path: Path, genes: Genes) -> None:
        """Write the sums as h5ad, once: one row per group, counts in `X`, `sample_id`, `label`, `n_cells` in `obs`."""
        for group in list(self._row):
            self._leave(group)
        write_groups(path, self.name, self.samples, self.labels, self.n_cells, genes, self._read)

    def _read(self, start: int, stop: int) -> sp.csr_matrix:
        """Add the parts of groups start..stop up."""
        rows, total = [], np.zeros(self.n_genes, dtype=np.int64)
        for group in range(start, stop):
            for place, n in self._parts.get(group, []):
                self._file.seek(place)
                genes = np.frombuffer(self._file.read(4 * n), np.int32)
                total[genes] += np.frombuffer(self._file.read(8 * n), np.int64)
            rows.append(kernels.take_nonzero(total))
        indptr = np.cumsum([0, *[len(genes) for genes, _ in rows]])
        indices, data = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return sp.csr_matrix((data, indices, indptr), shape=(len(rows), self.n_genes))


def write_groups(
    path: Path, name: str, samples: Sequence[str], labels: Sequence[str], n_cells: NDArray[np.int64], genes: Genes,
    rows: Any,
) -> None:  # fmt: skip
    """Write sums by group as an h5ad file, some hundred groups at a time.

    Parameters
    ----------
    path
        The file to write.
    name
        The annotator.
    samples, labels
        Their names; groups are all pairs, labels running fastest.
    n_cells
        Cells of each group, array of shape (n_groups,).
    genes
        Names of the columns.
    rows
        Function of a start and a stop that returns the sums of these groups as a CSR matrix of int64.
    """
    from anndata.io import sparse_dataset, write_elem

    n_groups = len(n_cells)
    obs = pd.DataFrame(
        {
            "sample_id": pd.Categorical(np.repeat(list(samples), len(labels)), categories=list(samples)),
            "label": pd.Categorical(np.tile(list(labels), len(samples)), categories=list(labels)),
            "annotator": pd.Categorical([name] * n_groups),
            "n_cells": n_cells,
        },
        index=[f"{s}|{label}" for s in samples for label in labels],
    )
    var = pd.DataFrame({"feature_name": genes.symbols.astype(str)}, index=genes.ids.astype(str))
    with h5py.File(path, "w") as handle:
        handle.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(handle, "obs", obs)
        write_elem(handle, "var", var)
        write_elem(handle, "X", rows(0, min(_ROWS, n_groups)), dataset_kwargs=_STORED)
        for start in range(_ROWS, n_groups, _ROWS):
            cast(Any, sparse_dataset(handle["X"])).append(rows(start, min(start + _ROWS, n_groups)))
