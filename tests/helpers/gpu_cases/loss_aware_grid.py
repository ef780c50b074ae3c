"""Cases of rows of packed codes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read


@case("decode_rows")
def rows_to_decode(rng: np.random.Generator) -> Iterator[Case]:
    for bits, n_columns in ((1, 1), (2, 8), (3, 13), (4, 40), (8, 7)):
        codes = rng.integers(0, 256, (9, -(-n_columns // 8) * bits), dtype=np.uint8)
        tables = rng.standard_normal((9, 1 << bits)).astype(np.float32)
        out = np.zeros((6, n_columns), np.float32)
        yield to_read(codes), to_read(tables), bits, 2, 8, on_device(out)
