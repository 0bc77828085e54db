"""Sums of counts by sample and label, exact, in a file as large as they need and in little memory."""

from __future__ import annotations

import mmap
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.errors import AidaError
from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Genes
from aida_tools.tables import read_cells

#: Bytes of sums that may lie in memory before they are left to the disk.
_RESIDENT = 128 * 2**20
#: Groups written at a time.
_ROWS = 256


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
                msg = f"{self.path}: row {row} is cell '{here}', but the counts have '{there}' there. Make it again."
                raise AidaError(msg)
        if len(mine) < len(cell_ids):
            msg = f"{self.path}: {len(self._ids)} cells, fewer than the file of counts has. Make it again."
            raise AidaError(msg)


class Pseudobulk:
    """Sums of counts by sample and label.

    Parameters
    ----------
    name
        The annotator whose labels these are.
    samples, labels
        Names of the samples and of the labels; every pair is a group, empty ones included.
    n_genes
        Number of genes.
    folder
        Where the sums are kept while they grow: a file with holes, 8 bytes a gene and group that has cells.
    """

    def __init__(self, name: str, samples: Sequence[str], labels: Sequence[str], n_genes: int, folder: Path):
        self.name, self.samples, self.labels, self.n_genes = name, list(samples), list(labels), n_genes
        n_groups = len(samples) * len(labels)
        self.n_cells = np.zeros(n_groups, dtype=np.int64)
        self._lock = threading.Lock()
        self._touched = 0
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(n_groups * n_genes * 8, 1))
            self._map = mmap.mmap(file.fileno(), 0)
        self._sums: NDArray[np.int64] = np.frombuffer(self._map, np.int64, n_groups * n_genes).reshape(-1, n_genes)

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
        with self._lock:
            self.n_cells += np.bincount(group[group >= 0], minlength=len(self.n_cells))
            kernels.add_to_groups(block.indptr, block.indices, block.data, group, order, self._sums)
            self._touched += len(np.unique(group)) * self.n_genes * 8
            if self._touched > _RESIDENT:
                self._release()

    def _release(self) -> None:
        """Let the pages of the sums leave this process; the file keeps them."""
        self._map.madvise(mmap.MADV_DONTNEED)
        self._touched = 0

    def write(self, path: Path, genes: Genes) -> None:
        """Write the sums as h5ad: a row a group, counts in `X`, `sample_id`, `label`, `n_cells` in `obs`."""
        write_groups(path, self.name, self.samples, self.labels, self.n_cells, genes, self._rows)
        self._release()

    def _rows(self, start: int, stop: int) -> sp.csr_matrix:
        rows = sp.csr_matrix(self._sums[start:stop])
        self._release()
        return rows


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
        write_elem(handle, "X", rows(0, min(_ROWS, n_groups)), dataset_kwargs={"compression": "gzip"})
        for start in range(_ROWS, n_groups, _ROWS):
            cast(Any, sparse_dataset(handle["X"])).append(rows(start, min(start + _ROWS, n_groups)))
