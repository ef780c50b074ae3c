"""Kernels that count how often ids stand in the buckets of a query, and keep the most frequent ones."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch
from .heaps import keep_best, sort_best

__all__ = ["bound_found", "frequent_ids", "merge_top", "query_buckets"]

#: Bytes of a bucket that are prefetched, and bytes of a cache line.
_AHEAD, _LINE = 256, 64
#: Number of ids found where they have not been counted.
UNCOUNTED = -1


@helper(forceinline=True)
def _look_ahead(slots, flat, codes, i, bases):
    """Write where query i's distinct buckets begin to `bases`, and prefetch them; return their number."""
    n_tables, n_buckets, capacity = slots.shape
    lines = _LINE // slots.itemsize
    reach = min(capacity, _AHEAD // slots.itemsize)
    n = 0
    # The likeliest buckets of all tables come first, then the next ones.
    for p in range(codes.shape[2]):
        for t in range(n_tables):
            code = codes[i, t, p]
            # Codes are reduced to few buckets, so two probes may have one bucket.
            again = False
            for q in range(p):
                again |= codes[i, t, q] == code
            if not again:
                base = (t * n_buckets + np.int64(code)) * capacity
                for j in range(base, base + reach, lines):
                    prefetch(flat, j)
                bases[n] = base
                n += 1
    return n


@helper(forceinline=True)
def _count_direct(flat, capacity, bases, n_bases, counters, found, counts, ends):
    """Count with one counter for each id; return the number of ids, or UNCOUNTED if one has no counter.

    Ids go to `found` in the order of the buckets; those new in bucket a lie before ``ends[a]``.
    """
    n, size = 0, np.uint64(counters.size)
    beyond = False
    for a in range(n_bases):
        # The index is unsigned, for Numba checks whether a signed one is negative.
        for j in range(np.uint64(bases[a]), np.uint64(bases[a] + capacity)):
            slot = flat[j]
            if slot == 0:
                break
            if slot >= size:
                beyond = True
                break
            count = counters[slot]
            found[np.uint64(n)] = slot
            n += count == 0
            counters[slot] = count + 1
        ends[a] = n
    for a in range(n):
        counts[a] = counters[found[a]]
        counters[found[a]] = 0
    return UNCOUNTED if beyond else n


@helper(forceinline=True)
def _count_hashed(flat, capacity, bases, n_bases, keys, places, found, counts, ends):
    """Count in an open-addressing table with at least twice as many places as there are ids to find."""
    mask = keys.size - 1
    n = 0
    for a in range(n_bases):
        for j in range(bases[a], bases[a] + capacity):
            slot = flat[j]
            if slot == 0:
                break
            mixed = (np.uint64(slot) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
            place = np.int64(mixed) & mask
            while keys[place] != slot and keys[place] != 0:
                place = (place + 1) & mask
            if keys[place] == 0:
                keys[place] = slot
                found[n], counts[n], places[place] = slot, 0, n
                n += 1
            counts[places[place]] += 1
        ends[a] = n
    for a in range(n):
        # Whole runs are emptied, so the places of entries need not be kept.
        mixed = (np.uint64(found[a]) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        place = np.int64(mixed) & mask
        while keys[place] != 0:
            keys[place] = 0
            place = (place + 1) & mask
    return n


@helper
def _table_size(most):
    """Return the size of a table for `most` ids: a power of two."""
    size = 16
    while size < 2 * most:
        size *= 2
    return size


@helper
def write_frequent(slots, keys, size, row, out_ids, out_counts):
    """Write the ids of a heap, whose keys are counts below 0, to a row of results: the most frequent first.

    Where there are fewer ids than places, -1 and 0 follow.
    """
    sort_best(0, size, slots, keys)
    for j in range(size):
        out_ids[row, j] = np.int64(slots[j]) - 1
        out_counts[row, j] = -keys[j]
    for j in range(size, out_ids.shape[1]):
        out_ids[row, j] = -1
        out_counts[row, j] = 0


@kernel
def query_buckets(slots, codes, k, counters, start, stop, out_ids, out_counts):
    """Find the k ids that stand in most of a query's buckets, for the queries [start, stop).

    The most frequent first, equal ones by rising id; -1 and 0 where there are fewer than k.

    Notes
    -----
    `counters` holds zeros, one for each of the smallest ids; a query that finds larger ids uses an
    open-addressing table. The best k are kept in a heap: O(ids found + k log k log(ids found)). Buckets
    are prefetched one query ahead.
    """
    capacity, flat = slots.shape[2], slots.reshape(-1)
    n_bases = codes.shape[1] * codes.shape[2]
    most = n_bases * capacity
    bases, next_bases = np.empty(n_bases, np.int64), np.empty(n_bases, np.int64)
    ends = np.empty(n_bases, np.int64)
    # There is room for one more: an id that was found before is written behind the last and not counted.
    found, counts = np.empty(most + 1, slots.dtype), np.empty(most + 1, np.int32)
    size = _table_size(most)
    # These get their size when they are first needed.
    keys, places = np.zeros(0, slots.dtype), np.zeros(0, np.int32)
    best, best_keys = np.empty(k, slots.dtype), np.empty(k, np.int32)
    n_next = _look_ahead(slots, flat, codes, start, next_bases) if start < stop else 0
    for i in range(start, stop):
        bases, next_bases, n_here = next_bases, bases, n_next
        if i + 1 < stop:
            n_next = _look_ahead(slots, flat, codes, i + 1, next_bases)
        n = UNCOUNTED
        if counters.size:
            n = _count_direct(flat, capacity, bases, n_here, counters, found, counts, ends)
        if n == UNCOUNTED:
            if keys.size == 0:
                keys, places = np.zeros(size, slots.dtype), np.empty(size, np.int32)
            n = _count_hashed(flat, capacity, bases, n_here, keys, places, found, counts, ends)
        n_best = 0
        for a in range(n):
            n_best = keep_best(found[a], -counts[a], k, 0, n_best, best, best_keys)
        write_frequent(best, best_keys, n_best, i, out_ids, out_counts)


@kernel
def bound_found(seen, codes, capacity, start, stop, out):
    """Set ``out[i - start]`` to the number of entries in the buckets of query i, which may repeat ids."""
    for i in range(start, stop):
        total = np.int64(0)
        for t in range(codes.shape[1]):
            for p in range(codes.shape[2]):
                total += min(np.int64(seen[t, codes[i, t, p]]), capacity)
        out[i - start] = total


@helper(forceinline=True)
def _smallest(values, n, m):
    """Bring the m smallest of `n` different values to the front (Hoare's selection)."""
    left, right = 0, n - 1
    while left < right:
        pivot = values[(left + right) // 2]
        a, b = left, right
        while a <= b:
            while values[a] < pivot:
                a += 1
            while values[b] > pivot:
                b -= 1
            if a <= b:
                values[a], values[b] = values[b], values[a]
                a += 1
                b -= 1
        if m - 1 <= b:
            right = b
        elif m - 1 >= a:
            left = a
        else:
            break


@kernel
def frequent_ids(slots, codes, offsets, counters, start, stop, out, sizes):
    """Find the ids that stand in most buckets of each query of [start, stop), until their room is full.

    The ids of query i go to ``out[offsets[i - start]:]``, and their number to ``sizes[i - start]``. The room
    ends before ``offsets[i - start + 1]``. More frequent ids come first. Of equally frequent ones those of
    likelier buckets are kept (of first probes, then of second ones, each in the order of tables), and of the
    last such bucket the lowest; they are written in any order. `counters` is that of `query_buckets`.
    """
    n_tables, capacity, flat = slots.shape[0], slots.shape[2], slots.reshape(-1)
    n_bases = codes.shape[1] * codes.shape[2]
    most = n_bases * capacity
    bases, next_bases = np.empty(n_bases, np.int64), np.empty(n_bases, np.int64)
    ends = np.empty(n_bases, np.int64)
    found, counts = np.empty(most + 1, slots.dtype), np.empty(most + 1, np.int32)
    tied = np.empty(most, slots.dtype)
    size = _table_size(most)
    # These get their size when they are first needed.
    keys, places = np.zeros(0, slots.dtype), np.zeros(0, np.int32)
    at = np.empty(n_tables + 1, np.int64)
    n_next = _look_ahead(slots, flat, codes, start, next_bases) if start < stop else 0
    for i in range(start, stop):
        bases, next_bases, n_here = next_bases, bases, n_next
        if i + 1 < stop:
            n_next = _look_ahead(slots, flat, codes, i + 1, next_bases)
        n = UNCOUNTED
        if counters.size:
            n = _count_direct(flat, capacity, bases, n_here, counters, found, counts, ends)
        if n == UNCOUNTED:
            if keys.size == 0:
                keys, places = np.zeros(size, slots.dtype), np.empty(size, np.int32)
            n = _count_hashed(flat, capacity, bases, n_here, keys, places, found, counts, ends)
        at[:] = 0
        for a in range(n):
            # An id that was added twice may count more often than there are tables: that is the most.
            counts[a] = min(counts[a], n_tables)
            at[counts[a]] += 1
        room = offsets[i - start + 1] - offsets[i - start]
        if room == 0:
            n = 0
        sizes[i - start] = min(np.int64(n), room)
        # Turn the number of ids of each count into the place of the first of them, down to the least count
        # kept.
        total, least, crowded = np.int64(0), 1, False
        for count in range(n_tables, 0, -1):
            here = at[count]
            at[count] = offsets[i - start] + total
            if total + here >= room:
                least, crowded = count, total + here > room
                break
            total += here
        least_kept = least + 1 if crowded else least
        for a in range(n):
            if counts[a] >= least_kept:
                out[at[counts[a]]] = found[a]
                at[counts[a]] += 1
        if not crowded:
            continue
        # Keep the lowest ids of the bucket in which the room ends.
        to, a = at[least], 0
        for bucket in range(n_here):
            n_tied = 0
            while a < ends[bucket]:
                if counts[a] == least:
                    tied[n_tied] = found[a]
                    n_tied += 1
                a += 1
            left = offsets[i - start + 1] - to
            if n_tied > left:
                _smallest(tied, n_tied, left)
                n_tied = left
            for b in range(n_tied):
                out[to + b] = tied[b]
            to += n_tied
            if n_tied == left:
                break


@kernel
def merge_top(other_ids, other_counts, start, stop, ids, counts):
    """Merge other lists as `query_buckets` writes them, of different ids, into these: the k best of both."""
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
        for j in range(k):
            ids[i, j], counts[i, j] = merged[j], merged_counts[j]
