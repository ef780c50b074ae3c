"""p-stable projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from argument_cases import DISTANCES, ROWS
from entries import Family
from mergesketch.lsh import HashFamily, PStable
from row_data import dense_rows
from stored_data import SMALL_ROWS


def distance_pairs(p: int) -> Callable[[np.random.Generator, float, int], tuple[np.ndarray, np.ndarray]]:
    """Return a function that makes pairs of rows at a distance in the norm `p`."""

    def pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        x, step = rng.standard_normal((2, n, 12))
        return x, x + step * (distance / np.linalg.norm(step, ord=p, axis=1, keepdims=True))

    return pairs


FAMILIES: dict[str, Family] = {
    "PStable, 2": Family(
        lambda n_hashes, seed: PStable(12, n_hashes, p=2, width=2.0, power=2, seed=seed),
        dense_rows,
        (0.0, 0.2, 1.0, 3.0, 8.0),
        distance_pairs(2),
    ),
    "PStable, 1": Family(
        lambda n_hashes, seed: PStable(12, n_hashes, p=1, width=4.0, n_buckets=64, seed=seed),
        dense_rows,
        (0.0, 0.2, 1.0, 4.0, 30.0),
        distance_pairs(1),
    ),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "p-stable": PStable(12, n_hashes=20, power=2, width=2.0, seed=1),
    "p-stable, L1": PStable(12, n_hashes=20, p=1, width=5.0, n_buckets=50, seed=1),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "distances": (DISTANCES, ROWS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "pstable": (PStable(4, 3, width=1.0, power=2, n_buckets=16, seed=1), SMALL_ROWS),
    "cauchy": (PStable(4, 3, p=1, width=1.0, power=2, n_buckets=16, seed=1), SMALL_ROWS),
}
