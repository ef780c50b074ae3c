"""Kernels of soft collisions: projections of queries, their tables, and the sums over a key's buckets."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["fill_tables", "project_queries", "score_keys"]

#: Keys that are scored with one query after another, while their codes are in the processor's caches.
_ROWS = 2048


@kernel
def project_queries(Q, vectors, start, stop, out):
    """Write the products of the queries [start, stop) with all vectors, added up from the first feature on.

    Parameters
    ----------
    Q : ndarray of shape (n_queries, d), float64
    vectors : ndarray of shape (d, n_values), float32
    out : ndarray of shape (n_queries, n_values), float64
    """
    for i in range(start, stop):
        sums = out[i]
        sums[:] = 0.0
        for j in range(Q.shape[1]):
            value, row = Q[i, j], vectors[j]
            for p in range(row.size):
                sums[p] += value * row[p]


@kernel
def fill_tables(bits, start, stop, tables):
    """Write the probabilities of all codes of the queries [start, stop): products of those of their bits.

    Parameters
    ----------
    bits : ndarray of shape (n_queries, power * n_tables), float64
        ``bits[q, k * n_tables + t]`` is the probability that bit k of the code of table t is set.
    tables : ndarray of shape (n_queries, n_tables, 2**power), float32
    """
    n_tables, n_codes = tables.shape[1], tables.shape[2]
    chances = np.empty(n_codes)
    for q in range(start, stop):
        for t in range(n_tables):
            chances[0], size, at = 1.0, 1, t
            while size < n_codes:
                # Codes of one bit more: first those in which it is set.
                for code in range(size):
                    chances[size + code] = chances[code] * bits[q, at]
                    chances[code] *= 1.0 - bits[q, at]
                size, at = 2 * size, at + n_tables
            for code in range(n_codes):
                tables[q, t, code] = chances[code]


@kernel
def score_keys(codes, norms, tables, numbers, start, stop, out):
    """Write the scores of the keys [start, stop) of each query, or of its list, to ``out[query, key]``.

    Parameters
    ----------
    codes : ndarray of shape (n, n_tables), uint8 or uint16
    norms : ndarray of shape (n,), float32
        Factors of the scores; none if it is empty.
    tables : ndarray of shape (n_queries, n_tables, n_codes), float32
    numbers : ndarray of shape (n_queries, m), int64
        Numbers of the keys of each query; all keys if it is empty.
    out : ndarray of shape (n_queries, n or m), float64
    """
    for first in range(start, stop, _ROWS):
        last = min(first + _ROWS, stop) - 1
        for q in range(tables.shape[0]):
            table = tables[q]
            # Four keys at a time, because the additions of one key wait for each other.
            for i in range(first, last + 1, 4):
                places = i, min(i + 1, last), min(i + 2, last), min(i + 3, last)
                a, b, c, d = places
                if numbers.size:
                    a, b, c, d = numbers[q, a], numbers[q, b], numbers[q, c], numbers[q, d]
                at_a, at_b, at_c, at_d = 0.0, 0.0, 0.0, 0.0
                for t in range(codes.shape[1]):
                    at_a += table[t, codes[a, t]]
                    at_b += table[t, codes[b, t]]
                    at_c += table[t, codes[c, t]]
                    at_d += table[t, codes[d, t]]
                if norms.size:
                    at_a, at_b = at_a * norms[a], at_b * norms[b]
                    at_c, at_d = at_c * norms[c], at_d * norms[d]
                # A last group of fewer keys writes its last one again.
                out[q, places[0]], out[q, places[1]] = at_a, at_b
                out[q, places[2]], out[q, places[3]] = at_c, at_d
