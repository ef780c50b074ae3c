"""Cases of counters that codes point to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words


def tables(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    yield rng.integers(-1000, 1000, shape, dtype=np.int32)
    yield rng.integers(-(2**40), 2**40, shape)
    yield rng.standard_normal(shape)
    yield rng.standard_normal(shape).astype(np.float32)


def weights_for(counts: np.ndarray, rng: np.random.Generator, shape: Any) -> np.ndarray:
    if counts.dtype.kind == "f":
        return rng.standard_normal(shape)
    return rng.integers(-50, 50, shape)


@case("scatter_add")
def codes_to_count(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (11, 6)):
        # With many rows, tiles of the table are counted separately; with few, they are not.
        for n in (150, 40):
            codes = rng.integers(0, 6, (n, 11), dtype=np.uint32)
            for n_weights in (0, n):
                weights = weights_for(counts, rng, n_weights)
                yield on_device(codes), to_read(weights), 2, 11, on_device(counts)
    # There are several chunks of rows.
    codes = rng.integers(0, 2, (10_000, 3), dtype=np.uint32)
    yield on_device(codes), to_read(np.empty(0, np.int64)), 0, 3, on_device(np.zeros((3, 2), np.int32))


@case("scatter_add_outputs")
def codes_to_count_outputs(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (5, 6, 3)):
        for n in (120, 30):
            codes = rng.integers(0, 6, (n, 5), dtype=np.uint32)
            yield on_device(codes), to_read(weights_for(counts, rng, (n, 3))), 0, 5, on_device(counts)


@case("gather_mean")
def codes_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for R in (1, 9):
        for counts in tables(rng, (R, 6, 2)):
            codes = rng.integers(0, 6, (50, R), dtype=np.uint32)
            yield to_read(counts), on_device(codes), 3, 50, *(on_device(np.zeros((50, 2))) for _ in "ab")


@case("gather_groups")
def codes_to_read_in_groups(rng: np.random.Generator) -> Iterator[Case]:
    for counts in tables(rng, (9, 6, 2)):
        codes = rng.integers(0, 6, (50, 9), dtype=np.uint32)
        out = on_device(np.zeros((50, 3, 2)))
        yield on_device(counts), on_device(codes), np.array([0, 2, 5, 9]), 0, 50, out


@case("code_keys")
def codes_to_hash(rng: np.random.Generator) -> Iterator[Case]:
    for R in (1, 4, 11):
        codes = on_device(rng.integers(0, 2**32, (40, R), dtype=np.uint32))
        yield codes, words(rng, 1)[0], 2, 40, on_device(np.zeros(40, np.uint64))


@case("gather_ratio")
def codes_to_divide(rng: np.random.Generator) -> Iterator[Case]:
    for R, K in ((1, 1), (7, 2)):
        counts, codes = rng.random((R, 6, 1 + K)), rng.integers(0, 6, (40, R), dtype=np.uint32)
        counts[:, 0] = 0.0
        codes[:3] = 0
        for chance in (0.0,) if R == 1 else (0.0, 0.25):
            totals = to_read(counts.sum(axis=(0, 1)) / R)
            out = (on_device(np.zeros(shape)) for shape in (40, 40, (40, K), (40, K)))
            yield to_read(counts), on_device(codes), totals, chance, 1, 40, *out


@case("find_keys")
def keys_to_find(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 2, 900):
        for rising in (np.unique(words(rng, n)), np.arange(n, dtype=np.uint64) ** 3):
            asked = np.concatenate([words(rng, 40), rng.choice(rising, 60) if n else rising])
            asked = np.concatenate([asked, rising[:1], rising[-1:], np.array([0, 2**64 - 1], np.uint64)])
            places = on_device(np.zeros(asked.size, np.int64))
            yield on_device(asked), on_device(rising), 3, asked.size, places
