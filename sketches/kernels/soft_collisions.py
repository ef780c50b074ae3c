"""Kernels of soft collisions: projections of queries, their tables, and the sums over a key's buckets."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel

__all__ = ["fill_tables", "project_queries", "score_codes"]

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
def score_codes(codes, norms, tables, numbers, start, stop, out):
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
        for q in range(tables.shape[0]):
            table = tables[q]
            for i in range(first, min(first + _ROWS, stop)):
                row = numbers[q, i] if numbers.size else i
                code, total = codes[row], 0.0
                for t in range(code.size):
                    total += table[t, code[t]]
                out[q, i] = total * norms[row] if norms.size else total
