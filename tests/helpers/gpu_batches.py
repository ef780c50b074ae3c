"""Batches for sketches on a GPU, made in main memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from mergesketch.lsh import SignedRandomProjection


def gpu_rows(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (rng.standard_normal((n, 12)).astype(np.float32),)


def gpu_weighted_rows(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return *gpu_rows(rng, n), rng.integers(-5, 6, n)


def gpu_real_weighted_rows(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return *gpu_rows(rng, n), rng.standard_normal(n)


def gpu_keys(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.zipf(1.5, n), rng.integers(0, 9, n)


def gpu_sets(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    """Return sets as a pair of tokens and offsets, and a weight for each set."""
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 40, n))])
    return (rng.integers(0, 500, offsets[-1]), offsets), rng.integers(-5, 6, n)


def gpu_signs() -> SignedRandomProjection:
    return SignedRandomProjection(12, n_hashes=20, power=3, seed=1)
