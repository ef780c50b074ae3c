"""Cases of packed fields."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("pack_fields")
def codes_to_pack(rng: np.random.Generator) -> Iterator[Case]:
    for bits in (1, 2, 4, 8, 16):
        for n_fields in (1, 64, 71):
            codes = rng.integers(0, 1 << bits, (13, n_fields), dtype=np.uint32)
            out = np.full((13, -(-n_fields * bits // 64)), 7, np.uint64)
            yield on_device(codes), bits, 2, 13, on_device(out)


@case("count_equal_fields")
def fields_to_compare(rng: np.random.Generator) -> Iterator[Case]:
    for bits in (1, 4, 16):
        for W in (1, 40):
            A, B = words(rng, 12, W), words(rng, 12, W)
            B[3], B[4] = A[3], ~A[4]
            yield to_read(A), to_read(B), bits, W * 64 // bits, 1, 12, on_device(np.zeros(12, np.int64))
