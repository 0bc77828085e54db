"""Arithmetic on one block of a cells x genes count matrix in CSR form. Everything here releases the GIL.

Each cell is worked on by itself, its entries in order of gene: no result depends on the size of the blocks,
the number of threads, or the other cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: What `check_block` found.
FINE, NOT_CANONICAL, NOT_A_COUNT, BAD_INDEX = 0, 1, 2, 3

#: What a probability of 1 is in the sums of `add_probabilities`.
ONE = 2**32

#: What a limit of `thin` is for a cell that keeps everything.
KEEP_ALL = 2**64 - 1
_GAMMA, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

#: Counts of one gene in one cell above this are refused: they would overflow the sums.
MAX_COUNT = 2**31 - 1


@njit(nogil=True, cache=True)
def _is_fine(indptr: Any, indices: Any, data: Any, n_genes: int) -> bool:
    """Whether a block needs no mending and has no error; in a form that the compiler turns into vectors."""
    wrong = 0
    for i in range(len(data)):
        value = data[i]
        if not (value >= 0 and value <= 2147483647.0 and value == np.floor(value)):
            wrong += 1
    for cell in range(len(indptr) - 1):
        genes = indices[indptr[cell] : indptr[cell + 1]]
        n = len(genes)
        if n:
            # If each is above the one before, the first and the last bound them all.
            wrong += (genes[0] < 0) | (genes[n - 1] >= n_genes)
            for p in range(1, n):
                wrong += genes[p] <= genes[p - 1]
    return wrong == 0


@njit(nogil=True, cache=True)
def check_block(indptr: Any, indices: Any, data: Any, n_genes: int) -> tuple[int, int]:
    """Check that a block holds counts in canonical form.

    Parameters
    ----------
    indptr, indices, data
        CSR block: arrays of shape (n_cells + 1,), (n_entries,), (n_entries,).
    n_genes
        Number of columns.

    Returns
    -------
    What was found and at which entry. `NOT_A_COUNT` (negative, fractional, not finite or above
    `MAX_COUNT`) and `BAD_INDEX` (a column outside the matrix) are errors; `NOT_CANONICAL` (a cell's genes
    unsorted or repeated) must be mended by summing duplicates before any other kernel sees the block.
    """
    if _is_fine(indptr, indices, data, n_genes):
        return FINE, -1
    verdict, where = FINE, -1
    for cell in range(len(indptr) - 1):
        previous = -1
        for p in range(indptr[cell], indptr[cell + 1]):
            gene = indices[p]
            if gene < 0 or gene >= n_genes:
                return BAD_INDEX, p
            value = data[p]
            # The negated form also catches NaN.
            if not (value >= 0 and value <= MAX_COUNT) or value != np.int64(value):
                return NOT_A_COUNT, p
            if gene <= previous and verdict == FINE:
                verdict, where = NOT_CANONICAL, p
            previous = gene
    return verdict, where


@njit(nogil=True, cache=True)
def _longest(indptr: Any) -> int:
    """Return the largest number of entries a cell has."""
    longest = 0
    for cell in range(len(indptr) - 1):
        longest = max(longest, indptr[cell + 1] - indptr[cell])
    return longest


@njit(nogil=True, cache=True)
def _find(indices: Any, begin: int, end: int, gene: int) -> int:
    """Return the first entry of a canonical cell whose gene is not below this one."""
    while begin < end:
        middle = (begin + end) >> 1
        if indices[middle] < gene:
            begin = middle + 1
        else:
            end = middle
    return begin


@njit(nogil=True, cache=True)
def draw(seed: np.uint64, i: Any) -> np.uint64:
    """Return the output number i (from 0) of the random number generator SplitMix64 that was started with a seed.

    Its i-th state is the seed plus i times a constant, so any output can be had without those before it: Steele, Lea
    and Flood (2014, OOPSLA, doi:10.1145/2660193.2660195), with the constants of Vigna's splitmix64.
    """
    z = seed + _GAMMA * (np.uint64(i) + np.uint64(1))
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def thin(
    indptr: Any,
    indices: Any,
    data: Any,
    name: NDArray[np.uint64],
    limit: NDArray[np.uint64],
    seed: np.uint64,
) -> Any:
    """Keep every UMI of a cell with the same probability, independently: binomial counts.

    The random number of a UMI depends on seed, cell, gene and its number among the cell's UMIs of the gene, and on
    nothing else. So the result does not depend on how the file is read, and what is kept at a lower probability is a
    part of what is kept at a higher one.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    name
        A number that is the cell's own, array of shape (n_cells,).
    limit
        Probability of being kept times 2**64, array of shape (n_cells,); `KEEP_ALL` for 1.
    seed
        Another seed draws other random numbers.

    Returns
    -------
    The counts that are kept, in the shape and type of `data`, zeros included.
    """
    kept = np.empty_like(data)
    for cell in range(len(indptr) - 1):
        begin, end = indptr[cell], indptr[cell + 1]
        bound = limit[cell]
        if bound == np.uint64(KEEP_ALL):
            kept[begin:end] = data[begin:end]
            continue
        # A generator seeds the next: one output a cell, of that one a gene, of that one a UMI.
        own = draw(name[cell], seed)
        for p in range(begin, end):
            umi = draw(own, indices[p])
            n = 0
            for i in range(np.int64(data[p])):
                n += draw(umi, i) < bound
            kept[p] = n
    return kept


# Sums of whole numbers below 2**53 are exact in any order, so the compiler may choose it.
@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def quality(
    indptr: Any, indices: Any, data: Any, is_mito: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Sum the counts of every cell.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    is_mito
        Which genes are mitochondrial, array of shape (n_genes,).

    Returns
    -------
    Total count, number of genes with a count above zero, and mitochondrial count, arrays of shape (n_cells,).
    """
    n_cells = len(indptr) - 1
    total = np.empty(n_cells, dtype=np.int64)
    n_genes = np.empty(n_cells, dtype=np.int32)
    mito = np.zeros(n_cells, dtype=np.int64)
    mito_genes = np.flatnonzero(is_mito)
    for cell in range(n_cells):
        begin, end = indptr[cell], indptr[cell + 1]
        counts = data[begin:end]
        summed, seen = 0.0, 0
        for i in range(len(counts)):
            summed += counts[i]
            seen += counts[i] > 0
        total[cell] = np.int64(summed)
        n_genes[cell] = seen
        for gene in mito_genes:
            begin = _find(indices, begin, end, gene)  # type: ignore[arg-type]
            if begin < end and indices[begin] == gene:
                mito[cell] += np.int64(data[begin])
    return total, n_genes, mito


@njit(nogil=True, cache=True)
def gather(indptr: Any, indices: Any, data: Any, slot: NDArray[np.int32], n_slots: int) -> NDArray[np.int32]:
    """Pick the counts of a few genes out of every cell.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    slot
        Column of the result each gene is added to, array of shape (n_genes,); -1 for none.
    n_slots
        Number of columns of the result.

    Returns
    -------
    Counts, array of shape (n_cells, n_slots).
    """
    n_cells = len(indptr) - 1
    out = np.zeros((n_cells, n_slots), dtype=np.int32)
    longest = _longest(indptr)
    column = np.empty(longest + 1, dtype=np.int32)
    entry = np.empty(longest + 1, dtype=np.int64)
    for cell in range(n_cells):
        found = 0
        for p in range(indptr[cell], indptr[cell + 1]):
            # Written at every step, kept at few: there is no branch for the processor to guess.
            place = slot[indices[p]]
            column[found] = place
            entry[found] = p
            found += place >= 0
        for i in range(found):
            out[cell, column[i]] += np.int32(data[entry[i]])
    return out


@njit(nogil=True, cache=True)
def linear_scores(
    indptr: Any,
    indices: Any,
    data: Any,
    total: NDArray[np.int64],
    slot: NDArray[np.int32],
    weight: NDArray[np.float64],
    cap: NDArray[np.float64],
    constant: NDArray[np.float64],
    target: float,
) -> NDArray[np.float64]:
    r"""Score cells by a linear classifier on standardised, clipped log1p expression, without making anything dense.

    With :math:`x_g = \log(1 + target \cdot count_g / total)`, CellTypist's score of a class is
    :math:`b + \sum_g \min((x_g - m_g) / s_g, 10) w_g`. Since it clips above only and a gene that was not seen
    (:math:`x_g = 0`) is never clipped, this equals
    :math:`b - \sum_g w_g m_g / s_g + \sum_{g\ seen} \min(x_g, m_g + 10 s_g) w_g / s_g`, exactly.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    total
        Total count of each cell over all genes, array of shape (n_cells,).
    slot
        Feature of the classifier each gene is, array of shape (n_genes,); -1 for none.
    weight
        :math:`w / s`, array of shape (n_features, n_classes).
    cap
        :math:`m + 10 s`, array of shape (n_features,).
    constant
        :math:`b - \sum w m / s` over the features the file has, array of shape (n_classes,).
    target
        Library size cells are scaled to, 10,000 for CellTypist.

    Returns
    -------
    Scores, array of shape (n_cells, n_classes); those of a cell without counts are `constant`.
    """
    n_cells, n_classes = len(indptr) - 1, weight.shape[1]
    scores = np.empty((n_cells, n_classes))
    longest = _longest(indptr)
    feature = np.empty(longest + 1, dtype=np.int32)
    count = np.empty(longest + 1, dtype=data.dtype)
    x = np.empty(longest + 1)
    logs = np.empty(64)
    for cell in range(n_cells):
        found = 0
        for p in range(indptr[cell], indptr[cell + 1]):
            # Written at every step, kept if it is a feature: there is no branch for the processor to guess.
            place = slot[indices[p]]
            feature[found] = place
            count[found] = data[p]
            found += place >= 0
        factor = target / max(total[cell], 1)
        # Most counts are small, so few logarithms are needed.
        logs[:] = -1.0
        for i in range(found):
            n = np.int64(count[i])
            if n >= len(logs):
                value = np.log1p(n * factor)
            else:
                if logs[n] < 0:
                    logs[n] = np.log1p(n * factor)
                value = logs[n]
            x[i] = min(value, cap[feature[i]])
        row = scores[cell]
        row[:] = constant
        # Four features at a time keep a row of scores in registers; the order of the sums stays that of the genes.
        fours = found - found % 4
        for i in range(0, fours, 4):
            a, b, c, d = weight[feature[i]], weight[feature[i + 1]], weight[feature[i + 2]], weight[feature[i + 3]]
            for k in range(n_classes):
                row[k] = (((row[k] + x[i] * a[k]) + x[i + 1] * b[k]) + x[i + 2] * c[k]) + x[i + 3] * d[k]
        for i in range(fours, found):
            a = weight[feature[i]]
            for k in range(n_classes):
                row[k] += x[i] * a[k]
    return scores


@njit(nogil=True, cache=True)
def best_two(scores: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.float64], NDArray[np.float64]]:
    """Find the best and the second best class of every cell.

    Parameters
    ----------
    scores
        Array of shape (n_cells, n_classes), at least two classes.

    Returns
    -------
    The best class (the first of equals), its score, and the runner-up's score, arrays of shape (n_cells,).
    """
    n_cells, n_classes = scores.shape
    label = np.zeros(n_cells, dtype=np.int16)
    first = np.empty(n_cells)
    second = np.empty(n_cells)
    for cell in range(n_cells):
        top, next_top = -np.inf, -np.inf
        for k in range(n_classes):
            value = scores[cell, k]
            if value > top:
                top, next_top, label[cell] = value, top, k
            elif value > next_top:
                next_top = value
        first[cell], second[cell] = top, next_top
    return label, first, second


@njit(nogil=True, cache=True)
def add_to_groups(
    indptr: Any, indices: Any, data: Any, group: NDArray[np.int64], order: NDArray[np.intp], sums: NDArray[np.int64]
) -> None:
    """Add the counts of every cell to the sums of its group, exactly.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    group
        Row of `sums` of each cell, array of shape (n_cells,); -1 for none.
    order
        The cells in the order to visit them; sorted by group it keeps a row of `sums` in cache. No influence
        on the result.
    sums
        Changed in place, array of shape (n_groups, n_genes).
    """
    for cell in order:
        row = group[cell]
        if row >= 0:
            for p in range(indptr[cell], indptr[cell + 1]):
                sums[row, indices[p]] += np.int64(data[p])


@njit(nogil=True, cache=True)
def take_nonzero(sums: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the places and values of the non-zeros of an array, and set it to zero."""
    n = 0
    for i in range(len(sums)):
        n += sums[i] != 0
    places, values = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int64)
    n = 0
    for i in range(len(sums)):
        if sums[i] != 0:
            places[n], values[n] = i, sums[i]
            n += 1
    sums[:] = 0
    return places, values


@njit(nogil=True, cache=True)
def add_probabilities(
    group: NDArray[np.integer],
    label: NDArray[np.integer],
    probabilities: NDArray[np.float64],
    sums: NDArray[np.int64],
) -> None:
    """Add the probabilities of every cell to the sums of its group, exactly.

    Floating-point sums depend on their order. So each probability is rounded to a multiple of 2**-32 first: sums of
    whole numbers of that unit are exact in any order, as int64 up to 2**31 cells and as float64 up to 2**21. The
    rounding errors of a cell, some 1e-9 in all, go to its label, so that every cell adds exactly 1.

    Parameters
    ----------
    group
        Row of `sums` of each cell, array of shape (n_cells,); -1 for none.
    label
        The likeliest class of each cell, array of shape (n_cells,); -1 for a cell to leave out.
    probabilities
        Array of shape (n_cells, n_classes), rows summing to 1.
    sums
        In units of 1 / `ONE`, changed in place, array of shape (n_groups, n_classes).
    """
    for cell in range(len(group)):
        row, best = group[cell], label[cell]
        if row >= 0 and best >= 0:
            left = np.int64(ONE)
            for k in range(probabilities.shape[1]):
                if k != best:
                    share = np.int64(np.rint(probabilities[cell, k] * ONE))
                    sums[row, k] += share
                    left -= share
            sums[row, best] += left


@njit(nogil=True, cache=True)
def add_moments(
    indptr: Any,
    indices: Any,
    data: Any,
    total: NDArray[np.int64],
    label: NDArray[np.integer],
    target: float,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Add log1p expression and its square to the sums of every cell's class.

    Parameters
    ----------
    indptr, indices, data
        Canonical CSR block of counts.
    total
        Total count of each cell, array of shape (n_cells,).
    label
        Class of each cell, array of shape (n_cells,); -1 is left out.
    target
        Library size cells are scaled to.
    sums, squares
        Changed in place, arrays of shape (n_classes, n_genes).
    """
    for cell in range(len(indptr) - 1):
        row = label[cell]
        if row >= 0 and total[cell] > 0:
            factor = target / total[cell]
            for p in range(indptr[cell], indptr[cell + 1]):
                x = np.log1p(data[p] * factor)
                sums[row, indices[p]] += x
                squares[row, indices[p]] += x * x


@njit(nogil=True, cache=True)
def dense_layer(
    values: NDArray[np.float64], weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rectify, multiply and add, cell by cell: a layer of a small network.

    A library's matrix product is faster, but its last bits depend on how many cells come at once.

    Parameters
    ----------
    values
        Array of shape (n_cells, n_in).
    weight, bias
        Arrays of shape (n_in, n_out) and (n_out,).

    Returns
    -------
    Array of shape (n_cells, n_out).
    """
    n_cells, n_out = len(values), weight.shape[1]
    out = np.empty((n_cells, n_out))
    for cell in range(n_cells):
        row = out[cell]
        row[:] = bias
        for i in range(values.shape[1]):
            x = values[cell, i]
            if x > 0:
                for k in range(n_out):
                    row[k] += x * weight[i, k]
    return out
