"""The kernels of `TopK`: they add up the counts of equal keys, and choose the keys that stay.

They have no twins on GPUs. Keys are dropped whenever a number of new ones has come, and which keys these are
depends on all keys before them. So the keys must be looked at one after the other.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["add_up", "keep_largest"]


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


@kernel
def keep_largest(uppers, counts, hashes, kept):
    """Find the keys of the largest upper bounds, and return the largest upper bound of the others.

    Of equal upper bounds, the larger count comes first, and then the smaller hash.

    Parameters
    ----------
    uppers, counts, hashes : ndarrays of shape (n,), int64, int64 and uint64
    kept : ndarray of shape (m,), int64
        It gets the places of the first m keys, which rise; m is at least 1 and less than n.

    Returns
    -------
    int
    """
    # Of the first m keys and the other ones, those that are fewer are found by a heap, so that most keys are
    # refused after one comparison. Its root is the one next to the other part.
    size = uppers.size
    of_others = size - kept.size < kept.size
    heap = np.arange(min(kept.size, size - kept.size))
    for root in range(heap.size // 2 - 1, -1, -1):
        _sift_down(uppers, counts, hashes, of_others, heap, root)
    for i in range(heap.size, size):
        if _comes_before(uppers, counts, hashes, of_others, i, heap[0]):
            heap[0] = i
            _sift_down(uppers, counts, hashes, of_others, heap, 0)
    is_kept = np.full(size, of_others)
    for place in heap:
        is_kept[place] = not of_others
    largest, n = np.int64(0), 0
    for i in range(size):
        if is_kept[i]:
            kept[n] = i
            n += 1
        else:
            largest = max(largest, uppers[i])
    return largest


@helper
def _comes_before(uppers, counts, hashes, is_reversed, i, j):
    if is_reversed:
        i, j = j, i
    if uppers[i] != uppers[j]:
        return uppers[i] > uppers[j]
    if counts[i] != counts[j]:
        return counts[i] > counts[j]
    return hashes[i] < hashes[j]


@helper
def _sift_down(uppers, counts, hashes, is_reversed, heap, root):
    """Restore the heap, whose root is the last of its keys, after the key at `root` was replaced."""
    place = heap[root]
    while True:
        child = 2 * root + 1
        if child >= heap.size:
            break
        if child + 1 < heap.size and _comes_before(
            uppers, counts, hashes, is_reversed, heap[child], heap[child + 1]
        ):
            child += 1
        if _comes_before(uppers, counts, hashes, is_reversed, heap[child], place):
            break
        heap[root] = heap[child]
        root = child
    heap[root] = place
