"""Cases of weighted MinHash."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.lsh import WeightedMinHash


def weight_rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = rng.integers(0, 90, n)
    sizes[0], sizes[1] = 0, 1
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    indices = np.concatenate([np.sort(rng.choice(200, size, replace=False)) for size in sizes])
    weights = 10.0 ** rng.uniform(-3, 3, indices.size)
    weights[:3] = 5e-324, 1.7e308, 0.0
    return indptr, indices, weights


@case("weighted_minhash")
def weights_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    for m in (1, 32, 70):
        family = WeightedMinHash(m, seed=m)
        indptr, indices, weights = weight_rows(rng, 12)
        out = np.full((12, m), 7, np.uint32)
        rows = to_read(indptr), on_device(indices.astype(np.uint64)), on_device(weights)
        yield *rows, family._key, family._keys, on_device(out)


@case("overlap_weights")
def weights_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    x, y = weight_rows(rng, 12), weight_rows(rng, 5)
    rows = [on_device(np.asarray(a, np.float64 if a.dtype.kind == "f" else np.int64)) for a in (*x, *y)]
    yield *rows, 1, 12, on_device(np.full((12, 5), 7.0))
