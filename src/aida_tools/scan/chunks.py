"""Fast reading of long one-dimensional HDF5 arrays: raw chunks out of the file, inflated here.

HDF5 inflates one chunk at a time with zlib while it holds a lock. Taking the chunks as they lie in the file and
inflating them with ISA-L outside any lock is several times faster and uses every core.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE


class ChunkedArray:
    """A chunked one-dimensional dataset, possibly shuffled and deflated, that is sliced without HDF5's filters.

    Slicing is safe from several threads at once.
    """

    def __init__(self, dataset: h5py.Dataset):
        self._dataset = dataset
        self.dtype: np.dtype[Any] = dataset.dtype
        self._n, self._step = dataset.shape[0], dataset.chunks[0]
        plist = dataset.id.get_create_plist()
        self._filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]

    @staticmethod
    def supports(dataset: h5py.Dataset) -> bool:
        """Whether a dataset is laid out in a way this class reads."""
        if dataset.ndim != 1 or dataset.chunks is None or dataset.dtype.kind not in "iuf":
            return False
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        return filters in ([], [_DEFLATE], [_SHUFFLE, _DEFLATE])

    @property
    def shape(self) -> tuple[int]:
        """The length, as a shape."""
        return (self._n,)

    def __getitem__(self, key: slice) -> NDArray[Any]:
        start, stop, _ = key.indices(self._n)
        return self.read_into(np.empty(max(stop - start, 0), dtype=self.dtype), start, stop)

    def read_into(self, out: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Read the entries start..stop into an array of that length; return it."""
        for first in range(start - start % self._step, stop, self._step):
            begin, end = max(start, first), min(stop, first + self._step)
            out[begin - start : end - start] = self._chunk(first)[begin - first : end - first]
        return out

    def _chunk(self, first: int) -> NDArray[Any]:
        """Return the chunk that begins at an entry.

        Raises
        ------
        OSError
            If it is not in the file or not what it should be.
        """
        skipped, raw = self._dataset.id.read_direct_chunk((first,))
        size = self._step * self.dtype.itemsize
        for i in reversed(range(len(self._filters))):
            if skipped & (1 << i):
                continue
            if self._filters[i] == _DEFLATE:
                try:
                    raw = isal_zlib.decompress(raw, bufsize=size)
                except igzip_lib.IsalError as error:  # type: ignore[misc]
                    raise OSError(f"the chunk at entry {first} cannot be inflated: {error}") from error
            else:
                raw = np.frombuffer(raw, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        if len(raw) != size:
            raise OSError(f"the chunk at entry {first} has {len(raw)} bytes instead of {size}")
        return np.frombuffer(raw, dtype=self.dtype)


class Scratch:
    """Arrays that are used again and again by one thread.

    Reading a long file makes and frees arrays of some megabytes, never of quite the same size, and the memory of the
    process would grow with the holes they leave.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of n entries; what was taken under this name before is overwritten."""
        array = self._arrays.get(name)
        if array is None or len(array) < n or array.dtype != dtype:
            array = self._arrays[name] = np.empty(n + n // 4, dtype=dtype)
        return array[:n]


def fast(dataset: Any) -> Any:
    """Return the dataset as a `ChunkedArray` if its layout allows, else as it is."""
    return ChunkedArray(dataset) if isinstance(dataset, h5py.Dataset) and ChunkedArray.supports(dataset) else dataset
