"""Counting codes into a table of counters, and reading the counters of codes."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_counts", "scatter_add"]

#: Rows of codes that are counted at a time: few enough that their cache lines are still there for the next
#: columns.
BLOCK = 256
#: Columns that are counted together: adding to one counter again and again waits for the last addition
#: to reach the cache, and additions to other counters fill the wait.
COLUMNS = 4


@njit(cache=True, nogil=True)
def scatter_add(counts, codes, weights, row_start, row_stop):  # type: ignore[no-untyped-def]
    """``counts[r, codes[i, r]] += weights[i]`` for every i, and r in [row_start, row_stop).

    Parameters
    ----------
    counts : ndarray of shape (R, W)
    codes : ndarray of shape (n, R), uint32
        Below W.
    weights : ndarray of shape (n,) or (0,)
        Empty for weights of 1.
    row_start, row_stop : int
        The rows of `counts` that this call owns.

    Notes
    -----
    4 n R bytes of codes are read once and n R counters updated in rows of W counters, a few at a
    time in the first-level cache.
    """
    whole = row_stop - (row_stop - row_start) % COLUMNS
    for left in range(0, codes.shape[0], BLOCK):
        right = min(left + BLOCK, codes.shape[0])
        if weights.size == 0:
            for r in range(row_start, whole, COLUMNS):
                for i in range(left, right):
                    for column in range(r, r + COLUMNS):
                        counts[column, codes[i, column]] += 1
            for r in range(whole, row_stop):
                for i in range(left, right):
                    counts[r, codes[i, r]] += 1
        else:
            for r in range(row_start, whole, COLUMNS):
                for i in range(left, right):
                    for column in range(r, r + COLUMNS):
                        counts[column, codes[i, column]] += weights[i]
            for r in range(whole, row_stop):
                for i in range(left, right):
                    counts[r, codes[i, r]] += weights[i]


@njit(cache=True, nogil=True)
def gather_counts(counts, codes, out, start, stop):  # type: ignore[no-untyped-def]
    """``out[i, r] = counts[r, codes[i, r]]`` for i in [start, stop) and every r."""
    for i in range(start, stop):
        for r in range(codes.shape[1]):
            out[i, r] = counts[r, codes[i, r]]
