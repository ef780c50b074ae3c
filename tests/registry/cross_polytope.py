"""Cross-polytope hashing."""

from __future__ import annotations

from typing import Any

from argument_cases import ROWS, D
from entries import Family
from mergesketch.lsh import CrossPolytope, HashFamily
from row_data import ANGLES, angle_pairs, dense_rows
from stored_data import SMALL_ROWS

FAMILIES: dict[str, Family] = {
    "CrossPolytope": Family(
        lambda n_hashes, seed: CrossPolytope(12, n_hashes, seed=seed),
        dense_rows,
        ANGLES,
        angle_pairs,
        # The bias of rotations of 256; see test_cross_polytope.py.
        bias=1e-3,
    ),
    "CrossPolytope, rehashed": Family(
        lambda n_hashes, seed: CrossPolytope(12, n_hashes, power=2, dimension=32, n_buckets=50, seed=seed),
        dense_rows,
        ANGLES,
        angle_pairs,
        bias=1e-3,
    ),
}


GPU_ROW_FAMILIES: dict[str, HashFamily] = {
    "cross-polytope": CrossPolytope(12, n_hashes=20, power=2, dimension=8, seed=1),
    "cross-polytope, reduced": CrossPolytope(12, n_hashes=20, n_buckets=50, seed=1),
}


ROW_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "cross-polytope": (CrossPolytope(D, 4), ROWS),
}


SMALL_FAMILIES: dict[str, tuple[HashFamily, Any]] = {
    "cross-polytope": (CrossPolytope(4, 3, power=2, n_buckets=16, seed=1), SMALL_ROWS),
}
