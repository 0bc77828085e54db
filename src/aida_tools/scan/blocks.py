"""Blocks of cells: counts in canonical form, with the names of their genes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.cohort.read import explain_h5_error
from aida_tools.core.errors import AidaError
from aida_tools.scan import kernels
from aida_tools.scan.chunks import Scratch

_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{11}(\.\d+)?")
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "name")
_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl", "feature_id", "id")


@dataclass(frozen=True)
class Block:
    """Consecutive cells as a CSR matrix: counts in canonical form (genes of a cell sorted, none repeated).

    Attributes
    ----------
    start
        Row of the first cell in the file.
    indptr, indices, data
        Arrays of shape (n_cells + 1,), (n_entries,), (n_entries,).
    """

    start: int
    indptr: NDArray[np.integer]
    indices: NDArray[np.integer]
    data: NDArray[Any]

    def __len__(self) -> int:
        return len(self.indptr) - 1


@dataclass(frozen=True)
class Genes:
    """The columns of a count matrix.

    Attributes
    ----------
    ids
        Ensembl ids without version, or the symbols where a file has no ids; array of shape (n_genes,).
    symbols
        Gene symbols, or the ids where a file has no symbols; array of shape (n_genes,), possibly with repeats.
    """

    ids: NDArray[np.object_]
    symbols: NDArray[np.object_]

    def slots(self, names: tuple[str, ...]) -> tuple[NDArray[np.int32], list[str]]:
        """Map genes to the columns of a list of symbols.

        Returns
        -------
        For each gene its place in `names` or -1, array of shape (n_genes,), and the names no gene has.
        Genes that share a symbol share its place.
        """
        place = pd.Index(names).get_indexer(pd.Index(self.symbols))
        absent = sorted(set(names) - {names[i] for i in place if i >= 0})
        return place.astype(np.int32), absent

    @property
    def is_mito(self) -> NDArray[np.bool_]:
        """Which genes are on the mitochondrial chromosome, by the `MT-` of their symbol."""
        return np.array([str(s).upper().startswith("MT-") for s in self.symbols])


def describe_genes(var: pd.DataFrame) -> Genes:
    """Find gene ids and symbols in a table of genes whose index is either of them."""
    index = var.index.astype(str)
    ensembl = pd.Series(index).str.fullmatch(_ENSEMBL.pattern)

    def column(names: tuple[str, ...]) -> Any:
        found = [c for c in names if c in var.columns]
        return var[found[0]].astype(str) if found else index

    is_id = bool(len(index)) and ensembl.mean() > 0.5
    ids = index if is_id else column(_ID_COLUMNS)
    symbols = column(_SYMBOL_COLUMNS) if is_id else index
    return Genes(
        np.array([str(i).split(".")[0] if str(i).startswith("ENS") else str(i) for i in ids], dtype=object),
        np.array([str(s) for s in symbols], dtype=object),
    )


class Counts:
    """A count matrix on the disk, read in blocks of cells.

    Attributes
    ----------
    path
        The file.
    layer
        Where in it the counts are (`X`, `raw`, `layers/<name>`).
    shape
        Numbers of cells and of genes.
    genes
        Ids and symbols of the genes.
    """

    def __init__(self, path: Path, layer: str, matrix: Any, genes: Genes, cell_ids: Callable[[int, int], Any]):
        self.path, self.layer, self.genes = path, layer, genes
        self._matrix, self._cell_ids = matrix, cell_ids
        self.shape: tuple[int, int] = matrix.shape

    def cell_ids(self, start: int, stop: int) -> NDArray[np.object_]:
        """Return the ids (barcodes) of the cells start..stop."""
        return self._cell_ids(start, stop)

    def read(self, start: int, stop: int, scratch: Scratch | None = None) -> Block:
        """Read and check the cells start..stop.

        Parameters
        ----------
        start, stop
            Rows of the file.
        scratch
            Where the block may lie; the next block read with it overwrites this one.

        Raises
        ------
        AidaError
            If a value is not a count, naming cell, gene and value; if the file is damaged.
        """
        try:
            block = Block(start, *self._matrix.rows(start, stop, scratch))
        except OSError as error:
            raise AidaError(explain_h5_error(self.path, error)) from error
        verdict, where = kernels.check_block(block.indptr, block.indices, block.data, self.shape[1])
        if verdict == kernels.FINE:
            return block
        if verdict == kernels.NOT_CANONICAL:
            return _canonical(block, self.shape[1])
        cell = start + int(np.searchsorted(block.indptr, where, side="right")) - 1
        gene, value = int(block.indices[where]), block.data[where]
        if verdict == kernels.BAD_INDEX:
            msg = (
                f"{self.path}: {self.layer}, cell {cell + 1}: gene number {gene} of {self.shape[1]} genes. "
                "The matrix is damaged: get the file again."
            )
        else:
            name = self.genes.symbols[gene]
            msg = f"{self.path}: {self.layer}, cell {cell + 1}, gene {name}: value {value:g} is not a count. "
            msg += "Name the layer with raw counts under 'counts_layer' in the cohort file."
        raise AidaError(msg)


def _canonical(block: Block, n_genes: int) -> Block:
    """Sort the genes of every cell and add up repeated ones."""
    # int64 first: sums of float32 counts above 2**24 would be rounded.
    matrix = sp.csr_matrix(
        (block.data.astype(np.int64), block.indices.copy(), block.indptr.copy()), shape=(len(block), n_genes)
    )
    matrix.sum_duplicates()
    return Block(block.start, matrix.indptr, matrix.indices, matrix.data)
