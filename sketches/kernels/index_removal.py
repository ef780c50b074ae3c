"""Kernels that find ids in the buckets of an index, take them out, and move them to other buckets.

They have no twins on GPUs. There, rows are inserted together, by warps that put an id into any empty slot of
a bucket. If a bucket has dropped ids before others were removed, it has empty slots that must stay empty.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .index_buckets import count_filled, insert_id, order_heap

__all__ = ["check_places", "complete_buckets", "count_entries", "find_ids", "move_ids"]

#: The bucket of an id that is in none.
NOWHERE = -1


@helper
def _place(slot, mask):
    """Return the place at which the search for a slot in a table of hashes begins."""
    mixed = (slot * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return np.int64(mixed) & mask


@kernel
def find_ids(slots, seen, ids, start, stop, buckets):
    """Write the bucket of every id in the tables [start, stop) to ``buckets[i, t]``.

    Ids are distinct, and buckets are NOWHERE before. Return the number of entries in further buckets, for ids
    that were added several times.
    """
    n, capacity = ids.size, slots.shape[2]
    size = 16
    while size < 4 * n:
        size *= 2
    mask = size - 1
    held, numbers = np.zeros(size, slots.dtype), np.zeros(size, np.int64)
    for i in range(n):
        slot = np.uint64(ids[i]) + np.uint64(1)
        place = _place(slot, mask)
        while held[place] != 0:
            place = (place + 1) & mask
        held[place], numbers[place] = slot, i
    further = 0
    for t in range(start, stop):
        for b in range(seen.shape[1]):
            if seen[t, b] == 0:
                continue
            for j in range(capacity):
                slot = np.uint64(slots[t, b, j])
                if slot == 0:
                    break
                place = _place(slot, mask)
                while held[place] != 0 and held[place] != slot:
                    place = (place + 1) & mask
                if held[place] == slot:
                    i = numbers[place]
                    if buckets[i, t] < 0:
                        buckets[i, t] = b
                    elif buckets[i, t] != b:
                        further += 1
    return further


@kernel
def check_places(slots, seen, ids, start, stop, buckets):
    """Replace ``buckets[i, t]`` by NOWHERE where that bucket has all its ids, but not id i."""
    capacity = slots.shape[2]
    for t in range(start, stop):
        for i in range(ids.size):
            b = buckets[i, t]
            if seen[t, b] > capacity:
                continue
            slot, is_there = np.uint64(ids[i]) + np.uint64(1), False
            for j in range(capacity):
                is_there |= slots[t, b, j] == slot
            if not is_there:
                buckets[i, t] = NOWHERE


@helper
def _take_out(table, counts, b, capacity, slot, key, most):
    """Take up to `most` entries of an id out of a bucket; return their number, or 1 if the id was dropped."""
    base, kept, filled = b * capacity, 0, count_filled(table, b * capacity, capacity)
    for j in range(base, base + filled):
        # The entries before this one that were taken out are `j - base - kept`.
        if table[j] != slot or j - base - kept == most:
            table[base + kept] = table[j]
            kept += 1
    table[base + kept : base + filled] = 0
    n_dropped = np.int64(counts[b]) - capacity
    if n_dropped > 0 and kept == filled:
        n_dropped -= 1
    if n_dropped > 0:
        counts[b] = capacity + n_dropped
        order_heap(table, base, kept, key)
    else:
        counts[b] = kept
    return max(1, filled - kept)


@kernel
def move_ids(ids, buckets, codes, keys, most, start, stop, slots, seen):
    """Move every id from ``buckets[i, t]`` to ``codes[i, t]``, for tables t in [start, stop).

    Overwrite each bucket with the number of entries that the id had there. Buckets may be NOWHERE. Without
    codes, of which there are none or one for each id, the ids are only taken out, with up to `most` of their
    entries in a bucket. An id that stays in its bucket is not touched.
    """
    capacity = slots.shape[2]
    for t in range(start, stop):
        table, counts, key = slots[t].reshape(-1), seen[t], keys[t]
        for i in range(ids.size):
            b, to, slot = buckets[i, t], np.int64(NOWHERE), np.uint64(ids[i]) + np.uint64(1)
            if codes.shape[0] > 0:
                to = np.int64(codes[i, t])
            buckets[i, t] = 0
            if b >= 0 and b == to:
                buckets[i, t] = 1
                continue
            if b >= 0:
                buckets[i, t] = _take_out(table, counts, b, capacity, slot, key, most)
            if to >= 0:
                filled = np.int64(counts[to])
                counts[to] = filled + 1
                insert_id(table, to * capacity, min(filled, capacity), capacity, slot, key)


@kernel
def count_entries(slots, seen, start, stop):
    """Return the number of ids in the slots of the tables [start, stop)."""
    capacity, total = slots.shape[2], np.int64(0)
    for t in range(start, stop):
        table = slots[t].reshape(-1)
        for b in range(seen.shape[1]):
            filled = np.int64(seen[t, b])
            if filled > capacity:
                filled = capacity
                if table[b * capacity + capacity - 1] == 0:
                    filled = count_filled(table, b * capacity, capacity)
            total += filled
    return total


@kernel
def complete_buckets(slots, start, stop, seen):
    """Note that the buckets of the tables [start, stop) have all their ids."""
    capacity = slots.shape[2]
    for t in range(start, stop):
        for b in range(seen.shape[1]):
            if seen[t, b] > capacity:
                seen[t, b] = count_filled(slots[t].reshape(-1), b * capacity, capacity)
