"""Cases of grids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("grid_cells")
def rows_to_place(rng: np.random.Generator) -> Iterator[Case]:
    for d, R in ((1, 1), (3, 5), (20, 2)):
        X, cells = rng.standard_normal((30, d)) * 1e4, on_device(np.zeros((30, R, d), np.int32))
        # Multiples of the width lie on the border of a cell.
        X[:5] = np.round(X[:5])
        shifts, widths = rng.random((R, d)), rng.choice([0.1, 0.5, 3.0], d)
        for n_rotations in (0, R):
            rotations = rng.standard_normal((n_rotations, d, d))
            yield to_read(X), rotations, shifts, widths, 2, 30, cells


@case("grid_keys")
def cells_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    cells = on_device(rng.integers(-(2**31), 2**31, (60, 4), dtype=np.int32))
    for repetitions in (np.empty(0, np.int32), rng.integers(0, 5, 60, dtype=np.int32)):
        given = on_device(repetitions) if repetitions.size else repetitions
        yield cells, words(rng, 5), given, 3, 60, on_device(np.zeros(60, np.uint64))
