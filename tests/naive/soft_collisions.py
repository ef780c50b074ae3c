"""Soft collisions: the softmax over all codes, written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def probabilities(projected: Numbers, tau: float, n_features: int) -> Numbers:
    """Return the softmax of u . v / tau over all vectors v of signs, where u = tanh(projected) / sqrt(d).

    Parameters
    ----------
    projected : ndarray of shape (power,)
        The products of the query with the vectors of one table. Bit k of a code is set where sign k is 1.
    """
    u = np.tanh(projected) / math.sqrt(n_features)
    # The last sign is the highest bit, and changes most slowly.
    signs = [v[::-1] for v in itertools.product((-1.0, 1.0), repeat=len(u))]
    exponents = np.array([float(u @ np.array(v)) / tau for v in signs])
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def scores(queries: Numbers, keys: Numbers, vectors: Numbers, tau: float, norms: Numbers) -> Numbers:
    """Return the scores of all pairs.

    Parameters
    ----------
    queries, keys : ndarray of shape (m, d), (n, d)
    vectors : ndarray of shape (n_tables, power, d)
    tau : float
    norms : ndarray of shape (n,)
    """
    found = np.zeros((len(queries), len(keys)))
    for q, query in enumerate(queries):
        for j, key in enumerate(keys):
            for table in vectors:
                code = sum(1 << k for k, vector in enumerate(table) if float(vector @ key) >= 0.0)
                found[q, j] += norms[j] * probabilities(table @ query, tau, queries.shape[1])[code]
    return found


def expected_score(cosine: float, length: float, power: int, tau: float, n_features: int) -> float:
    """Return the expectation of a table's part of the score, over random vectors, by summing on a grid.

    The products of a random vector with the query and with the key's direction have normal distributions of
    standard deviations `length` and 1, and the given correlation. The bits of a code are independent.
    """
    x = np.linspace(-8.0, 8.0, 20_001)
    density = np.exp(-x * x / 2.0)
    density /= density.sum()
    chance = 1.0 / (1.0 + np.exp(-2.0 * np.tanh(length * x) / (math.sqrt(n_features) * tau)))
    slope = cosine / math.sqrt(max(1.0 - cosine * cosine, 1e-30))
    positive = np.array([0.5 * (1.0 + math.erf(slope * value / math.sqrt(2.0))) for value in x])
    agree = float((density * (positive * chance + (1.0 - positive) * (1.0 - chance))).sum())
    return agree**power
