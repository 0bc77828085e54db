"""The counts of a file as blocks of rows, wherever and however they are stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.cohort.read import explain_h5_error, open_h5
from aida_tools.errors import AidaError, did_you_mean
from aida_tools.scan import kernels
from aida_tools.scan.chunks import fast

#: Stored values looked at to tell counts from logarithms; every value is checked again when it is scanned.
_PEEK = 10_000
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

    def read(self, start: int, stop: int) -> Block:
        """Read and check the cells start..stop.

        Raises
        ------
        AidaError
            If a value is not a count, naming cell, gene and value; if the file is damaged.
        """
        try:
            block = Block(start, *self._matrix.rows(start, stop))
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


class _Csr:
    """A CSR matrix in an HDF5 or zarr group."""

    def __init__(self, group: Any, shape: tuple[int, int]):
        self.shape = shape
        self._indptr = group["indptr"][:].astype(np.int64)
        self._indices, self._data = fast(group["indices"]), fast(group["data"])
        n = min(len(self._indices), len(self._data))
        if len(self._indptr) != shape[0] + 1 or self._indptr[-1] > n or (np.diff(self._indptr, prepend=0) < 0).any():
            msg = f"indptr of {group.name} does not fit its matrix of {shape[0]} cells and {n} entries"
            raise OSError(msg)

    def rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        begin, end = int(self._indptr[start]), int(self._indptr[stop])
        return self._indptr[start : stop + 1] - begin, self._indices[begin:end], self._data[begin:end]

    def peek(self) -> NDArray[Any]:
        n, half = int(self._indptr[-1]), _PEEK // 2
        return np.concatenate([self._data[: min(n, half)], self._data[max(half, n - half) : n]])


class _InMemory:
    """Any matrix that fits in memory, as CSR."""

    def __init__(self, matrix: Any, columns: NDArray[np.intp] | None = None):
        self._matrix = sp.csr_matrix(matrix)
        if columns is not None:
            self._matrix = self._matrix[:, columns]
        self.shape = self._matrix.shape

    def rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        part = self._matrix[start:stop]
        return part.indptr, part.indices, part.data

    def peek(self) -> NDArray[Any]:
        return self._matrix.data[:_PEEK]


class _Dense:
    """A dense matrix in an HDF5 dataset."""

    def __init__(self, dataset: h5py.Dataset):
        self._dataset = dataset
        self.shape = dataset.shape

    def rows(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        part = sp.csr_matrix(self._dataset[start:stop])
        return part.indptr, part.indices, part.data

    def peek(self) -> NDArray[Any]:
        return self._dataset[: max(1, _PEEK // max(1, self.shape[1]))].ravel()


def _are_counts(values: NDArray[Any]) -> bool:
    return bool(((values >= 0) & (values == np.round(values))).all())


def _layers(handle: h5py.File) -> dict[str, tuple[str, str]]:
    """List the matrices of an h5ad file: layer -> its place and the place of its genes, likeliest counts first."""
    found = {}
    if "raw" in handle and "X" in handle["raw"]:
        found["raw"] = ("raw/X", "raw/var")
    if "X" in handle:
        found["X"] = ("X", "var")
    names = list(handle["layers"]) if "layers" in handle else []
    # A layer called `counts` is meant as counts; others come in the order of the file.
    for name in sorted(names, key=lambda n: (n != "counts", names.index(n))):
        found[f"layers/{name}"] = (f"layers/{name}", "var")
    return found


def _h5ad_matrix(handle: h5py.File, place: str) -> Any:
    item = handle[place]
    if isinstance(item, h5py.Dataset):
        return _Dense(item)
    encoding = item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", b"csr"))
    encoding = encoding.decode() if isinstance(encoding, bytes) else str(encoding)
    if encoding.startswith("csr"):
        n_cells, n_genes = item.attrs["shape" if "shape" in item.attrs else "h5sparse_shape"]
        return _Csr(item, (int(n_cells), int(n_genes)))
    from anndata.io import sparse_dataset

    return _InMemory(sparse_dataset(item).to_memory())


def _choose_layer(matrices: dict[str, Any], layer: str, path: Path) -> str:
    """Return the layer that holds counts, or say why there is none."""
    whole = [name for name, matrix in matrices.items() if _are_counts(matrix.peek())]
    elsewhere = (
        f"Whole numbers are in: {', '.join(whole)}. Set 'counts_layer: {whole[0]}' in the cohort file."
        if whole
        else "No layer of this file holds whole numbers, so it has no raw counts. Get a file with raw counts."
    )
    if layer == "auto":
        if not whole:
            msg = f"{path}: no raw counts: looked in {', '.join(matrices) or 'nothing'}. {elsewhere}"
            raise AidaError(msg)
        return whole[0]
    if layer not in matrices:
        hint = did_you_mean(layer, matrices)
        msg = f"{path}: there is no layer '{layer}' (key 'counts_layer' of the cohort file). {hint} {elsewhere}"
        raise AidaError(msg)
    if layer not in whole:
        values = matrices[layer].peek()
        value = values[~((values >= 0) & (values == np.round(values)))][0]
        msg = f"{path}: layer '{layer}' holds values such as {value:g}, which are not counts. {elsewhere}"
        raise AidaError(msg)
    return layer


def _cell_ids(obs: Any) -> Callable[[int, int], NDArray[np.object_]]:
    """Return a function that reads a range of obs names, which may be stored in several ways."""
    from anndata.io import read_elem

    index = obs if isinstance(obs, h5py.Dataset) else obs[str(obs.attrs.get("_index", "_index"))]
    if isinstance(index, h5py.Group) and "values" in index:
        index = index["values"]
    if isinstance(index, h5py.Dataset) and h5py.check_string_dtype(index.dtype):
        return lambda start, stop: index.asstr()[start:stop]
    table = read_elem(obs) if index is obs else read_elem(index)
    names = np.asarray(table.index if isinstance(table, pd.DataFrame) else table).astype(str).astype(object)
    return lambda start, stop: names[start:stop]


def _open_h5ad(handle: h5py.File, path: Path, layer: str) -> Counts:
    from anndata.io import read_elem

    places = _layers(handle)
    if "obs" not in handle or not places:
        msg = f"{path}: not an .h5ad file with a matrix. It holds: {', '.join(handle) or 'nothing'}."
        raise AidaError(msg)
    chosen = _choose_layer({name: _h5ad_matrix(handle, place) for name, (place, _) in places.items()}, layer, path)
    place, var_place = places[chosen]
    var = cast(pd.DataFrame, read_elem(handle[var_place]))
    return Counts(path, chosen, _h5ad_matrix(handle, place), describe_genes(var), _cell_ids(handle["obs"]))


def _open_10x_h5(handle: h5py.File, path: Path) -> Counts:
    """Open a 10x `.h5` file: its columns are cells, so its CSC is our CSR."""
    groups = [g for g in handle if isinstance(handle[g], h5py.Group) and "barcodes" in handle[g]]
    if len(groups) != 1:
        msg = f"{path}: not a 10x .h5 matrix of one genome: {len(groups)} matrices found."
        raise AidaError(msg)
    group = handle[groups[0]]
    text = lambda name: group[name].asstr()[:]  # noqa: E731
    if "features" in group:
        ids, symbols, kinds = text("features/id"), text("features/name"), text("features/feature_type")
    else:
        ids, symbols = text("genes"), text("gene_names")
        kinds = np.full(len(ids), "Gene Expression")
    n_genes, n_cells = (int(n) for n in group["shape"][:])
    matrix: Any = _Csr(group, (n_cells, n_genes))
    expression = np.flatnonzero(kinds == "Gene Expression")
    if len(expression) < n_genes:
        # Antibody counts must not enter a cell's total.
        matrix = _InMemory(
            sp.csr_matrix((group["data"][:], group["indices"][:], group["indptr"][:]), (n_cells, n_genes)), expression
        )
    genes = Genes(ids[expression], symbols[expression])
    return Counts(path, "X", matrix, genes, lambda a, b: group["barcodes"].asstr()[a:b])


def _open_10x_mtx(path: Path) -> Counts:
    from scipy.io import mmread

    def find(*names: str) -> Path:
        for name in names:
            for file in (path / f"{name}.gz", path / name):
                if file.is_file():
                    return file
        msg = f"{path}: no {names[0]}.gz. A 10x folder holds matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz."
        raise AidaError(msg)

    features = pd.read_csv(find("features.tsv", "genes.tsv"), sep="\t", header=None, dtype=str)
    barcodes = pd.read_csv(find("barcodes.tsv"), sep="\t", header=None, dtype=str)[0].to_numpy(object)
    try:
        matrix = mmread(find("matrix.mtx"), spmatrix=False).T
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path}: matrix.mtx cannot be read ({error}). Get the folder again."
        raise AidaError(msg) from error
    if matrix.shape != (len(barcodes), len(features)):
        msg = (
            f"{path}: the matrix is of {matrix.shape[1]} genes x {matrix.shape[0]} cells, but there are "
            f"{len(features)} features and {len(barcodes)} barcodes. Get the folder again."
        )
        raise AidaError(msg)
    expression = np.arange(len(features))
    if features.shape[1] > 2:
        expression = np.flatnonzero(features[2] == "Gene Expression")
    genes = features.iloc[expression]
    described = Genes(genes[0].to_numpy(object), genes[1 if features.shape[1] > 1 else 0].to_numpy(object))
    return Counts(path, "X", _InMemory(matrix, expression), described, lambda a, b: barcodes[a:b])


@contextmanager
def open_counts(path: Path, kind: str = "h5ad", layer: str = "auto") -> Iterator[Counts]:
    """Open the raw counts of a file.

    Parameters
    ----------
    path
        File, or folder for `10x-mtx`.
    kind
        `h5ad`, `10x-h5` or `10x-mtx`.
    layer
        `X`, `raw`, `layers/<name>`, or `auto`: the first of raw, X and the layers with whole numbers.

    Raises
    ------
    AidaError
        If the file cannot be read, or the layer holds no counts; it says which layer does.
    """
    if kind == "10x-mtx":
        yield _open_10x_mtx(path)
        return
    with open_h5(path) as handle:
        try:
            counts = _open_10x_h5(handle, path) if kind == "10x-h5" else _open_h5ad(handle, path, layer)
        except (OSError, KeyError) as error:
            raise AidaError(explain_h5_error(path, error)) from error
        yield counts
