"""Cases of Bloom filters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


@case("bloom_add")
def keys_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for hashed in (False, True):
        for n_hashes in (1, 7, 15):
            filled = on_device(words(rng, 80) & words(rng, 80))
            for low, width in ((0, 2**64 - 1), (2**62, 2**63)):
                bounds = np.uint64(low), np.uint64(width)
                yield to_read(words(rng, 90)), np.uint64(5), hashed, n_hashes, *bounds, filled


@case("bloom_contains")
def keys_to_test(rng: np.random.Generator) -> Iterator[Case]:
    for hashed in (False, True):
        for n_hashes in (1, 7, 15):
            filled, out = words(rng, 80) | words(rng, 80) | words(rng, 80), np.zeros(90, np.bool_)
            keys = to_read(words(rng, 90))
            yield on_device(filled), keys, np.uint64(5), hashed, n_hashes, 4, 90, on_device(out)


@case("bloom_fills")
def blocks_to_count(rng: np.random.Generator) -> Iterator[Case]:
    yield on_device(words(rng, 800)), on_device(words(rng, 800)), 3, 100, on_device(np.ones(513, np.int64))
