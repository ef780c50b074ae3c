"""Kernels that choose the active labels of `SlideClassifier` from hash tables over the labels' weights."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64

__all__ = ["build_tables", "choose_labels"]

_EMPTY = np.int32(-1)
_ONE = np.uint64(1)


@kernel
def build_tables(codes, start, stop, starts, labels):
    """Sort the labels by their codes in each of the tables [start, stop).

    Parameters
    ----------
    codes : array of uint32, shape (labels, tables)
    starts : array of int32, shape (tables, buckets + 1)
        Receives where the labels of each code begin.
    labels : array of int32, shape (tables, labels)
    """
    n = codes.shape[0]
    for t in range(start, stop):
        begins = starts[t]
        begins[:] = 0
        for i in range(n):
            begins[codes[i, t] + 1] += 1
        for c in range(1, begins.size):
            begins[c] += begins[c - 1]
        for i in range(n):
            place = begins[codes[i, t]]
            labels[t, place] = i
            begins[codes[i, t]] = place + 1
        for c in range(begins.size - 1, 0, -1):
            begins[c] = begins[c - 1]
        begins[0] = 0


@helper
def _add(label, seen, out, n):
    """Append a label that is not in the open hash table `seen`, and return the number of labels."""
    mask = np.uint64(seen.size - 1)
    slot = mix64(np.uint64(label)) & mask
    while seen[slot] != _EMPTY:
        if seen[slot] == label:
            return n
        slot = (slot + _ONE) & mask
    seen[slot] = label
    out[n] = label
    return n + 1


@kernel
def choose_labels(
    targets, bounds, shared, codes, starts, labels, budget, most, seed, start, stop, active, n_found, counts
):
    """Choose the active labels of the rows [start, stop): targets, those in the row's buckets, shared ones.

    The tables are read from a random one on, and a bucket from a random place on, until a row has `budget`
    labels beside its targets. No label comes twice.

    Parameters
    ----------
    targets, bounds : arrays of int32 and int64
        The distinct targets of row b are those from ``bounds[b]`` to ``bounds[b + 1]``.
    shared : array of int32
        Labels that are active for all rows.
    codes : array of uint32, shape (rows, tables)
    starts, labels : arrays of int32
        The tables of `build_tables`.
    budget : int
        The most labels of a row that come from the tables.
    most : int
        The most labels that are read from a bucket.
    seed : uint64
        A word for the batch. With 0 all rows begin with the first table, so that the order of the labels of
        a row does not depend on its place in the batch.
    active : array of int32, shape (rows, room)
        Receives the labels of each row.
    n_found, counts : arrays of int64
        Receive the number of labels of each row without those that are only shared, and with them.
    """
    room = 4
    while room < 2 * active.shape[1]:
        room *= 2
    seen = np.empty(room, np.int32)
    n_tables = codes.shape[1]
    for b in range(start, stop):
        out, n = active[b], 0
        seen[:] = _EMPTY
        for i in range(bounds[b], bounds[b + 1]):
            n = _add(targets[i], seen, out, n)
        full = n + budget
        word = mix64(seed ^ np.uint64(b)) if seed > 0 else seed
        table = np.int64(word % np.uint64(max(n_tables, 1)))
        for _ in range(n_tables):
            low, high = starts[table, codes[b, table]], starts[table, codes[b, table] + 1]
            place = low
            if high - low > most:
                word = mix64(word + _ONE)
                place = low + np.int64(word % np.uint64(high - low))
            for _ in range(min(high - low, most)):
                if n == full:
                    break
                n = _add(labels[table, place], seen, out, n)
                place = low if place + 1 == high else place + 1
            table = (table + 1) % n_tables
            if n == full:
                break
        n_found[b] = n
        for i in range(shared.size):
            n = _add(shared[i], seen, out, n)
        counts[b] = n
