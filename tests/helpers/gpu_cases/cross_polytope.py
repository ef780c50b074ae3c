"""Cases of cross-polytope hashes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import CASES, Case, csr_rows, dense_rows, on_device, to_read
from mergesketch.lsh import CrossPolytope


def cross_polytope_cases(rng: np.random.Generator, sparse: bool, n_probes: int | None) -> Iterator[Case]:
    # Axes by threads, by warps; rows that are scattered first; a rotation that does not fit shared memory.
    shapes = [(1, 3, 1, 2), (300, 40, 3, 16), (300, 9, 2, 512)]
    if sparse:
        shapes.append((9000, 2, 2, 64))
    elif n_probes is None:
        shapes.append((9000, 1, 2, 16384))
    for d, n_hashes, power, dimension in shapes:
        for n_buckets in (None, 1000):
            family = CrossPolytope(d, n_hashes, power=power, dimension=dimension, n_buckets=n_buckets)
            how = family._masks, family.dimension, power, family._keys, np.uint64(family.n_buckets)
            for dtype in ("float32", "float64"):
                for index in ("int32", "int64") if sparse else ("",):
                    rows: tuple[Any, ...] = (to_read(dense_rows(rng, 5, d, dtype)),)
                    if sparse:
                        rows = *csr_rows(rng, 5, d, dtype, index), family._scatter_keys
                    probes = () if n_probes is None else (min(n_probes, dimension**power),)
                    yield *rows, *how, 1, 5, on_device(np.full((5, n_hashes, *probes), 7, np.uint32))


CASES["cross_polytope_codes_dense"] = lambda rng: cross_polytope_cases(rng, False, None)


CASES["cross_polytope_codes_csr"] = lambda rng: cross_polytope_cases(rng, True, None)


CASES["cross_polytope_probes_dense"] = lambda rng: cross_polytope_cases(rng, False, 20)


CASES["cross_polytope_probes_csr"] = lambda rng: cross_polytope_cases(rng, True, 70)
