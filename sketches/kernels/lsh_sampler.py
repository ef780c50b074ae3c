"""Kernel that draws ids from the buckets of queries, and computes with which probability each is drawn.

A bucket is a row of slots, filled from the left. A slot holds an id plus one; an empty slot holds 0.

A draw takes an id from all ids with the probability `share`, in proportion to their weights, and otherwise
one of a random bucket among the query's buckets that are not empty. If all are empty, it takes one of all
ids. Ids that are excluded are neither among all ids nor in buckets.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch_read
from ...lsh.kernels.words import mix64

__all__ = ["draw_ids"]

#: The increment of SplitMix64.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
#: Bytes of a bucket that are prefetched, and bytes of a cache line.
_AHEAD, _LINE = 256, 64
#: Columns of slots that are in the table of hashes but in no row of results, and of those that are not there.
_EXCLUDED, _ABSENT = -1, -2


@helper(forceinline=True)
def _below(word, size):
    """Reduce a random word to [0, size): the high word of the product of both."""
    low_half = np.uint64(0xFFFFFFFF)
    high, low = word >> np.uint64(32), word & low_half
    size_high, size_low = np.uint64(size) >> np.uint64(32), np.uint64(size) & low_half
    middle = high * size_low + ((low * size_low) >> np.uint64(32))
    other = low * size_high + (middle & low_half)
    return np.int64(high * size_high + (middle >> np.uint64(32)) + (other >> np.uint64(32)))


# Places are unsigned, for Numba checks whether a signed index is negative.


@helper(forceinline=True)
def _first_place(slot, shift):
    return (slot * _GOLDEN) >> shift


@helper(forceinline=True)
def _column(held, columns, shift, slot):
    """Return the column of a slot in the table, or _ABSENT."""
    mask = np.uint64(held.size - 1)
    place = _first_place(slot, shift)
    while held[place] != 0:
        if held[place] == slot:
            return columns[place]
        place = (place + np.uint64(1)) & mask
    return _ABSENT


@helper(forceinline=True)
def _enter(held, columns, shift, slot, column):
    """Enter a slot that the table does not have."""
    mask = np.uint64(held.size - 1)
    place = _first_place(slot, shift)
    while held[place] != 0:
        place = (place + np.uint64(1)) & mask
    held[place], columns[place] = slot, column


@helper(forceinline=True)
def _empty(held, shift, slot):
    """Empty the run of the table in which a slot is."""
    mask = np.uint64(held.size - 1)
    place = _first_place(slot, shift)
    while held[place] != 0:
        held[place] = 0
        place = (place + np.uint64(1)) & mask


@helper(forceinline=True)
def _place_of(all_ids, wanted):
    """Return the place of an id among all ids, which rise, or -1."""
    low, high = 0, all_ids.size
    if wanted < high and np.int64(all_ids[wanted]) == wanted:
        return wanted  # Ids without gaps are their own places.
    while low < high:
        middle = (low + high) // 2
        if np.int64(all_ids[middle]) < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < all_ids.size and np.int64(all_ids[low]) == wanted else -1


@helper(forceinline=True)
def _weight_at(ends, place):
    """Return the weight of the id at a place, from the sums of the weights up to each."""
    if ends.size == 0:
        return np.int64(1)
    return ends[place] - (ends[place - 1] if place > 0 else 0)


@helper(forceinline=True)
def _chosen_place(ends, excluded, n_excluded, number):
    """Return the place of the id on which a number falls, where each id has as many numbers as its weight.

    Ids at the excluded places, which rise, have none.
    """
    for j in range(n_excluded):
        place = excluded[j]
        if number >= (place if ends.size == 0 else ends[place] - _weight_at(ends, place)):
            number += _weight_at(ends, place)
    if ends.size == 0:
        return number
    low, high = 0, ends.size
    while low < high:
        middle = (low + high) // 2
        if ends[middle] <= number:
            low = middle + 1
        else:
            high = middle
    return low


@helper(forceinline=True)
def _prefetch_buckets(flat, capacity, n_buckets, codes, i):
    lines = _LINE // flat.itemsize
    reach = min(capacity, _AHEAD // flat.itemsize)
    for t in range(codes.shape[1]):
        for p in range(codes.shape[2]):
            base = (t * n_buckets + np.int64(codes[i, t, p])) * capacity
            for j in range(base, base + reach, lines):
                prefetch_read(flat, j)


@kernel
def draw_ids(
    slots,
    codes,
    all_ids,
    weight_ends,
    excluded,
    key,
    share,
    n_draws,
    start,
    stop,
    out_ids,
    out_probabilities,
):
    """Draw `n_draws` ids for each of the queries [start, stop), and write those that are distinct.

    ``out_ids[i]`` gets the distinct ids in the order of the draws, and then -1; ``out_probabilities[i]`` gets
    the probability of each id in one draw. If `n_draws` is 0, the probabilities of the ids in ``out_ids[i]``
    are written: 0 for ids that are excluded or not among all ids, 1 for -1.

    `all_ids` rise. ``weight_ends[j]`` is the sum of the weights, integers above 0, of the ids up to place j;
    if it is empty, all weights are 1. ``excluded[i]`` are ids that rise, or -1. The draws of row i are made
    of the words ``mix64(mix64(key + i * _GOLDEN) + j * _GOLDEN)``, three for each draw.

    Notes
    -----
    A query reads its buckets once, and copies the ids that are not excluded side by side. Draws look up one
    of these each. Then a pass over the copy finds the buckets that contain the ids drawn.
    """
    n_buckets, capacity = slots.shape[1], slots.shape[2]
    flat = slots.reshape(-1)
    n_bases = codes.shape[1] * codes.shape[2]
    width, n_excluded = out_ids.shape[1], excluded.shape[1]
    bits = 5
    while (1 << bits) < 4 * (width + n_excluded):
        bits += 1
    shift = np.uint64(64 - bits)
    held, columns = np.zeros(1 << bits, np.uint64), np.empty(1 << bits, np.int64)
    copied, ends = np.empty(n_bases * capacity, np.uint64), np.empty(n_bases, np.int64)
    places = np.empty(n_excluded, np.int64)
    weights = np.empty(width)
    if start < stop and share < 1.0:
        _prefetch_buckets(flat, capacity, n_buckets, codes, start)
    for i in range(start, stop):
        n_places = 0
        total = np.int64(all_ids.size)
        if weight_ends.size > 0:
            total = weight_ends[weight_ends.size - 1]
        for j in range(n_excluded):
            wanted = excluded[i, j]
            if wanted < 0 or (j > 0 and excluded[i, j - 1] == wanted):
                continue
            _enter(held, columns, shift, np.uint64(wanted) + np.uint64(1), _EXCLUDED)
            place = _place_of(all_ids, wanted)
            if place >= 0:
                places[n_places] = place
                n_places += 1
                total -= _weight_at(weight_ends, place)
        # Buckets without any id that may be drawn are left out, and all are if no draw is from them.
        n_filled, end = 0, 0
        for t in range(codes.shape[1] if share < 1.0 else 0):
            for p in range(codes.shape[2]):
                base, before = (t * n_buckets + np.int64(codes[i, t, p])) * capacity, end
                for j in range(np.uint64(base), np.uint64(base + capacity)):
                    slot = np.uint64(flat[j])
                    if slot == 0:
                        break
                    copied[np.uint64(end)] = slot
                    end += n_excluded == 0 or _column(held, columns, shift, slot) == _ABSENT
                if end > before:
                    ends[n_filled] = end
                    n_filled += 1
        if i + 1 < stop and share < 1.0:
            _prefetch_buckets(flat, capacity, n_buckets, codes, i + 1)
        row_key, n = mix64(key + np.uint64(i) * _GOLDEN), 0
        if n_draws == 0:
            n = width
            for j in range(width):
                slot = np.uint64(out_ids[i, j] + 1)
                if slot != 0 and _column(held, columns, shift, slot) == _ABSENT:
                    _enter(held, columns, shift, slot, j)
        for d in range(n_draws if total > 0 else 0):
            word = row_key + np.uint64(3 * d) * _GOLDEN
            if n_filled == 0 or np.float64(mix64(word) >> np.uint64(11)) * 2.0**-53 < share:
                number = _below(mix64(word + _GOLDEN), total)
                place = _chosen_place(weight_ends, places, n_places, number)
                slot = np.uint64(all_ids[place]) + np.uint64(1)
            else:
                bucket = _below(mix64(word + _GOLDEN), n_filled)
                first = ends[bucket - 1] if bucket > 0 else 0
                slot = copied[first + _below(mix64(word + np.uint64(2) * _GOLDEN), ends[bucket] - first)]
            if _column(held, columns, shift, slot) == _ABSENT:
                _enter(held, columns, shift, slot, n)
                out_ids[i, n] = np.int64(slot) - 1
                n += 1
        weights[:n] = 0.0
        first = 0
        for bucket in range(n_filled):
            weight = 1.0 / (ends[bucket] - first)
            for j in range(np.uint64(first), np.uint64(ends[bucket])):
                column = _column(held, columns, shift, copied[j])
                if column >= 0:
                    weights[column] += weight
            first = ends[bucket]
        of_all, of_buckets = 0.0, 0.0
        if total > 0:
            of_all = (share if n_filled > 0 else 1.0) / total
        if n_filled > 0:
            of_buckets = (1.0 - share) / n_filled
        for j in range(n):
            wanted, column = out_ids[i, j], j
            if wanted < 0:
                out_probabilities[i, j] = 1.0
                continue
            weight = np.int64(1)
            if n_draws == 0:
                # Given ids may be there several times, excluded, or not among all ids.
                column = _column(held, columns, shift, np.uint64(wanted + 1))
            if n_draws == 0 or weight_ends.size > 0:
                place = _place_of(all_ids, wanted)
                if column == _EXCLUDED or place < 0:
                    out_probabilities[i, j] = 0.0
                    continue
                weight = _weight_at(weight_ends, place)
            out_probabilities[i, j] = min(of_all * weight + of_buckets * weights[column], 1.0)
        for j in range(n, width):
            out_ids[i, j], out_probabilities[i, j] = -1, 1.0
        # Whole runs of the table are emptied.
        for j in range(n):
            if out_ids[i, j] >= 0:
                _empty(held, shift, np.uint64(out_ids[i, j] + 1))
        for j in range(n_excluded):
            if excluded[i, j] >= 0:
                _empty(held, shift, np.uint64(excluded[i, j] + 1))
