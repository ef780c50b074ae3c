"""Checks of whole arrays."""

from __future__ import annotations

import numpy as np

from .compiled import kernel

__all__ = ["MALFORMED", "any_nonfinite_32", "any_nonfinite_64", "count_falls"]

#: Result of `count_falls` for a matrix whose parts contradict each other.
MALFORMED = -1


@kernel
def any_nonfinite_32(bits, start, stop):
    # Bit patterns and a slice are used because float comparisons and indices from `start` on do not
    # vectorise.
    """Tell whether any of the float32 numbers [start, stop), given as uint32, is NaN or infinite."""
    largest = np.uint32(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, np.uint32(part[i] & np.uint32(0x7FFFFFFF)))
    return largest >= np.uint32(0x7F800000)


@kernel
def any_nonfinite_64(bits, start, stop):
    """Tell whether any of the float64 numbers [start, stop), given as uint64, is NaN or infinite."""
    largest = np.uint64(0)
    part = bits[start:stop]
    for i in range(part.size):
        largest = max(largest, part[i] & np.uint64(0x7FFFFFFFFFFFFFFF))
    return largest >= np.uint64(0x7FF0000000000000)


@kernel
def count_falls(indptr, indices, n_columns, start, stop):
    """Count, in the rows [start, stop) of a CSR matrix, the indices that are not above the one before.

    Return MALFORMED, and read nothing out of bounds, if an offset falls or lies outside `indices`, or if an
    index lies outside [0, n_columns).
    """
    first = indptr[start]
    if first < 0:
        return MALFORMED
    left, falls = first, 0
    for row in range(start, stop):
        right = indptr[row + 1]
        if right < left or right > indices.size:
            return MALFORMED
        # The loop below takes all rows as one, so it also counts the first index of this row: take it off.
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
    return MALFORMED if low < 0 or high >= n_columns else falls
