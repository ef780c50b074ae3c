"""Kernels of buckets of bounded size, which keep the ids of least priority.

A bucket is a row of slots, filled from the left. A slot holds an id plus one; an empty slot holds 0. A full
bucket is a binary max-heap by priority: the id that would be dropped next stands first, so most ids that are
not kept are refused after one comparison. A row in falling order of priority is such a heap too, and is the
form in which equal buckets are equal.

The count that a bucket has seen tells two kinds of buckets apart. Up to the capacity, the bucket has all its
ids, in any order until it is full. Beyond the capacity, the excess is the number of ids that were dropped.
Such a bucket has the r ids of least priority of all its rows, where r is its room: the number of its filled
slots. The room is the capacity until ids are removed. It falls by one for each id that is removed from the
slots, because the id that would follow was dropped.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch
from ...lsh.kernels.words import mix64

__all__ = ["count_filled", "insert_id", "insert_ids", "merge_buckets", "order_buckets", "order_heap"]

#: Rows of a block, whose codes stay in the second-level cache.
_BLOCK = 4096
#: Rows by which counts and slots are prefetched.
_SEEN_AHEAD, _SLOT_AHEAD = 32, 16


# Helpers are inlined, and take a table's slots and the place of a bucket in them. For arrays that are passed
# to functions, and for a view of each bucket, references would be counted, in one place for all threads.


@helper(forceinline=True)
def _sift_down(slots, base, root, size, key):
    """Restore the heap of the bucket at `base` below `root`. Empty slots may follow the ids in its slots."""
    moved = slots[base + root]
    priority = mix64(np.uint64(moved) ^ key)
    while True:
        child = 2 * root + 1
        if child >= size or slots[base + child] == 0:
            break
        above = mix64(np.uint64(slots[base + child]) ^ key)
        if child + 1 < size and slots[base + child + 1] != 0:
            other = mix64(np.uint64(slots[base + child + 1]) ^ key)
            if other > above:
                child, above = child + 1, other
        if above <= priority:
            break
        slots[base + root] = slots[base + child]
        root = child
    slots[base + root] = moved


@helper
def order_heap(slots, base, size, key):
    """Make the first `size` ids of the bucket at `base` a heap."""
    for root in range(size // 2 - 1, -1, -1):
        _sift_down(slots, base, root, size, key)


@helper(forceinline=True)
def insert_id(slots, base, filled, room, slot, key):
    """Put one id into the bucket at `base` if its priority is among the `room` least.

    There are `filled` ids, of which there may be fewer if the room is filled: empty slots follow the ids.
    """
    if filled < room:
        slots[base + filled] = slot
        if filled + 1 == room:
            order_heap(slots, base, room, key)
    elif slots[base] != 0 and mix64(np.uint64(slot) ^ key) < mix64(np.uint64(slots[base]) ^ key):
        slots[base] = slot
        _sift_down(slots, base, 0, room, key)


@helper
def count_filled(slots, base, capacity):
    """Return the number of ids in the bucket at `base`."""
    filled = 0
    while filled < capacity and slots[base + filled] != 0:
        filled += 1
    return filled


@kernel
def insert_ids(codes, ids, keys, start, stop, slots, seen):
    """Put row i, of id ``ids[i]``, into bucket ``codes[i, t]`` of every table t in [start, stop).

    Returns the number of ids that full buckets have dropped.

    Notes
    -----
    An insertion touches two places far apart: the count of ids that a bucket has seen, and the slot to fill,
    which that count determines. Both are prefetched some rows ahead, so that accesses overlap. Rows are taken
    in blocks whose codes stay in the cache while one table after the other copies its column of them.
    """
    capacity = slots.shape[2]
    n = codes.shape[0]
    dropped = 0
    column = np.zeros(_BLOCK + _SEEN_AHEAD, np.int64)
    for first in range(0, n, _BLOCK):
        size = min(_BLOCK, n - first)
        for t in range(start, stop):
            table, counts, key = slots[t].reshape(-1), seen[t], keys[t]
            for i in range(size):
                column[i] = codes[first + i, t]
            # Codes behind the block are prefetched in vain, but must be those of a bucket.
            column[size : size + _SEEN_AHEAD] = 0
            for i in range(min(size, _SEEN_AHEAD)):
                prefetch(counts, column[i])
            for i in range(size):
                prefetch(counts, column[i + _SEEN_AHEAD])
                ahead = column[i + _SLOT_AHEAD]
                filled = counts[ahead]
                prefetch(table, ahead * capacity + (filled if filled < capacity else 0))
                code = column[i]
                filled = counts[code]
                counts[code] = filled + 1
                if filled < capacity - 1:
                    table[code * capacity + filled] = ids[first + i] + 1
                else:
                    dropped += filled >= capacity
                    insert_id(
                        table, code * capacity, min(filled, capacity), capacity, ids[first + i] + 1, key
                    )
    return dropped


@kernel
def merge_buckets(others, others_seen, keys, start, stop, slots, seen):
    """Put the ids of the buckets of `others` into those of `slots`, for tables in [start, stop).

    Notes
    -----
    If a bucket has dropped ids, its union with another one has no more room than that bucket. Among further
    ids of the other one there may be some with a greater priority than ids that were dropped.
    """
    capacity = slots.shape[2]
    for t in range(start, stop):
        table, other, key = slots[t].reshape(-1), others[t].reshape(-1), keys[t]
        for b in range(seen.shape[1]):
            ours, theirs = np.int64(seen[t, b]), np.int64(others_seen[t, b])
            if theirs == 0:
                continue
            base = b * capacity
            filled, n = count_filled(table, base, capacity), count_filled(other, base, capacity)
            n_rows = filled + n + max(ours - capacity, 0) + max(theirs - capacity, 0)
            room = min(filled, capacity) if ours > capacity else capacity
            if theirs > capacity:
                room = min(room, n)
            if filled > room or (filled == room and ours < capacity):
                order_heap(table, base, filled, key)
            while filled > room:
                filled -= 1
                table[base] = table[base + filled]
                table[base + filled] = 0
                if filled > 0:
                    _sift_down(table, base, 0, filled, key)
            for j in range(base, base + n):
                insert_id(table, base, filled, room, other[j], key)
                filled = min(filled + 1, room)
            seen[t, b] = n_rows if filled == n_rows else capacity + n_rows - filled


@kernel
def order_buckets(keys, start, stop, slots):
    """Bring every bucket of the tables [start, stop) into falling order of priority."""
    capacity = slots.shape[2]
    priorities = np.empty(capacity, np.uint64)
    kept = np.empty(capacity, slots.dtype)
    for t in range(start, stop):
        table, key = slots[t].reshape(-1), keys[t]
        for base in range(0, table.size, capacity):
            filled = 0
            ordered = True
            while filled < capacity and table[base + filled] != 0:
                kept[filled] = table[base + filled]
                priorities[filled] = mix64(np.uint64(kept[filled]) ^ key)
                ordered &= filled == 0 or priorities[filled - 1] >= priorities[filled]
                filled += 1
            if not ordered:
                order = np.argsort(priorities[:filled])
                for j in range(filled):
                    table[base + j] = kept[order[filled - 1 - j]]
