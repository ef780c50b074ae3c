"""Cases of distinct counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, words
from mergesketch.sketches.counts.hyperloglog_theory import is_register


def registers(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return registers of few and of many keys."""
    possible = np.flatnonzero(is_register(8)).astype(np.uint8)
    return possible[np.minimum(rng.geometric(0.1, n) - 1, possible.size - 1)]


@case("add_keys")
def keys_to_add(rng: np.random.Generator) -> Iterator[Case]:
    # Words with random numbers of zeros at their ends have small and large values.
    zeros = ~(2 ** rng.integers(0, 56, 300) - 1).astype(np.uint64)
    keys = np.concatenate([words(rng, 300), words(rng, 300) & zeros])
    for n, size, first in ((256, 256, 0), (256, 8, 0), (256, 100, 30), (1000, 1000, 0)):
        for filled in (np.zeros(size, np.uint8), registers(rng, size)):
            for hashed in (False, True):
                how = np.uint64(5), hashed, n, first, 7, 600
                yield on_device(keys), *how, on_device(filled)
    ends, empty = on_device(np.array([0, 2**64 - 1], np.uint64)), on_device(np.zeros(8, np.uint8))
    yield ends, np.uint64(0), True, 8, 0, 0, 2, empty
    # Many threads change the same eight registers.
    yield on_device(words(rng, 1 << 14)), np.uint64(0), True, 8, 0, 0, 1 << 14, empty


@case("join_registers")
def registers_to_join(rng: np.random.Generator) -> Iterator[Case]:
    yield on_device(registers(rng, 500)), 3, 490, on_device(registers(rng, 500))


@case("count_registers")
def registers_to_count(rng: np.random.Generator) -> Iterator[Case]:
    yield on_device(registers(rng, 5000)), 3, 4990, on_device(np.ones(256, np.int64))


@case("count_pairs")
def pairs_to_count(rng: np.random.Generator) -> Iterator[Case]:
    counts = on_device(np.ones((256, 256), np.int64))
    yield on_device(registers(rng, 5000)), on_device(registers(rng, 5000)), 3, 4990, counts


@case("find_tokens")
def tokens_to_find(rng: np.random.Generator) -> Iterator[Case]:
    zeros = ~(2 ** rng.integers(0, 63, 300) - 1).astype(np.uint64)
    keys = np.concatenate([words(rng, 300) & zeros, np.array([0, 2**64 - 1, 1 << 38], np.uint64)])
    for hashed in (False, True):
        yield on_device(keys), np.uint64(5), hashed, 7, 303, on_device(np.zeros(296, np.uint32))
