"""Kernel of the statistics of terms: the different terms of each document."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["keep_distinct"]


@kernel
def keep_distinct(hashes, offsets, start, stop, distinct):
    """Write the different hashes of each document of [start, stop) one after another; return their number.

    Document i has ``hashes[offsets[i]:offsets[i + 1]]``. The first hash is written to the place
    ``offsets[start]`` of `distinct`. Hashes of a document keep the order in which they come first.
    """
    longest = 1
    for i in range(start, stop):
        longest = max(longest, offsets[i + 1] - offsets[i])
    size = 2
    while size < 2 * longest:
        size *= 2
    # A slot belongs to the document whose number it has, so that the table is never emptied.
    seen, owners = np.empty(size, np.uint64), np.full(size, -1, np.int64)
    end = offsets[start]
    for i in range(start, stop):
        # Short documents use the first slots only, which stay in the cache of the processor.
        used = 2
        while used < 2 * (offsets[i + 1] - offsets[i]):
            used *= 2
        mask = np.uint64(used - 1)
        for j in range(offsets[i], offsets[i + 1]):
            slot = np.int64(hashes[j] & mask)
            while owners[slot] == i and seen[slot] != hashes[j]:
                slot = (slot + 1) & (used - 1)
            if owners[slot] != i:
                owners[slot], seen[slot] = i, hashes[j]
                distinct[end] = hashes[j]
                end += 1
    return end - offsets[start]
