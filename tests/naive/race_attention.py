"""Attention from counters, written out: every token, table and bucket one after the other."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def weights(row: Numbers, vectors: Numbers, beta: float | None) -> Numbers:
    """Return the weight of a row in each bucket of each table, shape (n_tables, 2**power).

    Parameters
    ----------
    row : ndarray of shape (d,)
    vectors : ndarray of shape (n_tables, power, d)
    beta : float, or None for hard codes
    """
    found = []
    for table in vectors:
        products = np.array([sum(w * x for w, x in zip(vector, row, strict=True)) for vector in table])
        # The last sign is the highest bit, and changes most slowly.
        corners = [v[::-1] for v in itertools.product((-1.0, 1.0), repeat=len(table))]
        if beta is None:
            signs = tuple(1.0 if p >= 0.0 else -1.0 for p in products)
            found.append([float(v == signs) for v in corners])
            continue
        exponents = [beta * float(np.tanh(products) @ np.array(v)) for v in corners]
        powers = [math.exp(e - max(exponents)) for e in exponents]
        found.append([p / sum(powers) for p in powers])
    return np.array(found)


def attention(
    queries: Numbers, keys: Numbers, values: Numbers, vectors: Numbers, beta: float | None, causal: bool
) -> Numbers:
    """Return the mean of the values, weighted by how much the buckets of query and key have in common."""
    of_keys = [weights(k, vectors, beta) for k in keys]
    out = np.full((len(queries), values.shape[1]), np.nan)
    for i, query in enumerate(queries):
        of_query = weights(query, vectors, beta)
        seen = range(i + 1) if causal else range(len(keys))
        common = [float((of_query * of_keys[j]).sum()) for j in seen]
        if sum(common) > 0.0:
            out[i] = sum(c * values[j] for c, j in zip(common, seen, strict=True)) / sum(common)
    return out
