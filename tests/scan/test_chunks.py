"""Raw chunks inflated here, against h5py's own reading."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from aida_tools.scan.chunks import ChunkedArray, fast


@pytest.mark.parametrize("dtype", ["<f4", "<i8", "<u2", ">i4"])
@pytest.mark.parametrize(
    "options",
    [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"chunks": (100,)},
        {"chunks": (100,), "compression": "gzip", "compression_opts": 0},
    ],
)
def test_slices_equal_those_of_h5py(tmp_path: Path, dtype: str, options: dict) -> None:
    values = np.random.default_rng(0).poisson(3, 1003).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        dataset = handle.create_dataset("x", data=values, **({"chunks": (64,)} | options))
        array = fast(dataset)
        assert isinstance(array, ChunkedArray)
        for start, stop in ((0, 1003), (0, 0), (63, 65), (64, 128), (5, 900), (1002, 1003), (1000, 2000)):
            np.testing.assert_array_equal(array[start:stop], dataset[start:stop])


@pytest.mark.parametrize(
    "options", [{}, {"compression": "lzf"}, {"compression": "gzip", "fletcher32": True}, {"scaleoffset": 0}]
)
def test_other_layouts_are_left_to_h5py(tmp_path: Path, options: dict) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        dataset = handle.create_dataset("x", data=np.arange(1000, dtype=np.int32), **options)
        assert fast(dataset) is dataset


def test_chunks_stored_without_compression_are_read(tmp_path: Path) -> None:
    """HDF5 may leave out a filter for a single chunk."""
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        dataset = handle.create_dataset("x", (200,), "<i4", chunks=(100,), compression="gzip")
        dataset[:100] = np.arange(100)
        dataset.id.write_direct_chunk((100,), np.arange(100, 200, dtype="<i4").tobytes(), filter_mask=1)
        np.testing.assert_array_equal(ChunkedArray(dataset)[:], np.arange(200))


@pytest.mark.parametrize("content", [b"x", b"not deflated", None])
def test_a_damaged_chunk_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    import zlib

    # None: a chunk that inflates well, but to another length.
    content = zlib.compress(b"1234") if content is None else content
    with h5py.File(tmp_path / "x.h5", "w") as handle:
        dataset = handle.create_dataset("x", data=np.arange(200, dtype="<i4"), chunks=(100,), compression="gzip")
        dataset.id.write_direct_chunk((100,), content)
        array = ChunkedArray(dataset)
        np.testing.assert_array_equal(array[:100], np.arange(100))
        with pytest.raises(OSError, match="the chunk at entry 100"):
            array[50:150]
