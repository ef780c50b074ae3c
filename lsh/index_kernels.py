"""Buckets of bounded size that keep the ids of least priority, and counting collisions in them.

A bucket is a row of slots, filled from the left. A slot holds an id plus one, 0 when empty. A bucket that
is full is a binary max-heap by priority: the id that would be dropped next stands first, so an id that is
not to be kept is refused after one comparison. A row in falling order of priority is such a heap, and is
the form that equal buckets share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .minhash_kernels import mix64

__all__ = ["insert_ids", "merge_buckets", "merge_top", "order_buckets", "query_buckets"]

#: Rows of a block, whose codes stay in the second-level cache.
_BLOCK = 4096
#: Rows by which counts, and by which slots, are asked for ahead of time.
_SEEN_AHEAD, _SLOT_AHEAD = 32, 16


def _prefetch_code(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of ``array[index]``, soon to be written, without waiting for it."""
    signature = types.void(array, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.gep(data, [arguments[1]])
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        flags = [number(1), number(3), number(1)]  # to be written, to stay in every cache, data
        builder.call(function, [builder.bitcast(address, pointer), *flags])
        return context.get_dummy_value()

    return signature, generate


prefetch: Any = intrinsic(_prefetch_code)


# Helpers are inlined, and take a table's slots and where a bucket starts in them: arrays that are passed
# to functions, or views of each bucket, would count references up and down, in one place for all threads.


@njit(cache=True, nogil=True, forceinline=True)
def _sift_down(slots, base, root, size, key):  # type: ignore[no-untyped-def]
    """Restore the heap of the bucket at `base` below `root`."""
    moved = slots[base + root]
    priority = mix64(np.uint64(moved) ^ key)
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        above = mix64(np.uint64(slots[base + child]) ^ key)
        if child + 1 < size:
            other = mix64(np.uint64(slots[base + child + 1]) ^ key)
            if other > above:
                child, above = child + 1, other
        if above <= priority:
            break
        slots[base + root] = slots[base + child]
        root = child
    slots[base + root] = moved


@njit(cache=True, nogil=True, forceinline=True)
def _insert(slots, base, filled, capacity, slot, key):  # type: ignore[no-untyped-def]
    """Put one id into the bucket at `base`, of `filled` ids, if its priority is among the least."""
    if filled < capacity:
        slots[base + filled] = slot
        if filled + 1 == capacity:
            for root in range(capacity // 2 - 1, -1, -1):
                _sift_down(slots, base, root, capacity, key)
    elif mix64(np.uint64(slot) ^ key) < mix64(np.uint64(slots[base]) ^ key):
        slots[base] = slot
        _sift_down(slots, base, 0, capacity, key)


@njit(cache=True, nogil=True)
def insert_ids(slots, seen, codes, ids, keys, start, stop):  # type: ignore[no-untyped-def]
    """Put row i, of id ``ids[i]``, into bucket ``codes[i, t]`` of every table t in [start, stop).

    Notes
    -----
    Two places far apart are touched per insertion: the count of ids a bucket has seen and, known only
    from that, the slot to fill. Both are asked for some rows ahead, so that their ways to memory
    overlap. Rows are taken in blocks whose codes stay in the cache while one table after the other
    copies its column of them.
    """
    capacity = slots.shape[2]
    n = codes.shape[0]
    column = np.zeros(_BLOCK + _SEEN_AHEAD, np.int64)
    for first in range(0, n, _BLOCK):
        size = min(_BLOCK, n - first)
        for t in range(start, stop):
            table, counts, key = slots[t].reshape(-1), seen[t], keys[t]
            for i in range(size):
                column[i] = codes[first + i, t]
            # What follows the block is asked for in vain, but must be a bucket.
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
                    _insert(table, code * capacity, min(filled, capacity), capacity, ids[first + i] + 1, key)


@njit(cache=True, nogil=True)
def merge_buckets(slots, others, keys, start, stop):  # type: ignore[no-untyped-def]
    """Put the ids of the buckets of `others` into those of `slots`, for tables in [start, stop)."""
    capacity = slots.shape[2]
    for t in range(start, stop):
        table, other, key = slots[t].reshape(-1), others[t].reshape(-1), keys[t]
        for base in range(0, table.size, capacity):
            if other[base] == 0:
                continue
            filled = 0
            while filled < capacity and table[base + filled] != 0:
                filled += 1
            for j in range(base, base + capacity):
                if other[j] == 0:
                    break
                _insert(table, base, filled, capacity, other[j], key)
                filled = min(filled + 1, capacity)


@njit(cache=True, nogil=True)
def order_buckets(slots, keys, start, stop):  # type: ignore[no-untyped-def]
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


@njit(cache=True, nogil=True, forceinline=True)
def _worse(count, slot, other_count, other_slot):  # type: ignore[no-untyped-def]
    return count < other_count or (count == other_count and slot > other_slot)


@njit(cache=True, nogil=True, forceinline=True)
def _sink(slots, counts, root, size):  # type: ignore[no-untyped-def]
    """Restore a heap whose root is its worst entry: least count, largest id."""
    slot, count = slots[root], counts[root]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        if child + 1 < size and _worse(counts[child + 1], slots[child + 1], counts[child], slots[child]):
            child += 1
        if _worse(count, slot, counts[child], slots[child]):
            break
        slots[root], counts[root] = slots[child], counts[child]
        root = child
    slots[root], counts[root] = slot, count


@njit(cache=True, nogil=True)
def query_buckets(slots, seen, codes, k, start, stop, out_ids, out_counts):  # type: ignore[no-untyped-def]
    """The k ids that stand in most of a query's buckets, for the queries [start, stop).

    The most frequent first, equal ones by rising id; -1 and 0 where there are fewer than k.

    Notes
    -----
    Ids are counted in an open-addressing table of at least twice as many places as a query can find
    ids, then the best k are kept in a heap: O(ids found + k log k log(ids found)).
    """
    n_tables, n_buckets, capacity = slots.shape
    flat = slots.reshape(-1)
    size = 16
    while size < 2 * n_tables * capacity:
        size *= 2
    mask = np.uint64(size - 1)
    found = np.zeros(size, slots.dtype)
    counts = np.zeros(size, np.int32)
    places = np.empty(n_tables * capacity, np.int64)
    best = np.empty(k, slots.dtype)
    best_counts = np.empty(k, np.int32)
    for i in range(start, stop):
        n = 0
        for t in range(n_tables):
            code = codes[i, t]
            base = (t * n_buckets + np.int64(code)) * capacity
            for j in range(base, base + min(seen[t, code], capacity)):
                slot = flat[j]
                if slot == 0:
                    break
                place = np.int64(((np.uint64(slot) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask)
                while found[place] != slot and found[place] != 0:
                    place = (place + 1) & (size - 1)
                if found[place] == 0:
                    found[place] = slot
                    places[n] = place
                    n += 1
                counts[place] += 1
        held = 0
        for a in range(n):
            slot, count = found[places[a]], counts[places[a]]
            found[places[a]] = 0
            counts[places[a]] = 0
            if held < k:
                best[held], best_counts[held] = slot, count
                held += 1
                if held == k:
                    for root in range(k // 2 - 1, -1, -1):
                        _sink(best, best_counts, root, k)
            elif _worse(best_counts[0], best[0], count, slot):
                best[0], best_counts[0] = slot, count
                _sink(best, best_counts, 0, k)
        if held < k:
            for root in range(held // 2 - 1, -1, -1):
                _sink(best, best_counts, root, held)
        for last in range(held - 1, -1, -1):
            out_ids[i, last] = np.int64(best[0]) - 1
            out_counts[i, last] = best_counts[0]
            best[0], best_counts[0] = best[last], best_counts[last]
            _sink(best, best_counts, 0, last)
        for j in range(held, k):
            out_ids[i, j] = -1
            out_counts[i, j] = 0


@njit(cache=True, nogil=True)
def merge_top(ids, counts, other_ids, other_counts, start, stop):  # type: ignore[no-untyped-def]
    """Merge lists as `query_buckets` gives them, of different ids, into the first: the k best of both."""
    k = ids.shape[1]
    merged, merged_counts = np.empty(k, ids.dtype), np.empty(k, counts.dtype)
    for i in range(start, stop):
        a = b = 0
        for j in range(k):
            left, right = counts[i, a], other_counts[i, b]
            if left > right or (left == right and np.uint64(ids[i, a]) <= np.uint64(other_ids[i, b])):
                merged[j], merged_counts[j] = ids[i, a], left
                a += 1
            else:
                merged[j], merged_counts[j] = other_ids[i, b], right
                b += 1
        ids[i] = merged
        counts[i] = merged_counts
