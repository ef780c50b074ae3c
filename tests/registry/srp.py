"""Signed random projections."""

from __future__ import annotations

from typing import Any

from argument_cases import ROWS, SIGNS, D
from entries import Family
from mergesketch.lsh import HashFamily, SignedRandomProjection
from row_data import ANGLES, angle_pairs, dense_rows
from stored_data import SMALL_ROWS

FAMILIES: dict[str, Family] = {
    **{
        f"SignedRandomProjection, {projection}": Family(
            lambda n_hashes, seed, projection=projection: SignedRandomProjection(
                n_features=12, n_hashes=n_hashes, power=3, projection=projection, seed=seed
            ),
            dense_rows,
            ANGLES,
            angle_pairs,
            # The bias of blocks of 256; see the class and test_projections.py.
            bias=1e-3 if projection == "hadamard" else 0.0,
        )
        for projection in ("gaussian", "hadamard", "sparse")
    },
    "SignedRandomProjection, rehashed": Family(
        lambda n_hashes, seed: SignedRandomProjection(12, n_hashes, power=9, n_buckets=50, seed=seed),
        dense_rows,
        ANGLES,
        angle_pairs,
    ),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "signs": SignedRandomProjection(12, n_hashes=20, power=3, seed=1),
    "signs, reduced": SignedRandomProjection(12, n_hashes=20, power=3, n_buckets=7, seed=1),
    "Hadamard signs": SignedRandomProjection(12, n_hashes=20, power=3, projection="hadamard", seed=1),
    "sparse signs": SignedRandomProjection(None, n_hashes=20, power=3, projection="sparse", seed=1),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "signs": (SIGNS, ROWS),
    "signs of rows of unknown width": (SignedRandomProjection(n_hashes=8, power=4), ROWS),
    "signs by Hadamard": (SignedRandomProjection(D, 8, power=4, projection="hadamard"), ROWS),
    "signs of any width": (SignedRandomProjection(None, 8, power=4, projection="sparse"), ROWS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "srp": (SignedRandomProjection(4, 3, power=2, seed=1), SMALL_ROWS),
    "hadamard": (SignedRandomProjection(4, 3, power=2, projection="hadamard", seed=1), SMALL_ROWS),
    "sparse": (SignedRandomProjection(None, 3, power=2, projection="sparse", seed=1), SMALL_ROWS),
}
