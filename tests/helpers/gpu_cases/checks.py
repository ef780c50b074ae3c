"""Cases of checks of rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device


@case("count_falls")
def rows_to_check(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 50, 30))])
        for indices in (np.arange(indptr[-1]), rng.integers(0, 9, indptr[-1])):
            yield on_device(indptr), on_device(indices.astype(dtype)), int(indptr[-1]), 2, 30
        # Parts that contradict each other: offsets that fall, begin below 0, end beyond; indices.
        for offsets in ([0, 4, 2, 6], [-1, 2, 3, 6], [0, 2, 3, 2**40], [0, 2, 3, 6]):
            for wrong in (-1, 0, 5):
                indices = np.array([1, 2, 0, 1, 3, wrong], dtype)
                yield on_device(np.array(offsets)), on_device(indices), 5, 0, 3
