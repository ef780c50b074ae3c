"""The table of counters that the sketches which count keys have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.support.checks import check_int
from ...lsh.support.lazy import lazy
from ...lsh.support.random import random_uint64
from ..core.base import MergeableSketch, StateSpec
from ..core.guard import uninterrupted

__all__ = ["KEYS_BLOCK", "MAX_BUCKETS", "KeyTable", "buckets_for"]

#: Keys that are worth a thread of their own.
KEYS_BLOCK = 1 << 14
MAX_BUCKETS = 1 << 28
_MAX_SEED = 2**64 - 1


def buckets_for(relative_error: float, wanted: float) -> int:
    """The number of buckets, `wanted` rounded up; ValueError if no table has so many."""
    if not wanted <= MAX_BUCKETS:
        raise ValueError(f"relative_error must be reached by {MAX_BUCKETS} buckets, got {relative_error:g}")
    return math.ceil(wanted)


class KeyTable(MergeableSketch):
    """A table of counters that keys are hashed into; the common part of the sketches that count keys."""

    def __init__(self, n_rows: int, n_buckets: int, seed: int) -> None:
        self.n_rows = check_int("n_rows", n_rows, 1, 1 << 16)
        self.n_buckets = check_int("n_buckets", n_buckets, 1, MAX_BUCKETS)
        self.seed = check_int("seed", seed, 0, _MAX_SEED)

    def _layout(self) -> dict[str, StateSpec]:
        return {
            "counts": StateSpec((self.n_rows, self.n_buckets), "int32", "sum", widens_to="int64"),
            "total": StateSpec((1,), "int64", "sum"),
        }

    @abstractmethod
    def update(self, keys: Any, counts: ArrayLike | None = None) -> Self: ...

    @property
    def total(self) -> int:
        """The sum of all counts taken in."""
        return int(self._arrays["total"][0])

    @lazy
    def _words(self) -> NDArray[np.uint64]:
        return random_uint64(self.seed, "KeyTable rows", 3 * self.n_rows).reshape(self.n_rows, 3)

    def _hashes(self, keys: Any) -> NDArray[np.uint64]:
        self._settle("keys", keys)
        return hash_keys(keys, self.seed)

    def _take_in(
        self, hashes: NDArray[np.uint64], weights: NDArray[np.int64], magnitude: int, kernel: Any
    ) -> None:
        """Add a checked batch to the table by `kernel`, which fills a range of rows."""
        with uninterrupted():
            self._reserve_batch(hashes.size, magnitude)
            table, words = self._arrays["counts"], self._words
            # A thread owns whole rows, so that no two add into one counter.
            block = 1 if hashes.size > KEYS_BLOCK else self.n_rows
            self._backend.map_blocks(
                lambda a, b: kernel(hashes, weights, words, a, b, table), self.n_rows, block
            )
            self._record_batch(hashes.size, weights)

    def _reserve_batch(self, n: int, magnitude: int) -> None:
        self._reserve("counts", magnitude)
        self._reserve("total", magnitude)
        self._reserve("n_updates", n)

    def _record_batch(self, n: int, weights: NDArray[np.int64]) -> None:
        self._arrays["total"] += int(weights.sum()) if weights.size else n
        self._arrays["n_updates"] += n

    def _ask(self, hashes: NDArray[np.uint64], kernel: Any, dtype: type) -> NDArray[Any]:
        out: NDArray[Any] = self._backend.xp.empty(hashes.size, dtype=dtype)
        table, words = self._arrays["counts"], self._words
        self._backend.map_blocks(
            lambda a, b: kernel(table, hashes, words, a, b, out), hashes.size, KEYS_BLOCK
        )
        return out

    def _row_products(self, other: Self) -> NDArray[np.float64]:
        self._check_compatible(other)
        pairs = zip(self._arrays["counts"], self._beside(other)._arrays["counts"], strict=True)
        return np.array([float(a.astype(np.float64).dot(b.astype(np.float64))) for a, b in pairs])
