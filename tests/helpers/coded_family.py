"""A family of any metric, whose codes are looked up and say nothing about rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from mergesketch.lsh.support.random import random_uint64
from toy_family import ToyFamily

__all__ = ["Coded"]


class Coded(ToyFamily):
    """A family that looks codes up by the number of a row in its batch."""

    _parameters = ("n_hashes", "n_buckets", "metric", "n_bits")

    def __init__(self, n_hashes: int, n_buckets: int, metric: str, n_bits: int = 0) -> None:
        super().__init__(1, n_hashes, n_buckets)
        self.metric, self.n_bits = metric, n_bits  # type: ignore[misc]

    def _codes(self, X: Any, n_probes: int) -> np.ndarray:
        n = X.shape[0] if hasattr(X, "shape") else len(X)
        words = random_uint64(n_probes, "Coded", n * self.n_hashes * n_probes) % np.uint64(self.n_buckets)
        return words.astype(np.uint32).reshape(n, self.n_hashes, n_probes)

    def hash(self, X: Any) -> np.ndarray:
        return np.ascontiguousarray(self._codes(X, 1)[:, :, 0])

    def probe(self, Q: Any, n_probes: int) -> np.ndarray:
        return self._codes(Q, n_probes)
