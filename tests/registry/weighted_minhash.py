"""Weighted MinHash."""

from __future__ import annotations

from typing import Any

import numpy as np
from argument_cases import WEIGHTS
from entries import Family
from mergesketch.lsh import HashFamily, WeightedMinHash
from row_data import JACCARD
from scipy import sparse
from stored_data import SMALL_ROWS


def _positive(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.maximum(rng.standard_normal((n, 12)), 0).astype(np.float32)


def weighted_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[Any, Any]:
    """Return weights at that weighted Jaccard distance: both rows of a pair have a share of each column.

    Each pair has its own 12 features, because pairs with common features collide together.
    """
    weights = rng.exponential(size=(n, 12)) + 0.1
    # x has the common part and a third of the rest, y has the common part and two thirds.
    common = weights * (1.0 - distance)
    mine = np.arange(12) < 4
    rest = weights.sum(axis=1, keepdims=True) * distance
    x, y = np.zeros((2, n, n, 12))
    own = np.arange(n)
    x[own, own] = common + mine * rest / 3 / 4
    y[own, own] = common + ~mine * rest * 2 / 3 / 8
    return x.reshape(n, 12 * n), y.reshape(n, 12 * n)


FAMILIES: dict[str, Family] = {
    "WeightedMinHash": Family(
        lambda n_hashes, seed: WeightedMinHash(n_hashes, seed=seed), _positive, JACCARD, weighted_pairs
    ),
    "WeightedMinHash, concatenated": Family(
        lambda n_hashes, seed: WeightedMinHash(n_hashes, power=2, n_buckets=64, seed=seed),
        _positive,
        JACCARD,
        weighted_pairs,
    ),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "weights": (WeightedMinHash(8, n_buckets=16), WEIGHTS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "weighted": (WeightedMinHash(3, power=2, n_buckets=16, seed=1), sparse.csr_array(np.abs(SMALL_ROWS))),
}
