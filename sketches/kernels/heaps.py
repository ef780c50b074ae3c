"""Heaps of the best k of many candidates: the nearest by distance, the most frequent by count."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper

__all__ = ["is_less_frequent", "keep_nearest", "sift_least_frequent", "sort_nearest"]


@helper(forceinline=True)
def _farther(distance, number, other_distance, other):
    return distance > other_distance or (distance == other_distance and number > other)


@helper(forceinline=True)
def _sift_farthest(ids, distances, first, root, size):
    """Restore a heap whose root is its farthest entry, kept in ``ids[first:]``."""
    number, distance = ids[first + root], distances[first + root]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        at = first + child
        if child + 1 < size and _farther(distances[at + 1], ids[at + 1], distances[at], ids[at]):
            child += 1
            at += 1
        if _farther(distance, number, distances[at], ids[at]):
            break
        ids[first + root], distances[first + root] = ids[at], distances[at]
        root = child
    ids[first + root], distances[first + root] = number, distance


@helper(forceinline=True)
def keep_nearest(ids, distances, first, held, k, number, distance):
    """Take a candidate into the heap of the k nearest if it is one of them; returns how many are held."""
    if held < k:
        child = held
        # Sift up.
        while child > 0:
            parent = (child - 1) // 2
            if not _farther(distance, number, distances[first + parent], ids[first + parent]):
                break
            ids[first + child], distances[first + child] = ids[first + parent], distances[first + parent]
            child = parent
        ids[first + child], distances[first + child] = number, distance
        return held + 1
    if _farther(distances[first], ids[first], distance, number):
        ids[first], distances[first] = number, distance
        _sift_farthest(ids, distances, first, 0, k)
    return held


@helper(forceinline=True)
def sort_nearest(ids, distances, first, held, k):
    """Sort the heap, nearest first; -1 and infinity where there are fewer than k."""
    for last in range(held - 1, 0, -1):
        number, distance = ids[first + last], distances[first + last]
        ids[first + last], distances[first + last] = ids[first], distances[first]
        ids[first], distances[first] = number, distance
        _sift_farthest(ids, distances, first, 0, last)
    for j in range(held, k):
        ids[first + j], distances[first + j] = -1, np.inf


@helper(forceinline=True)
def is_less_frequent(count, slot, other_count, other_slot):
    return count < other_count or (count == other_count and slot > other_slot)


@helper(forceinline=True)
def sift_least_frequent(slots, counts, root, size):
    """Restore a heap whose root is its worst entry: least count, largest id."""
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
