"""Checks of whole arrays."""

from __future__ import annotations

import numpy as np

from .compiled import kernel

__all__ = ["any_nonfinite_32", "any_nonfinite_64", "count_falls"]


@kernel
def any_nonfinite_32(bits, start, stop):
    # On bit patterns and a slice: neither float comparisons nor indices from `start` on vectorise.
    largest = np.uint32(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, np.uint32(part[i] & np.uint32(0x7FFFFFFF)))
    return largest >= np.uint32(0x7F800000)


@kernel
def any_nonfinite_64(bits, start, stop):
    largest = np.uint64(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, part[i] & np.uint64(0x7FFFFFFFFFFFFFFF))
    return largest >= np.uint64(0x7FF0000000000000)


@kernel
def count_falls(indptr, indices, n_columns, start, stop):
    """Count, in the rows [start, stop) of a CSR matrix, the indices that are not above the one before.

    -1 where the parts contradict each other: if an offset falls or lies outside `indices`, or an index
    outside [0, n_columns). Nothing is read then that is not there.
    """
    first = indptr[start]
    if first < 0:
        return -1
    left, falls = first, 0
    for row in range(start, stop):
        right = indptr[row + 1]
        if right < left or right > indices.size:
            return -1
        # The loop below takes all rows for one, as vectors do, and sees this one's beginning too.
        if left > first and right > left:
            falls -= indices[left] <= indices[left - 1]
        left = right
    part = indices[first:left]
    if part.size == 0:
        return 0
    low = high = part[0]
    for j in range(1, part.size):
        falls += part[j] <= part[j - 1]
        low, high = min(low, part[j]), max(high, part[j])
    return -1 if low < 0 or high >= n_columns else falls
