"""Kernels of KLLSketch: levels of values, the lowest full one of which is halved when there is no room.

The levels lie one after the other in one array, the highest one first. So a value is appended to the lowest
level at the end, and the half of a level that is promoted follows the level above, where it belongs.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64

__all__ = ["add_values", "compress_levels"]

_ONE, _LEVEL_SHIFT = np.uint64(1), np.uint64(56)


@helper
def _compact(items, begin, end, coin):
    """Keep every second of the sorted values [begin, end), and the last one if their number is odd."""
    half = (end - begin) // 2
    last = items[end - 1]
    for j in range(half):
        items[begin + j] = items[begin + 2 * j + coin]
    if (end - begin) % 2:
        items[begin + half] = last
    return half


@helper
def _sort_eight(items, begin):
    """Sort eight values by a network of comparisons, which has no branches."""
    v0, v1, v2, v3 = items[begin], items[begin + 1], items[begin + 2], items[begin + 3]
    v4, v5, v6, v7 = items[begin + 4], items[begin + 5], items[begin + 6], items[begin + 7]
    v0, v1 = min(v0, v1), max(v0, v1)
    v2, v3 = min(v2, v3), max(v2, v3)
    v4, v5 = min(v4, v5), max(v4, v5)
    v6, v7 = min(v6, v7), max(v6, v7)
    v0, v2 = min(v0, v2), max(v0, v2)
    v1, v3 = min(v1, v3), max(v1, v3)
    v4, v6 = min(v4, v6), max(v4, v6)
    v5, v7 = min(v5, v7), max(v5, v7)
    v1, v2 = min(v1, v2), max(v1, v2)
    v5, v6 = min(v5, v6), max(v5, v6)
    v0, v4 = min(v0, v4), max(v0, v4)
    v1, v5 = min(v1, v5), max(v1, v5)
    v2, v6 = min(v2, v6), max(v2, v6)
    v3, v7 = min(v3, v7), max(v3, v7)
    v2, v4 = min(v2, v4), max(v2, v4)
    v3, v5 = min(v3, v5), max(v3, v5)
    v1, v2 = min(v1, v2), max(v1, v2)
    v3, v4 = min(v3, v4), max(v3, v4)
    v5, v6 = min(v5, v6), max(v5, v6)
    items[begin], items[begin + 1], items[begin + 2], items[begin + 3] = v0, v1, v2, v3
    items[begin + 4], items[begin + 5], items[begin + 6], items[begin + 7] = v4, v5, v6, v7


@helper
def _merge(items, left, middle, right, scratch):
    """Merge the sorted values [left, middle) and [middle, right), without branches that depend on values."""
    n = middle - left
    for place in range(n):
        scratch[place] = items[left + place]
    i, j, out = np.int64(0), middle, left
    while i < n and j < right:
        one, other = scratch[i], items[j]
        is_one = one <= other
        items[out] = one if is_one else other
        i += np.int64(is_one)
        j += np.int64(not is_one)
        out += 1
    while i < n:
        items[out] = scratch[i]
        i += 1
        out += 1


@helper
def _sort(items, begin, end, scratch):
    """Sort values: eight by eight, and then by merging."""
    first = begin
    while first + 8 <= end:
        _sort_eight(items, first)
        first += 8
    for i in range(first + 1, end):
        value = items[i]
        j = i
        while j > first and items[j - 1] > value:
            items[j] = items[j - 1]
            j -= 1
        items[j] = value
    width = 8
    while width < end - begin:
        for left in range(begin, end - width, 2 * width):
            _merge(items, left, left + width, min(left + 2 * width, end), scratch)
        width *= 2


@helper
def _compress(items, words, scratch, capacities, seed, total, n_levels, sizes, compactions, salt):
    """Halve the lowest full level, as long as there are as many values as all levels have room for.

    All levels but the lowest one are sorted, and stay so.
    Return the numbers of values and levels, and the number of values for which there is room.
    """
    room = np.int64(0)
    for depth in range(n_levels):
        room += capacities[depth]
    while total >= room:
        h, end = 0, total
        while sizes[h] < capacities[n_levels - 1 - h]:
            end -= sizes[h]
            h += 1
        size = sizes[h]
        begin = end - size
        if h == 0:
            _sort(items, begin, end, scratch)
        if salt[0] == 0:
            mixed = np.uint64(0)
            for i in range(begin, end):
                mixed = mix64(mixed ^ words[i])
            salt[0] = mixed | _ONE
        mixed = mix64(mix64(salt[0] ^ seed) + (np.uint64(h) << _LEVEL_SHIFT) + np.uint64(compactions[h]))
        half = _compact(items, begin, end, np.int64(mixed & _ONE))
        _merge(items, begin - sizes[h + 1], begin, begin + half, scratch)
        for i in range(end, total):
            items[i - half] = items[i]
        total -= half
        sizes[h] = size % 2
        sizes[h + 1] += half
        compactions[h] += 1
        if h + 1 == n_levels:
            room += capacities[n_levels]
            n_levels += 1
    return total, n_levels, room


@helper
def _count(sizes):
    """Return the numbers of values and of levels."""
    total, n_levels = np.int64(0), np.int64(1)
    for h in range(sizes.size):
        total += sizes[h]
        if sizes[h] > 0:
            n_levels = np.int64(h + 1)
    return total, n_levels


@kernel
def add_values(values, capacities, seed, items, sizes, compactions, salt):
    """Add values one after the other. Each level is sorted before and afterwards."""
    seed, words, scratch = np.uint64(seed), items.view(np.uint64), np.empty(items.size)
    total, n_levels = _count(sizes)
    total, n_levels, room = _compress(
        items, words, scratch, capacities, seed, total, n_levels, sizes, compactions, salt
    )
    i = 0
    while i < values.size:
        stop = min(values.size, i + room - total)
        sizes[0] += stop - i
        while i < stop:
            items[total] = values[i] + 0.0  # which makes a zero of a negative zero
            total += 1
            i += 1
        total, n_levels, room = _compress(
            items, words, scratch, capacities, seed, total, n_levels, sizes, compactions, salt
        )
    _sort(items, total - sizes[0], total, scratch)
    items[total:] = 0.0


@kernel
def compress_levels(capacities, seed, items, sizes, compactions, salt):
    """Halve levels until the values have room. Levels may have any sizes and orders before."""
    seed, words, scratch = np.uint64(seed), items.view(np.uint64), np.empty(items.size)
    total, n_levels = _count(sizes)
    end = total
    for h in range(n_levels):
        _sort(items, end - sizes[h], end, scratch)
        end -= sizes[h]
    total = _compress(items, words, scratch, capacities, seed, total, n_levels, sizes, compactions, salt)[0]
    _sort(items, total - sizes[0], total, scratch)
    items[total:] = 0.0
