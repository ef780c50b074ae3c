"""Cases of codes of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, dense_rows, on_device, to_read, words
from mergesketch import VectorCodes
from mergesketch.lsh.support.backend import read_only
from mergesketch.sketches.kernels import vector_codes

#: Columns and bits: a matrix, one Hadamard rotation, four of them, and rows that do not fit shared memory.
SHAPES = ((3, 1), (130, 2), (256, 4), (300, 8), (6000, 1))
METRICS = (vector_codes.INNER_PRODUCT, vector_codes.COSINE, vector_codes.SQUARED_EUCLIDEAN)


def rotated(rng: np.random.Generator, d: int) -> list[np.ndarray]:
    """Return rows that the CPU has rotated, without their products with the centre."""
    X, codes = dense_rows(rng, 7, d, "float64"), VectorCodes(d, seed=d)
    out = [np.empty((7, 64 * -(-d // 64)), np.int32), *np.empty((3, 7))]
    vector_codes.rotate_rows(read_only(X), read_only(np.empty(0)), *codes._rotation, 0, 7, *out)
    return out[:3]


@case("rotate_rows")
def rows_to_rotate(rng: np.random.Generator) -> Iterator[Case]:
    for d, _ in SHAPES:
        X, size = dense_rows(rng, 7, d, "float64"), 64 * -(-d // 64)
        for center in (np.empty(0), X[2], np.full(d, 1e-40)):
            out = [on_device(array) for array in (np.zeros((7, size), np.int32), *np.zeros((3, 7)))]
            yield to_read(X), read_only(center), *VectorCodes(d, seed=d)._rotation, 1, 7, *out
    out = [on_device(array) for array in (np.zeros((3, 64), np.int32), *np.zeros((3, 3)))]
    too_long = np.array([[1.0], [1.0], [1e300]])
    yield to_read(too_long), read_only(np.empty(0)), *VectorCodes(1)._rotation, 2, 3, *out


@case("encode_rows")
def rows_to_encode(rng: np.random.Generator) -> Iterator[Case]:
    for d, bits in SHAPES:
        numbers, sizes, radii = rotated(rng, d)
        codes, scales = words(rng, 7, bits * numbers.shape[1] // 64), np.ones(7, np.float32)
        given = on_device(numbers), on_device(sizes), on_device(radii)
        yield *given, bits, 1, 7, on_device(codes), on_device(scales)


@case("round_queries")
def queries_to_round(rng: np.random.Generator) -> Iterator[Case]:
    for d, _ in SHAPES:
        for query_bits in (4, 8, 16):
            arrays = rotated(rng, d)
            planes, sums = words(rng, 7, query_bits, arrays[0].shape[1] // 64), np.ones(7, np.int64)
            out = [on_device(array) for array in (planes, sums, *np.ones((2, 7)))]
            yield *(on_device(array) for array in arrays), 1, 7, *out


def coded(rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield rows and queries, with offsets and without."""
    for n_words, bits, query_bits in ((1, 1, 4), (5, 3, 8), (2, 8, 16)):
        numbers = rng.normal(size=(2, 70)).astype(np.float32) ** 2
        for offsets in (np.empty(0, np.float32), rng.normal(size=70).astype(np.float32)):
            rows = words(rng, 70, bits * n_words), *numbers, offsets
            terms = np.abs(rng.normal(size=(3, 5)))
            terms[:, 0] = rng.integers(-100, 100, 3)
            terms[0, 3] = 0.0
            queries = words(rng, 3, query_bits, n_words), terms
            for metric in METRICS:
                yield *map(to_read, rows), *map(on_device, queries), metric


@case("score_rows")
def rows_to_score(rng: np.random.Generator) -> Iterator[Case]:
    for given in coded(rng):
        yield *given, 3, 69, on_device(np.zeros((3, 70)))


@case("score_some_rows")
def some_rows_to_score(rng: np.random.Generator) -> Iterator[Case]:
    for given in coded(rng):
        bounds = np.array([0, 5, 5, 40])
        yield *given, on_device(rng.integers(0, 70, 40)), on_device(bounds), 1, 3, on_device(np.zeros(40))


@case("code_norms")
def codes_to_measure(rng: np.random.Generator) -> Iterator[Case]:
    for bits in (1, 3, 8):
        yield to_read(words(rng, 70, 5 * bits)), bits, 3, 69, on_device(np.zeros(70))
