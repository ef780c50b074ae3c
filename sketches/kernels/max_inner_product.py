"""Kernels that find the row of the largest inner product: among all rows, or among those of some buckets.

All of them add a product up in one fixed order, so a row has the same value wherever it is found.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch_read

__all__ = ["OVERFLOWED", "best_of_ids", "best_of_rows", "collect_ids", "inner_product"]

#: The result in place of a row, if the value of a row is not finite.
OVERFLOWED = -2

#: Candidates by which rows are fetched ahead, the most bytes of a row, and bytes of a cache line.
_ROWS_AHEAD, _BYTES_AHEAD, _LINE = 8, 1024, 64


@helper(forceinline=True)
def _product(flat, at, y, y_at, width):
    """Return the inner product, in float64, of the numbers of two arrays from two places on.

    It has eight running sums, because an addition takes some cycles, and the compiler may not reorder those
    of one sum. Eight names become registers, which an array of eight does not. Indices are unsigned, for
    Numba checks whether signed ones are negative.
    """
    at, y_at, width, one = np.uint64(at), np.uint64(y_at), np.uint64(width), np.uint64(1)
    whole = width - width % np.uint64(8)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for j in range(np.uint64(0), whole, np.uint64(8)):
        i, k = at + j, y_at + j
        s0 += np.float64(flat[i]) * y[k]
        s1 += np.float64(flat[i + one]) * y[k + one]
        s2 += np.float64(flat[i + np.uint64(2)]) * y[k + np.uint64(2)]
        s3 += np.float64(flat[i + np.uint64(3)]) * y[k + np.uint64(3)]
        s4 += np.float64(flat[i + np.uint64(4)]) * y[k + np.uint64(4)]
        s5 += np.float64(flat[i + np.uint64(5)]) * y[k + np.uint64(5)]
        s6 += np.float64(flat[i + np.uint64(6)]) * y[k + np.uint64(6)]
        s7 += np.float64(flat[i + np.uint64(7)]) * y[k + np.uint64(7)]
    for j in range(whole, width):
        s0 += np.float64(flat[at + j]) * y[y_at + j]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@helper(forceinline=True)
def _value(flat, at, direction, matrix, bonus):
    """Return the product with the direction, plus ``bonus * sqrt(x' matrix x)`` if there is a matrix."""
    width = direction.size
    value = _product(flat, at, direction, 0, width)
    if matrix.size:
        square = 0.0
        for i in range(width):
            x = np.float64(flat[np.uint64(at + i)])
            if x != 0.0:
                square += x * _product(flat, at, matrix, i * width, width)
        value += bonus * math.sqrt(max(square, 0.0))
    return value


@kernel
def inner_product(x, y):
    """Return the inner product of two vectors of float64, as the other kernels compute it."""
    return _product(x, 0, y, 0, x.size)


@kernel
def best_of_rows(rows, direction, matrix, bonus, excluded, start, stop):
    """Return the row of the largest value in [start, stop), the first of equal ones, and its value.

    Parameters
    ----------
    rows : float32 or float64, shape (n, d)
    direction : float64, shape (d,)
    matrix : float64, shape (d * d,), or (0,) for values that are products only
    bonus : float, the factor of the square root; see `_value`
    excluded : bool, shape (n,), or (0,) if no row is excluded

    Returns
    -------
    int, float
        -1 and minus infinity if there is no row; `OVERFLOWED` and NaN if a row has no finite value.
    """
    flat, width = rows.reshape(-1), rows.shape[1]
    best, largest = np.int64(-1), -math.inf
    for i in range(start, stop):
        if excluded.size and excluded[i]:
            continue
        value = _value(flat, i * width, direction, matrix, bonus)
        if not math.isfinite(value):
            return OVERFLOWED, math.nan
        if value > largest:
            best, largest = np.int64(i), value
    return best, largest


@kernel
def best_of_ids(rows, ids, direction, matrix, bonus, start, stop):
    """Return the row of the largest value among ``ids[start:stop]``, of equal ones the first, and its value.

    The arguments and results are those of `best_of_rows`.
    """
    flat, width = rows.reshape(-1), rows.shape[1]
    lines = _LINE // rows.itemsize
    reach = min(width, _BYTES_AHEAD // rows.itemsize)
    best, largest = np.int64(-1), -math.inf
    for a in range(start, stop):
        if a + _ROWS_AHEAD < stop:
            base = ids[a + _ROWS_AHEAD] * width
            for j in range(base, base + reach, lines):
                prefetch_read(flat, j)
        i = ids[a]
        value = _value(flat, i * width, direction, matrix, bonus)
        if not math.isfinite(value):
            return OVERFLOWED, math.nan
        if value > largest or (value == largest and i < best):
            best, largest = i, value
    return best, largest


@kernel
def collect_ids(slots, codes, excluded, stamp, stamps, ids):
    """Write the different ids of some buckets, and return their number, or -1 less an id that has no row.

    Parameters
    ----------
    slots : ids plus one, shape (tables, buckets, capacity); 0 ends a bucket
    codes : uint32, shape (tables, probes)
    excluded : as for `best_of_rows`
    stamp : a number that is not in `stamps`
    stamps : int64, one for each row; those of the ids found are set to `stamp`
    ids : int64, the result; it has room for all slots of the buckets
    """
    n_tables, n_buckets, capacity = slots.shape
    flat, n = slots.reshape(-1), 0
    for p in range(codes.shape[1]):
        for t in range(n_tables):
            prefetch_read(flat, (t * n_buckets + np.int64(codes[t, p])) * capacity)
    for p in range(codes.shape[1]):
        for t in range(n_tables):
            base = (t * n_buckets + np.int64(codes[t, p])) * capacity
            for j in range(base, base + capacity):
                if flat[j] == 0:
                    break
                i = np.int64(flat[j]) - 1
                if not 0 <= i < stamps.size:
                    return -1 - max(i, np.int64(stamps.size))  # a forged file may have negative ids
                if stamps[i] != stamp:
                    stamps[i] = stamp
                    if not (excluded.size and excluded[i]):
                        ids[n] = i
                        n += 1
    return n
