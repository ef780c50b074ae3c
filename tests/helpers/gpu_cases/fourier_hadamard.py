"""Cases of Fourier features by Hadamard transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.lsh.support.backend import read_only


def _rows(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield rows, a width, signs and scales; three times 2,048 numbers do not fit shared memory."""
    for d, size, m, n in ((1, 256, 1, 70), (200, 256, 300, 9), (1500, 2048, 2050, 3)):
        for dtype in (np.float32, np.float64):
            X = rng.standard_normal((n, d)).astype(dtype)
            X[0] *= 1e6
            signs = rng.choice([-1.0, 1.0], (-(-m // size), 3, size))
            yield to_read(X), 0.7, signs, rng.random(m) / size**1.5


@case("add_hadamard")
def rows_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for rows in _rows(rng):
        n, m = len(rows[0].array), rows[-1].size
        yield *rows, read_only(np.empty(0, np.int64)), 1, n, on_device(rng.integers(-9, 9, (2, m)))
        yield *rows, to_read(rng.integers(-9, 9, n)), 0, n, on_device(rng.integers(-9, 9, (2, m)))


@case("hadamard_terms")
def rows_to_ask(rng: np.random.Generator) -> Iterator[Case]:
    for rows in _rows(rng):
        n, m = len(rows[0].array), rows[-1].size
        yield *rows, on_device(rng.standard_normal((2, m))), 1, n, on_device(np.zeros((n, m)))
