"""A heap of the best k of many candidates, and the order of what it has kept.

A candidate is a number and a key: the number of a row with its distance, say, or an id with its count below
0. It is better the lower its key is, and of equal keys the lower number is the better one. The heap lies in
``numbers[first:]`` and ``keys[first:]``, with the worst candidate of those kept at `first`, so that most
candidates are refused after one comparison.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper

__all__ = ["is_less_frequent", "keep_best", "sift_least_frequent", "sort_best", "sort_nearest"]


@helper(forceinline=True)
def _is_worse(key, number, other_key, other):
    return key > other_key or (key == other_key and number > other)


@helper(forceinline=True)
def _sift_down(first, size, numbers, keys):
    """Restore the heap after its root was replaced."""
    root, number, key = 0, numbers[first], keys[first]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        at = first + child
        if child + 1 < size and _is_worse(keys[at + 1], numbers[at + 1], keys[at], numbers[at]):
            child += 1
            at += 1
        if _is_worse(key, number, keys[at], numbers[at]):
            break
        numbers[first + root], keys[first + root] = numbers[at], keys[at]
        root = child
    numbers[first + root], keys[first + root] = number, key


@helper(forceinline=True)
def _take(number, key, k, first, size, numbers, keys):
    """Take a candidate into a heap that has room, or whose worst candidate is worse."""
    if size < k:
        child = size
        # Sift up.
        while child > 0:
            parent = (child - 1) // 2
            if not _is_worse(key, number, keys[first + parent], numbers[first + parent]):
                break
            numbers[first + child], keys[first + child] = numbers[first + parent], keys[first + parent]
            child = parent
        numbers[first + child], keys[first + child] = number, key
        return size + 1
    numbers[first], keys[first] = number, key
    _sift_down(first, k, numbers, keys)
    return size


@helper(forceinline=True)
def keep_best(number, key, k, first, size, numbers, keys):
    """Take a candidate into a heap of `size`, at most k, if it is one of the best k; return the new size.

    A refused candidate takes half a nanosecond. If the loops of `_take` stood here, it would take 20 and
    more: Numba would then count references to both arrays, by atomic operations, for each candidate.
    """
    if size < k or _is_worse(keys[first], numbers[first], key, number):
        return _take(number, key, k, first, size, numbers, keys)
    return size


@helper(forceinline=True)
def sort_best(first, size, numbers, keys):
    """Bring the candidates of a heap into order, the best first."""
    for last in range(size - 1, 0, -1):
        number, key = numbers[first + last], keys[first + last]
        numbers[first + last], keys[first + last] = numbers[first], keys[first]
        numbers[first], keys[first] = number, key
        _sift_down(first, last, numbers, keys)


@helper(forceinline=True)
def sort_nearest(first, size, k, ids, distances):
    """`sort_best` of the nearest rows, with -1 and infinity in the places of those that k rows lack."""
    sort_best(first, size, ids, distances)
    for j in range(size, k):
        ids[first + j], distances[first + j] = -1, np.inf


@helper(forceinline=True)
def is_less_frequent(count, slot, other_count, other_slot):
    """Tell whether an entry is worse: it has the lower count, or an equal count and the larger id."""
    return count < other_count or (count == other_count and slot > other_slot)


@helper(forceinline=True)
def sift_least_frequent(slots, counts, root, size):
    """Restore a heap whose root is its worst entry, the one of the least count and the largest id.

    Queries that count ids use this heap and not `keep_best`: it is filled first and ordered once, which
    takes a third of the time where many ids have equal counts.
    """
    slot, count = slots[root], counts[root]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        if child + 1 < size and is_less_frequent(
            counts[child + 1], slots[child + 1], counts[child], slots[child]
        ):
            child += 1
        if is_less_frequent(count, slot, counts[child], slots[child]):
            break
        slots[root], counts[root] = slots[child], counts[child]
        root = child
    slots[root], counts[root] = slot, count
