"""Cases of soft collisions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read


@case("project_queries")
def queries_to_project(rng: np.random.Generator) -> Iterator[Case]:
    for n, d, m in ((1, 1, 1), (7, 33, 70)):
        Q, vectors = rng.standard_normal((n, d)), rng.standard_normal((d, m)).astype(np.float32)
        yield to_read(Q), vectors, n // 3, n, on_device(np.full((n, m), 7.0))


@case("fill_tables")
def tables_to_fill(rng: np.random.Generator) -> Iterator[Case]:
    for n, n_tables, power in ((1, 1, 1), (5, 3, 8), (2, 2, 11)):
        bits = rng.random((n, power * n_tables))
        bits[0, :] = np.round(bits[0])
        tables = np.full((n, n_tables, 1 << power), 7, np.float32)
        yield on_device(bits), n // 3, n, on_device(tables)


@case("score_keys")
def codes_to_score(rng: np.random.Generator) -> Iterator[Case]:
    for dtype, power in ((np.uint8, 8), (np.uint16, 11)):
        codes = to_read(rng.integers(0, 1 << power, (300, 13), dtype=dtype))
        tables = on_device(rng.random((3, 13, 1 << power), dtype=np.float32))
        for norms in (np.empty(0, np.float32), rng.random(300, dtype=np.float32)):
            for numbers in (np.empty((0, 0), np.int64), rng.integers(0, 300, (3, 40))):
                m = 40 if numbers.size else 300
                places = to_read(norms), tables, to_read(numbers)
                yield codes, *places, m // 3, m, on_device(np.full((3, m), 7.0))
