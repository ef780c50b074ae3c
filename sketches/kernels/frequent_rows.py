"""The kernel that finds rows which have places of their own among shared parameters."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64

__all__ = ["own_starts"]


@kernel
def own_starts(words, kept, first, shift, origin, n_columns, block, start, stop, starts):
    """Set the starts of the runs of those rows in [start, stop) that have places of their own.

    Parameters
    ----------
    words : array of uint64
        The rows.
    kept : array of uint64
        The mixed words of the rows that have places of their own, sorted.
    first : array of int64
        The number of words in `kept` whose upper bits are below each value, and the number of all.
    shift : int
        A word without its lower `shift` bits is an index of `first`.
    origin : int
        The place of the first of these rows. The others follow in the order of `kept`.
    n_columns, block : int
        Entries of a row, and of a run.
    start, stop : int
    starts : array of int64, shape (rows, 1, runs)
    """
    for i in range(start, stop):
        word = mix64(words[i])
        bucket = word >> np.uint64(shift)
        low, end = first[bucket], first[bucket + np.uint64(1)]
        high = end
        while low < high:
            middle = (low + high) // 2
            if kept[middle] < word:
                low = middle + 1
            else:
                high = middle
        if low < end and kept[low] == word:
            place = origin + low * n_columns
            for r in range(starts.shape[2]):
                starts[i, 0, r] = place + r * block
