"""A pass over the counts: blocks of cells worked on in threads, their results in the order of the file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aida_tools.scan import kernels
from aida_tools.scan.blocks import Block, Counts
from aida_tools.scan.chunks import Scratch

#: Cells of a block.
BLOCK = 2048


def each_block[T](
    counts: Counts,
    work: Callable[[Block], T],
    step: str,
    *,
    threads: int,
    size: int = BLOCK,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[tuple[slice, T]]:
    """Do some work on every block, in threads; give the rows of each and its result, in order of the file.

    Parameters
    ----------
    counts
        The matrix.
    work
        What to do with a block. What it returns must not lie in the block's memory, which the next block overwrites.
    step
        Name of the work, for the progress bar.
    threads, size
        Threads at work and cells per block: purely settings of memory and speed.
    start, stop
        Rows of the file; all by default.
    """
    local = threading.local()
    end = counts.shape[0] if stop is None else stop

    def read(first: int) -> T:
        if not hasattr(local, "scratch"):
            local.scratch = Scratch()
        return work(counts.read(first, min(first + size, end), local.scratch))

    waiting: deque[tuple[int, Future[T]]] = deque()
    with (
        tqdm(total=end - start, unit=" cells", desc=step, delay=2, disable=None) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        try:
            firsts = iter(range(start, end, size))
            while True:
                while len(waiting) <= 2 * threads and (first := next(firsts, None)) is not None:
                    waiting.append((first, pool.submit(read, first)))
                if not waiting:
                    return
                first, future = waiting.popleft()
                rows = slice(first, min(first + size, end))
                yield rows, future.result()
                bar.update(rows.stop - rows.start)
        finally:
            for _, future in waiting:
                future.cancel()


def cell_totals(block: Block, n_genes: int) -> NDArray[np.int64]:
    """Return the total count of each cell of a block, shape (n_cells,)."""
    nothing = np.zeros(n_genes, dtype=bool)
    found: NDArray[np.int64] = kernels.quality(block.indptr, block.indices, block.data, nothing)[0]
    return found
