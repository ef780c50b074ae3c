"""MinHash: the locality-sensitive family of sets under Jaccard similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from .backend import backend_of
from .family import HashFamily
from .random import random_uint64
from .threads import map_blocks
from .validation import check_choice, check_int, check_sets

__all__ = ["MinHash"]

SCHEMES = ("auto", "permutations", "one-permutation", "fast-similarity")
#: Rounds of throws of Fast Similarity Sketching before empty bins get a hash function of their own.
ROUNDS = 3
#: Token-hash pairs worth a thread's while, about a millisecond.
_WORK = 1 << 22
#: Values of signatures held at once while they are concatenated to codes: 256 KiB.
_SIGNATURE_BLOCK = 1 << 16


def choose_scheme(expected_set_size: int, n_values: int) -> str:
    """The scheme that takes the least time for sets of `expected_set_size` and `n_values` values."""
    if 0.035 * expected_set_size * n_values <= 3 * expected_set_size + 0.5 * n_values + 150:
        return "permutations"
    return "fast-similarity"


class MinHash(HashFamily):
    """MinHash."""

    _parameters = ("n_hashes", "power", "n_buckets", "scheme", "seed")

    def __init__(
        self,
        n_hashes: int = 128,
        *,
        power: int = 1,
        n_buckets: int = 2**32,
        scheme: str = "auto",
        expected_set_size: int = 100,
        seed: int = 0,
    ) -> None:
        self.n_hashes = check_int("n_hashes", n_hashes, 1, 2**20)
        self.power = check_int("power", power, 1, 2**20)
        if self.n_hashes * self.power > 2**20:
            raise ValueError(
                f"n_hashes * power must be at most {2**20}, got {self.n_hashes} * {self.power}"
            )
        self.n_buckets = check_int("n_buckets", n_buckets, 2, 2**32)
        check_choice("scheme", scheme, SCHEMES)
        expected = check_int("expected_set_size", expected_set_size, 1)
        self.scheme = choose_scheme(expected, self.n_values) if scheme == "auto" else scheme
        self.seed = check_int("seed", seed, 0, 2**64 - 1)
        self.chance_collision = 0.0 if self._is_signature else 1.0 / self.n_buckets
        self._drawn: dict[str, NDArray[Any]] | None = None

    @property
    def n_values(self) -> int:
        """Values of a signature: ``n_hashes * power``."""
        return self.n_hashes * self.power

    @property
    def _is_signature(self) -> bool:
        return self.power == 1 and self.n_buckets == 2**32

    def _random(self) -> dict[str, NDArray[Any]]:
        if self._drawn is None:
            words = random_uint64(self.seed, "minhash hash functions", self.n_values)
            self._drawn = {
                "keys": random_uint64(self.seed, "minhash tokens and donors", 2),
                "multipliers": random_uint64(self.seed, "minhash throws", ROUNDS) | np.uint64(1),
                "a": words.astype(np.uint32) | np.uint32(1),
                "b": (words >> np.uint64(32)).astype(np.uint32),
                "codes": random_uint64(self.seed, "minhash codes", self.n_hashes),
            }
        return self._drawn
