"""The hash family of the tests."""

from __future__ import annotations

import numpy as np
from entries import Family
from toy_family import ToyFamily


def hamming_pairs(rng: np.random.Generator, distance: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows of 6 integers below 4 that differ in `distance` places."""
    x = rng.integers(0, 4, (n, 6))
    unlike = rng.permuted(np.arange(6) < np.full((n, 1), distance), axis=1)
    return x, (x + unlike * rng.integers(1, 4, (n, 6))) % 4


FAMILIES: dict[str, Family] = {
    "ToyFamily": Family(
        lambda n_hashes, seed: ToyFamily(n_features=6, n_hashes=n_hashes, seed=seed),
        lambda rng, n: rng.integers(0, 4, (n, 6)),
        (0, 1, 3, 6),
        hamming_pairs,
        no_csr="a toy",
        not_wide="a toy",
    ),
}
