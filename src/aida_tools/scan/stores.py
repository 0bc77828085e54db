"""The counts of a file, wherever and however they are stored: h5ad, zarr, 10x."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from aida_tools.cohort.read import explain_h5_error, open_h5
from aida_tools.core.errors import AidaError, did_you_mean
from aida_tools.scan.blocks import Counts, Genes, describe_genes
from aida_tools.scan.chunks import ChunkedArray, Scratch, fast

#: Stored values looked at to tell counts from logarithms; every value is checked again when it is scanned.
_PEEK = 10_000

Rows = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

#: The features a scan is of, in the words of 10x and AnnData.
GENES = "Gene Expression"


def _slice(array: Any, begin: int, end: int, name: str, scratch: Scratch | None) -> NDArray[Any]:
    if scratch is None or not isinstance(array, ChunkedArray):
        return np.asarray(array[begin:end])
    return array.read_into(scratch.take(name, end - begin, array.dtype), begin, end)


class _Csr:
    """A CSR matrix in an HDF5 or zarr group."""

    def __init__(self, group: Any, shape: tuple[int, int]):
        self.shape = shape
        self._indptr = group["indptr"][:].astype(np.int64)
        self._indices, self._data = fast(group["indices"]), fast(group["data"])
        n = min(self._indices.shape[0], self._data.shape[0])
        if len(self._indptr) != shape[0] + 1 or self._indptr[-1] > n or (np.diff(self._indptr, prepend=0) < 0).any():
            raise OSError(f"indptr of {group.name} does not fit its matrix of {shape[0]} cells and {n} entries")

    def rows(self, start: int, stop: int, scratch: Scratch | None) -> Rows:
        begin, end = int(self._indptr[start]), int(self._indptr[stop])
        indices, data = (
            _slice(array, begin, end, name, scratch)
            for name, array in (("indices", self._indices), ("data", self._data))
        )
        return self._indptr[start : stop + 1] - begin, indices, data


class _Selected:
    """Some columns of a matrix: those of one type of features."""

    def __init__(self, matrix: Any, chosen: NDArray[np.bool_], path: Path):
        self._matrix, self._columns, self._path = matrix, np.flatnonzero(chosen), path
        self.shape = (matrix.shape[0], len(self._columns))

    def rows(self, start: int, stop: int, scratch: Scratch | None) -> Rows:
        indptr, indices, data = self._matrix.rows(start, stop, scratch)
        n = self._matrix.shape[1]
        if len(indices) and not 0 <= indices.min() <= indices.max() < n:
            raise AidaError(
                f"{self._path}: a feature number beyond the {n} features. The matrix is damaged: get the file again."
            )
        part = sp.csr_matrix((data, indices, indptr), (stop - start, n))[:, self._columns]
        return part.indptr, part.indices, part.data


def _select(matrix: Any, kinds: Any, wanted: str, path: Path) -> tuple[Any, NDArray[np.bool_]]:
    """Keep the features of one type: antibody counts must not enter a cell's total."""
    chosen = np.asarray(kinds) == wanted
    if not chosen.any():
        known = sorted({str(kind) for kind in kinds})
        raise AidaError(f"{path}: none of its features is of the type '{wanted}'. {did_you_mean(wanted, known)}")
    return matrix if chosen.all() else _Selected(matrix, chosen, path), chosen


class _InMemory:
    """Any matrix that fits in memory, as CSR."""

    def __init__(self, matrix: Any):
        self._matrix = sp.csr_matrix(matrix)
        self.shape = self._matrix.shape

    def rows(self, start: int, stop: int, scratch: Scratch | None) -> Rows:
        part = self._matrix[start:stop]
        return part.indptr, part.indices, part.data


class _Dense:
    """A dense array on the disk."""

    def __init__(self, array: Any):
        self._array = array
        self.shape = array.shape

    def rows(self, start: int, stop: int, scratch: Scratch | None) -> Rows:
        part = sp.csr_matrix(self._array[start:stop])
        return part.indptr, part.indices, part.data


def _is_array(item: Any) -> bool:
    return hasattr(item, "dtype")


def _stored_values(item: Any) -> NDArray[Any]:
    """Return some of the values of a matrix, from its beginning and its end."""
    if _is_array(item):
        n = max(1, _PEEK // max(1, item.shape[1]))
        return np.concatenate([item[:n].ravel(), item[max(n, item.shape[0] - n) :].ravel()])
    data, half = item["data"], _PEEK // 2
    return np.concatenate([data[:half], data[max(half, data.shape[0] - half) :]])


def _not_counts(values: NDArray[Any]) -> NDArray[Any]:
    return values[~((values >= 0) & (values == np.round(values)))]


def _matrix(item: Any) -> Any:
    """Open a matrix of an h5ad or zarr store."""
    if _is_array(item):
        return _Dense(item)
    encoding = item.attrs.get("encoding-type", item.attrs.get("h5sparse_format", "csr"))
    encoding = encoding.decode() if isinstance(encoding, bytes) else str(encoding)
    if encoding.startswith("csr"):
        n_cells, n_genes = item.attrs["shape" if "shape" in item.attrs else "h5sparse_shape"]
        return _Csr(item, (int(n_cells), int(n_genes)))
    from anndata.io import sparse_dataset

    # Cells of a CSC matrix lie scattered over all of it.
    return _InMemory(sparse_dataset(item).to_memory())


def _layers(store: Any) -> dict[str, tuple[str, str]]:
    """List the matrices of a store: layer -> its place and the place of its genes, likeliest counts first."""
    found = {}
    if "raw" in store and not _is_array(store["raw"]) and "X" in store["raw"]:
        found["raw"] = ("raw/X", "raw/var")
    if "X" in store:
        found["X"] = ("X", "var")
    names = list(store["layers"]) if "layers" in store else []
    # A layer called `counts` is meant as counts; others come in the order of the file.
    for name in sorted(names, key=lambda n: (n != "counts", names.index(n))):
        found[f"layers/{name}"] = (f"layers/{name}", "var")
    return found


def _choose_layer(store: Any, places: dict[str, tuple[str, str]], layer: str, path: Path) -> str:
    """Return the layer that holds counts, or say why there is none."""
    odd = {name: _not_counts(_stored_values(store[place])) for name, (place, _) in places.items()}
    whole = [name for name, values in odd.items() if not len(values)]
    elsewhere = (
        f"Whole numbers are in: {', '.join(whole)}. Set 'counts_layer: {whole[0]}' in the cohort file."
        if whole
        else "No layer of this file holds whole numbers, so it has no raw counts. Get a file with raw counts."
    )
    if layer == "auto":
        if not whole:
            raise AidaError(f"{path}: no raw counts: looked in {', '.join(places)}. {elsewhere}")
        return whole[0]
    if layer not in places:
        hint = did_you_mean(layer, places)
        raise AidaError(
            f"{path}: there is no layer '{layer}' (key 'counts_layer' of the cohort file). {hint} {elsewhere}"
        )
    if layer not in whole:
        raise AidaError(
            f"{path}: layer '{layer}' holds values such as {odd[layer][0]:g}, which are not counts. {elsewhere}"
        )
    return layer


def _cell_ids(obs: Any) -> Callable[[int, int], NDArray[np.object_]]:
    """Return a function that reads a range of obs names, which may be stored in several ways."""
    from anndata.io import read_elem

    index = obs if _is_array(obs) else obs[str(obs.attrs.get("_index", "_index"))]
    if isinstance(index, h5py.Group) and "values" in index:
        index = index["values"]
    if isinstance(index, h5py.Dataset) and h5py.check_string_dtype(index.dtype):
        return lambda start, stop: index.asstr()[start:stop]
    table = read_elem(obs) if index is obs else read_elem(index)
    names = np.asarray(table.index if isinstance(table, pd.DataFrame) else table).astype(str).astype(object)
    return lambda start, stop: names[start:stop]


def _open_anndata(store: Any, path: Path, layer: str, feature_type: str) -> Counts:
    """Open the counts of an AnnData store, an HDF5 file or a zarr group."""
    from anndata.io import read_elem

    places = _layers(store)
    if "obs" not in store or not places:
        raise AidaError(f"{path}: no matrix and table of cells of AnnData. It holds: {', '.join(store) or 'nothing'}.")
    chosen = _choose_layer(store, places, layer, path)
    place, var_place = places[chosen]
    var = cast(pd.DataFrame, read_elem(store[var_place]))
    matrix = _matrix(store[place])
    if "feature_types" in var:
        matrix, chosen_features = _select(matrix, var["feature_types"].astype(str), feature_type, path)
        var = var[chosen_features]
    elif feature_type != GENES:
        raise AidaError(
            f"{path}: var has no column 'feature_types' that would say which features are '{feature_type}'."
        )
    return Counts(path, chosen, matrix, describe_genes(var), _cell_ids(store["obs"]))


def _open_10x_h5(handle: h5py.File, path: Path, feature_type: str) -> Counts:
    """Open a 10x `.h5` file: its columns are cells, so its CSC is our CSR."""
    groups = [g for g in handle if isinstance(handle[g], h5py.Group) and "barcodes" in handle[g]]
    if len(groups) != 1:
        raise AidaError(f"{path}: not a 10x .h5 matrix of one genome: {len(groups)} matrices found.")
    group = handle[groups[0]]

    def text(name: str) -> NDArray[np.object_]:
        return group[name].asstr()[:]

    if "features" in group:
        ids, symbols, kinds = text("features/id"), text("features/name"), text("features/feature_type")
    else:
        ids, symbols = text("genes"), text("gene_names")
        kinds = np.full(len(ids), GENES, dtype=object)
    n_genes, n_cells = (int(n) for n in group["shape"][:])
    matrix, chosen = _select(_Csr(group, (n_cells, n_genes)), kinds, feature_type, path)
    genes = Genes(ids[chosen], symbols[chosen])
    return Counts(path, "X", matrix, genes, lambda a, b: group["barcodes"].asstr()[a:b])


def _find(folder: Path, *names: str) -> Path:
    """Find a file of a 10x folder under one of its names, compressed or not."""
    for name in names:
        for file in (folder / f"{name}.gz", folder / name):
            if file.is_file():
                return file
    raise AidaError(
        f"{folder}: no {names[0]}.gz. A 10x folder holds matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz."
    )


def _open_10x_mtx(path: Path, feature_type: str) -> Counts:
    from scipy.io import mmread

    features = pd.read_csv(_find(path, "features.tsv", "genes.tsv"), sep="\t", header=None, dtype=str)
    barcodes = pd.read_csv(_find(path, "barcodes.tsv"), sep="\t", header=None, dtype=str)[0].to_numpy(object)
    try:
        matrix = mmread(_find(path, "matrix.mtx"), spmatrix=False).T
    except (OSError, ValueError, EOFError) as error:
        raise AidaError(f"{path}: matrix.mtx cannot be read ({error}). Get the folder again.") from error
    if matrix.shape != (len(barcodes), len(features)):
        raise AidaError(
            f"{path}: the matrix is of {matrix.shape[1]} genes x {matrix.shape[0]} cells, but there are "
            f"{len(features)} features and {len(barcodes)} barcodes. Get the folder again."
        )
    # Old folders hold genes only and do not say so.
    kinds = features[2] if features.shape[1] > 2 else np.full(len(features), GENES, dtype=object)
    counted, chosen = _select(_InMemory(matrix), kinds, feature_type, path)
    features = features[np.asarray(chosen)]
    described = Genes(features[0].to_numpy(object), features[1 if features.shape[1] > 1 else 0].to_numpy(object))
    return Counts(path, "X", counted, described, lambda a, b: barcodes[a:b])


@contextmanager
def open_counts(path: Path, kind: str = "h5ad", layer: str = "auto", feature_type: str = GENES) -> Iterator[Counts]:
    """Open the raw counts of a file.

    CSR matrices are read block by block, gzip-compressed HDF5 ones by far the fastest; dense ones block by block;
    CSC matrices and 10x folders are read into memory as a whole.

    Parameters
    ----------
    path
        File, or folder for zarr and `10x-mtx`.
    kind
        `h5ad` (a folder is taken as a zarr store of AnnData), `10x-h5` or `10x-mtx`.
    layer
        `X`, `raw`, `layers/<name>`, or `auto`: the first of raw, X and the layers with whole numbers.
    feature_type
        The type of features to read, where a file holds several (column `feature_types` of var).

    Raises
    ------
    AidaError
        If the file cannot be read, has no such features, or the layer holds no counts; it says which layer does.
    """
    if kind == "10x-mtx":
        yield _open_10x_mtx(path, feature_type)
    elif kind == "h5ad" and path.is_dir():
        import zarr

        try:
            store = zarr.open_group(path, mode="r")
        except (OSError, ValueError) as error:
            raise AidaError(f"{path}: a folder, but no zarr store of AnnData ({error}).") from error
        yield _open_anndata(store, path, layer, feature_type)
    else:
        with open_h5(path) as handle:
            try:
                if kind == "10x-h5":
                    counts = _open_10x_h5(handle, path, feature_type)
                else:
                    counts = _open_anndata(handle, path, layer, feature_type)
            except (OSError, KeyError) as error:
                raise AidaError(explain_h5_error(path, error)) from error
            yield counts
