"""Cases of products of signs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device


@case("add_sign_products")
def signs_to_multiply(rng: np.random.Generator) -> Iterator[Case]:
    for n_signs in (2, 7, 32):
        for n in (1, 100, 2100):
            codes = rng.integers(0, 2**n_signs, (n, 5), dtype=np.uint32)
            for dtype in (np.int32, np.int64):
                counts = rng.integers(-9, 9, (5, n_signs * (n_signs - 1) // 2)).astype(dtype)
                yield on_device(codes), n_signs, 1, 5, on_device(counts)
