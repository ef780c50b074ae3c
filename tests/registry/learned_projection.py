"""Signs of products with given vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import RNG, ROWS, Case, D
from entries import Family
from mergesketch.lsh import HashFamily, LearnedProjection
from row_data import dense_rows
from stored_data import SMALL_ROWS


def given(n_hashes: int, seed: int, n_features: int = 12, power: int = 3, **others: Any) -> LearnedProjection:
    vectors = np.random.default_rng(seed).standard_normal((n_hashes * power, n_features))
    return LearnedProjection(vectors, power=power, seed=seed, **others)


_WHY = "the vectors are not random"
_NARROW = "there is a number for each feature and vector"
FAMILIES: dict[str, Family] = {
    "LearnedProjection": Family(given, dense_rows, no_theory=_WHY, not_wide=_NARROW),
    "LearnedProjection, rehashed": Family(
        lambda n_hashes, seed: given(n_hashes, seed, power=9, n_buckets=50, metric="inner_product"),
        dense_rows,
        no_theory=_WHY,
        not_wide=_NARROW,
    ),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "given signs": given(20, 1),
    "given, reduced": given(20, 1, n_buckets=7),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {"given signs": (given(8, 1, D, 4), ROWS)}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {"given": (given(3, 1, 4, 2), SMALL_ROWS)}


def argument_cases() -> Iterator[Case]:
    # Numbers that are exact in every dtype.
    vectors = np.maximum(RNG.integers(-3, 9, (6, D)), RNG.integers(-3, 2, (6, D))).astype(float)
    vectors[:, 0] = 5

    def hashed(vectors: Any) -> Any:
        return LearnedProjection(vectors, power=2).hash(ROWS)

    yield Case("LearnedProjection", hashed, {"vectors": vectors})
