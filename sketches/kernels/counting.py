"""Kernels of the tables that count keys: Count-Min, Count-Sketch, and the search for frequent keys.

Every table is an array of shape (n_rows, n_buckets). Row r sends a 64-bit key, split into halves
``low`` and ``high``, to the 32-bit value

    h_r(key) = (((a_r + low) * (b_r + high) + c_r) mod 2**64) >> 32

with random 64-bit words (a_r, b_r, c_r): pair-multiply-shift, which is pairwise independent (Thorup
2015, "High speed hashing for integers and strings", section 3.5). Its bucket is
``h_r * n_buckets >> 32`` and its sign the lowest bit of h_r.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = [
    "count_min_add",
    "count_min_add_conservative",
    "count_min_query",
    "count_sketch_add",
    "count_sketch_query",
    "find_frequent",
]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ONE = np.uint64(1)
#: The most places of a cache that adds up repetitions of frequent keys: 64 KB.
_CACHE = 1 << 12


@helper
def _hash32(key, a, b, c):
    return ((a + (key & _LOW)) * (b + (key >> _SHIFT)) + c) >> _SHIFT


@helper
def _least(counts, words, n_buckets, key):
    least = np.int64(0x7FFFFFFFFFFFFFFF)
    for r in range(counts.shape[0]):
        bucket = (_hash32(key, words[r, 0], words[r, 1], words[r, 2]) * n_buckets) >> _SHIFT
        least = min(least, np.int64(counts[r, bucket]))
    return least


@helper
def _exceeds(counts, words, n_buckets, key, threshold):
    """Tell whether the least counter of a key exceeds a threshold; a lower one ends the search."""
    for r in range(counts.shape[0]):
        bucket = (_hash32(key, words[r, 0], words[r, 1], words[r, 2]) * n_buckets) >> _SHIFT
        if np.int64(counts[r, bucket]) <= threshold:
            return False
    return True


@kernel
def count_min_add(keys, weights, words, start, stop, counts):
    """Add each key's weight (1 where `weights` is empty) to its bucket of rows [start, stop)."""
    n_buckets = np.uint64(counts.shape[1])
    for r in range(start, stop):
        a, b, c = words[r, 0], words[r, 1], words[r, 2]
        row = counts[r]
        if weights.size == 0:
            for i in range(keys.size):
                row[(_hash32(keys[i], a, b, c) * n_buckets) >> _SHIFT] += 1
        else:
            for i in range(keys.size):
                row[(_hash32(keys[i], a, b, c) * n_buckets) >> _SHIFT] += weights[i]


@kernel
def count_min_add_conservative(keys, weights, words, counts):
    """Raise each key's buckets only as far as its new estimate requires, one key after the other."""
    n_buckets = np.uint64(counts.shape[1])
    n_rows = counts.shape[0]
    buckets = np.empty(n_rows, dtype=np.uint64)
    for i in range(keys.size):
        least = np.int64(0x7FFFFFFFFFFFFFFF)
        for r in range(n_rows):
            buckets[r] = (_hash32(keys[i], words[r, 0], words[r, 1], words[r, 2]) * n_buckets) >> _SHIFT
            least = min(least, np.int64(counts[r, buckets[r]]))
        least += 1 if weights.size == 0 else weights[i]
        for r in range(n_rows):
            if counts[r, buckets[r]] < least:
                counts[r, buckets[r]] = least


@kernel
def count_min_query(counts, keys, words, start, stop, out):
    """Set ``out[i]`` to the least counter of key i, for i in [start, stop)."""
    n_buckets = np.uint64(counts.shape[1])
    for i in range(start, stop):
        out[i] = _least(counts, words, n_buckets, keys[i])


@kernel
def count_sketch_add(keys, weights, words, start, stop, counts):
    """Add each key's weight times its sign to its bucket of rows [start, stop)."""
    n_buckets = np.uint64(counts.shape[1])
    for r in range(start, stop):
        a, b, c = words[r, 0], words[r, 1], words[r, 2]
        row = counts[r]
        for i in range(keys.size):
            h = _hash32(keys[i], a, b, c)
            weight = np.int64(1) if weights.size == 0 else weights[i]
            row[(h * n_buckets) >> _SHIFT] += weight if h & _ONE else -weight


@kernel
def count_sketch_query(counts, keys, words, start, stop, out):
    """Set ``out[i]`` to the median over rows of key i's signed counters, for i in [start, stop)."""
    n_buckets = np.uint64(counts.shape[1])
    n_rows = counts.shape[0]
    ordered = np.empty(n_rows, dtype=np.int64)
    for i in range(start, stop):
        for r in range(n_rows):
            h = _hash32(keys[i], words[r, 0], words[r, 1], words[r, 2])
            value = np.int64(counts[r, (h * n_buckets) >> _SHIFT])
            if not h & _ONE:
                value = -value
            j = r
            while j > 0 and ordered[j - 1] > value:
                ordered[j] = ordered[j - 1]
                j -= 1
            ordered[j] = value
        low, high = ordered[(n_rows - 1) // 2], ordered[n_rows // 2]
        out[i] = 0.5 * (np.float64(low) + np.float64(high))


@kernel
def find_frequent(counts, keys, weights, words, threshold, start, stop, found, sums):
    """Find the keys in [start, stop) whose Count-Min estimate exceeds `threshold`, and their weights.

    ``found[start:]`` gets the index of such a key, ``sums[start:]`` the weight of some of its repetitions
    (their number where `weights` is empty). Return how many were written. A key may be written several times;
    its sums then add up to all of its weight in the range, because a cache adds up the keys found last.
    """
    n_buckets = np.uint64(counts.shape[1])
    n_places = _CACHE
    while n_places > 2 * (stop - start):  # Clearing all would take most of the time for few keys.
        n_places >>= 1
    n_places = max(n_places, 1)
    mask = np.uint64(n_places - 1)
    place = np.full(n_places, -1, dtype=np.int64)
    weight_of = np.zeros(n_places, dtype=np.int64)
    n = start
    for i in range(start, stop):
        key = keys[i]
        weight = np.int64(1) if weights.size == 0 else weights[i]
        slot = key & mask
        if place[slot] >= 0 and keys[place[slot]] == key:
            weight_of[slot] += weight
        elif _exceeds(counts, words, n_buckets, key, threshold):
            if place[slot] >= 0:
                found[n], sums[n] = place[slot], weight_of[slot]
                n += 1
            place[slot], weight_of[slot] = i, weight
    for slot in range(n_places):
        if place[slot] >= 0:
            found[n], sums[n] = place[slot], weight_of[slot]
            n += 1
    return n - start
