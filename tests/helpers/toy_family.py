"""A hash family whose kernel is checked by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
from mergesketch.lsh import HashFamily
from mergesketch.lsh.inputs.arrays import check_dense, check_range
from mergesketch.lsh.support.random import random_uint64


class ToyFamily(HashFamily):
    """Bit sampling over small integers: hash r is one feature of the row. Its kernel is checked by eye."""

    _parameters = ("n_features", "n_hashes", "n_buckets", "seed")
    metric = "hamming"
    chance_collision = 0.0

    def __init__(self, n_features: int, n_hashes: int, n_buckets: int = 4, seed: int = 0) -> None:
        self.n_features, self.n_hashes, self.n_buckets, self.seed = n_features, n_hashes, n_buckets, seed

    def hash(self, X: Any) -> np.ndarray:
        X = check_dense(X, self.n_features)
        if X.size and (X.min() < 0 or X.max() >= self.n_buckets):
            raise ValueError(f"X must lie in [0, {self.n_buckets})")
        picked = random_uint64(self.seed, "ToyFamily", self.n_hashes) % np.uint64(self.n_features)
        return np.ascontiguousarray(X[:, picked.astype(np.int64)], dtype=np.uint32)

    def collision_probability(self, distance: Any) -> np.ndarray:
        return 1.0 - check_range("distance", distance, self.n_features) / self.n_features

    def kernel(self, X: Any, Y: Any) -> np.ndarray:
        return (np.asarray(X)[:, None, :] == np.asarray(Y)[None, :, :]).mean(axis=2)
