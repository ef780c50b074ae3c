"""Counting codes into a table of counters, and reading the counters of codes."""

from __future__ import annotations

from numba import njit

__all__ = ["gather_counts", "scatter_add"]

#: Rows of codes that are counted at a time: with 500 columns 128 KB, which stays in the second-level
#: cache while column after column is taken from it.
BLOCK = 64


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
    4 n R bytes of codes are read once and n R counters updated in rows of W counters, one row at a
    time in the first-level cache.
    """
    for left in range(0, codes.shape[0], BLOCK):
        right = min(left + BLOCK, codes.shape[0])
        for r in range(row_start, row_stop):
            row = counts[r]
            if weights.size == 0:
                for i in range(left, right):
                    row[codes[i, r]] += 1
            else:
                for i in range(left, right):
                    row[codes[i, r]] += weights[i]


@njit(cache=True, nogil=True)
def gather_counts(counts, codes, out, start, stop):  # type: ignore[no-untyped-def]
    """``out[i, r] = counts[r, codes[i, r]]`` for i in [start, stop) and every r."""
    for i in range(start, stop):
        for r in range(codes.shape[1]):
            out[i, r] = counts[r, codes[i, r]]
