"""Cases of Hadamard rotations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import CASES, Case, csr_rows, dense_rows, on_device, to_read
from mergesketch.lsh import SignedRandomProjection


def hadamard_cases(rng: np.random.Generator, sparse: bool, signs: bool = True) -> Iterator[Case]:
    # One rotation and several; 16,384 coordinates do not fit shared memory.
    shapes = ((1, 1, 1), (300, 70, 9), (33, 40, 15)) if sparse else ((1, 1, 1), (300, 70, 9), (9000, 5, 3))
    for d, n_hashes, power in shapes:
        how = {"n_hashes": n_hashes, "power": power, "projection": "hadamard", "seed": d}
        masks, n = SignedRandomProjection(d, **how)._sign_projection.masks, 7
        for dtype in ("float32", "float64"):
            for index in ("int32", "int64") if sparse else ("",):
                rows = (
                    csr_rows(rng, n, d, dtype, index) if sparse else [to_read(dense_rows(rng, n, d, dtype))]
                )
                if signs:
                    out = on_device(np.full((n, n_hashes), 7, np.uint32))
                    yield *rows, masks, n_hashes, power, 1, n, out
                else:
                    out = on_device(np.full((n - 1, n_hashes * power), 7, np.float32))
                    yield *rows, masks, 1, n, out


CASES["hadamard_products_dense"] = lambda rng: hadamard_cases(rng, False, False)


CASES["hadamard_products_csr"] = lambda rng: hadamard_cases(rng, True, False)


CASES["hadamard_signs_dense"] = lambda rng: hadamard_cases(rng, False)


CASES["hadamard_signs_csr"] = lambda rng: hadamard_cases(rng, True)
