"""Kernels of attention from counters: tokens are added to buckets, and queries read means of buckets.

Counters have the shape (n_tables, n_codes, 1 + n_values): column 0 has the weights, and the others have the
weighted values.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = [
    "add_tokens",
    "add_tokens_hard",
    "attend_causally",
    "attend_causally_hard",
    "query_counters",
    "query_counters_hard",
]


@kernel
def add_tokens(weights, columns, start, stop, counters):
    """Add tokens to all buckets of the tables [start, stop), each with the weight that it has there.

    Parameters
    ----------
    weights : ndarray of shape (n, n_tables, n_codes), float32
    columns : ndarray of shape (n, m), float64
    counters : ndarray of shape (n_tables, n_codes, m), float64
    """
    n_codes = weights.shape[2]
    for t in range(start, stop):
        for i in range(weights.shape[0]):
            row = columns[i]
            for c in range(n_codes):
                weight = np.float64(weights[i, t, c])
                if weight != 0.0:
                    sums = counters[t, c]
                    for j in range(row.size):
                        sums[j] += weight * row[j]


@kernel
def add_tokens_hard(codes, columns, start, stop, counters):
    """Add tokens to their buckets of the tables [start, stop), one of each table.

    Parameters
    ----------
    codes : ndarray of shape (n, n_tables), uint32
    columns : ndarray of shape (n, m), float64
    counters : ndarray of shape (n_tables, n_codes, m), float64
    """
    for i in range(codes.shape[0]):
        row = columns[i]
        for t in range(start, stop):
            sums = counters[t, codes[i, t]]
            for j in range(row.size):
                sums[j] += row[j]


@kernel
def query_counters(weights, counters, start, stop, out):
    """Write the weighted sums over all buckets for the queries [start, stop).

    Parameters
    ----------
    weights : ndarray of shape (n_queries, n_tables, n_codes), float32
    counters : ndarray of shape (n_tables, n_codes, m), float64
    out : ndarray of shape (n_queries, m), float64
    """
    part = np.empty(counters.shape[2])
    for i in range(start, stop):
        sums = out[i]
        sums[:] = 0.0
        for t in range(weights.shape[1]):
            part[:] = 0.0
            for c in range(weights.shape[2]):
                weight = np.float64(weights[i, t, c])
                if weight != 0.0:
                    row = counters[t, c]
                    for j in range(row.size):
                        part[j] += weight * row[j]
            for j in range(part.size):
                sums[j] += part[j]


@kernel
def query_counters_hard(codes, counters, start, stop, out):
    """Write the sums over the buckets of the queries [start, stop), one bucket of each table.

    Parameters
    ----------
    codes : ndarray of shape (n_queries, n_tables), uint32
    counters : ndarray of shape (n_tables, n_codes, m), float64
    out : ndarray of shape (n_queries, m), float64
    """
    for i in range(start, stop):
        sums = out[i]
        sums[:] = 0.0
        for t in range(codes.shape[1]):
            row = counters[t, codes[i, t]]
            for j in range(row.size):
                sums[j] += row[j]


@kernel
def attend_causally(query_weights, key_weights, columns, start, stop, counters, out):
    """Add tokens one after the other, and write for each the sums of its query right after it was added.

    Columns [start, stop) are added and written. So threads share the columns, and each keeps the order of
    tokens.

    Parameters
    ----------
    query_weights, key_weights : ndarray of shape (n, n_tables, n_codes), float32
    columns : ndarray of shape (n, m), float64
    counters : ndarray of shape (n_tables, n_codes, m), float64
    out : ndarray of shape (n, m), float64
    """
    n_tables, n_codes = key_weights.shape[1], key_weights.shape[2]
    part = np.empty(stop - start)
    for i in range(key_weights.shape[0]):
        row, sums = columns[i, start:stop], out[i, start:stop]
        sums[:] = 0.0
        for t in range(n_tables):
            part[:] = 0.0
            for c in range(n_codes):
                added = np.float64(key_weights[i, t, c])
                weight = np.float64(query_weights[i, t, c])
                bucket = counters[t, c, start:stop]
                if added != 0.0:
                    for j in range(row.size):
                        bucket[j] += added * row[j]
                if weight != 0.0:
                    for j in range(row.size):
                        part[j] += weight * bucket[j]
            for j in range(part.size):
                sums[j] += part[j]


@kernel
def attend_causally_hard(query_codes, key_codes, columns, start, stop, counters, out):
    """Do the same as `attend_causally` where a key and a query have one bucket of each table.

    Parameters
    ----------
    query_codes, key_codes : ndarray of shape (n, n_tables), uint32
    columns, counters, out
        As for `attend_causally`.
    """
    for i in range(key_codes.shape[0]):
        row, sums = columns[i, start:stop], out[i, start:stop]
        sums[:] = 0.0
        for t in range(key_codes.shape[1]):
            bucket = counters[t, key_codes[i, t], start:stop]
            for j in range(row.size):
                bucket[j] += row[j]
            bucket = counters[t, query_codes[i, t], start:stop]
            for j in range(row.size):
                sums[j] += bucket[j]
