"""Cases of tables of counters of keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("count_min_add", "count_sketch_add")
def keys_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        counts, keys = rng.integers(0, 100, (5, 13)).astype(dtype), words(rng, 200)
        for weights in (np.empty(0, np.int64), rng.integers(0, 9, 200)):
            yield on_device(keys), to_read(weights), words(rng, 5, 3), 0, 5, on_device(counts)


@case("count_min_query")
def keys_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        counts, out = rng.integers(0, 100, (5, 13)).astype(dtype), np.zeros(200, np.int64)
        yield on_device(counts), on_device(words(rng, 200)), words(rng, 5, 3), 10, 200, on_device(out)


@case("count_sketch_query")
def signed_keys_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for rows in (1, 4, 7, 70):
        counts, out = rng.integers(-100, 100, (rows, 13)), np.zeros(60)
        yield on_device(counts), on_device(words(rng, 60)), words(rng, rows, 3), 0, 60, on_device(out)
