"""Bit sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from argument_cases import BITS
from entries import Family
from mergesketch.lsh import BitSampling, HashFamily
from stored_data import SMALL_ROWS


def _packed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return rows of 20 bits; the bits that pad them are random too."""
    return rng.integers(0, 256, (n, 3), dtype=np.uint8)


def bit_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of packed rows of 20 bits that differ in `distance` bits."""
    x = _packed(rng, n)
    unlike = rng.permuted(np.arange(20) < np.full((n, 1), distance), axis=1)
    return x, x ^ np.packbits(unlike, axis=1)


FAMILIES: dict[str, Family] = {
    **{
        name: Family(
            lambda n_hashes, seed, power=power, n_buckets=n_buckets: BitSampling(
                20, n_hashes, power=power, n_buckets=n_buckets, seed=seed
            ),
            _packed,
            (0, 1, 3, 8, 16, 20),
            bit_pairs,
            no_csr="packed bits",
            not_wide="its features are bits; see test_bit_sampling.py",
        )
        for name, power, n_buckets in (("BitSampling", 2, None), ("BitSampling, rehashed", 5, 50))
    },
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "bits": (BitSampling(40, 8, power=4), BITS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "bits": (BitSampling(4, 3, power=2, seed=1), SMALL_ROWS > 0),
}
