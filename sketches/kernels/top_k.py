"""The kernel of `TopK`: adds up the counts of equal keys."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["add_up"]


@kernel
def add_up(hashes, weights, start, n_known, slots, keys, sums, firsts):
    """Add the weights of keys from `start` on to the sums of the distinct keys, as long as there are places.

    Parameters
    ----------
    hashes : ndarray of shape (n,), uint64
    weights : ndarray of shape (n,) or (0,), int64
        0 or more; an empty array stands for 1 each. Keys of weight 0 are skipped.
    start : int
        The first of `hashes` that is added.
    n_known : int
        The number of distinct keys that `keys` and `sums` have already.
    slots : ndarray of int32
        An open hash table, all -1. The length is a power of two, and more than that of `keys`.
    keys, sums, firsts : ndarrays of equal length, uint64 and int64
        The distinct keys, the sum of each, and the index in `hashes` at which a new one first occurs.

    Returns
    -------
    tuple of int
        The index of the first of `hashes` that was not added, and the number of distinct keys.
    """
    mask = np.uint64(slots.size - 1)
    one = np.uint64(1)
    for entry in range(n_known):
        slot = keys[entry] & mask
        while slots[slot] >= 0:
            slot = (slot + one) & mask
        slots[slot] = entry
    n = n_known
    for i in range(start, hashes.size):
        weight = np.int64(1) if weights.size == 0 else weights[i]
        if weight == 0:
            continue
        key = hashes[i]
        slot = key & mask
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + one) & mask
        entry = slots[slot]
        if entry < 0:
            if n == keys.size:
                return i, n
            slots[slot] = n
            keys[n], sums[n], firsts[n] = key, weight, i
            n += 1
        else:
            sums[entry] += weight
    return hashes.size, n
