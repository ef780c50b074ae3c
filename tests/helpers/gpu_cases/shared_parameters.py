"""Cases of rows of virtual tables in shared parameters.

What is added has integer values: sums of them are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, on_device, to_read, words
from mergesketch.lsh.support.backend import read_only

REALS = (np.float32, np.float64)


def bags_of(rng: np.random.Generator, n: int, dtype: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the number of bags, the offsets and the factors: rows by themselves, and bags with factors."""
    none = np.empty(0, np.int64)
    yield n, none, np.empty(0, dtype)
    yield n, none, rng.integers(-3, 4, n).astype(dtype)
    offsets = np.concatenate([[0], np.sort(rng.integers(0, n + 1, 5)), [n]])
    yield 6, offsets, rng.integers(-3, 4, n).astype(dtype)


def shapes() -> Iterator[tuple[int, int, int, int]]:
    """Yield numbers of parameters, of columns, entries of a block, and copies."""
    yield 1000, 16, 16, 1
    yield 301, 70, 70, 2
    yield 97, 70, 8, 3
    yield 5, 3, 1, 1


@case("gather_hashed")
def rows_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in REALS:
        for m, n_columns, block, copies in shapes():
            weights, rows = rng.standard_normal(m).astype(dtype), words(rng, 40)
            for n, offsets, factors in bags_of(rng, 40, dtype):
                out = np.zeros((n, n_columns), dtype)
                bags = to_read(offsets), to_read(factors)
                how = read_only(words(rng, copies)), block, 1 / 3, 1, n, on_device(out)
                yield to_read(weights), to_read(rows), *bags, *how


@case("scatter_hashed")
def gradients_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in REALS:
        for m, n_columns, block, copies in shapes():
            weights, rows = rng.integers(-9, 9, m).astype(dtype), words(rng, 40)
            for n, offsets, factors in bags_of(rng, 40, dtype):
                gradients = rng.integers(-9, 9, (n, n_columns)).astype(dtype)
                given = to_read(rows), to_read(offsets), to_read(factors), to_read(gradients)
                yield *given, read_only(words(rng, copies)), block, 0.5, m // 4, m, on_device(weights)


def written_runs(
    rng: np.random.Generator, n: int, n_columns: int, copies: int, n_runs: int, m: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return runs of any lengths, 0 included, that follow each other in rows."""
    cuts = np.sort(rng.integers(0, n_columns + 1, (n, copies, n_runs - 1)), axis=2)
    lengths = np.diff(cuts, axis=2, prepend=0, append=n_columns)
    return rng.integers(0, m, lengths.shape), lengths


def runs_given(rng: np.random.Generator, m: int, n_columns: int, copies: int) -> Iterator[tuple[Any, ...]]:
    for n_runs in (1, 3):
        runs = written_runs(rng, 40, n_columns, copies, n_runs, m)
        for signs in (words(rng, *runs[0].shape), np.empty((0, 0, 0), np.uint64)):
            yield *map(to_read, runs), to_read(signs)


@case("gather_runs")
def written_rows_to_read(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in REALS:
        for m, n_columns, _, copies in shapes():
            weights = to_read(rng.standard_normal(m).astype(dtype))
            for runs in runs_given(rng, m, n_columns, copies):
                for n, offsets, factors in bags_of(rng, 40, dtype):
                    out = on_device(np.zeros((n, n_columns), dtype))
                    yield weights, *runs, to_read(offsets), to_read(factors), 1 / 3, 1, n, out


@case("scatter_runs")
def written_gradients_to_add(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in REALS:
        for m, n_columns, _, copies in shapes():
            weights = on_device(rng.integers(-9, 9, m).astype(dtype))
            for runs in runs_given(rng, m, n_columns, copies):
                for n, offsets, factors in bags_of(rng, 40, dtype):
                    gradients = to_read(rng.integers(-9, 9, (n, n_columns)).astype(dtype))
                    bags = to_read(offsets), to_read(factors)
                    yield *runs, *bags, gradients, 2.0, m // 4, m, weights


def places(n: int, copies: int, n_runs: int) -> tuple[Any, ...]:
    shape = (n, copies, n_runs)
    return tuple(on_device(np.zeros(shape, dtype)) for dtype in (np.int64, np.int64, np.uint64))


@case("hashed_runs")
def hashed_places(rng: np.random.Generator) -> Iterator[Case]:
    for m, n_columns, block, copies in shapes():
        out = places(40, copies, -(-n_columns // block))
        yield to_read(words(rng, 40)), read_only(words(rng, copies)), block, n_columns, m, 3, 40, *out


@case("tile_runs")
def tile_places(rng: np.random.Generator) -> Iterator[Case]:
    for m, width, n_columns, n_rows in shapes():
        rows = to_read(rng.integers(0, 50, 40).astype(np.uint64))
        out = places(40, 1, -(-width // n_columns))
        yield rows, words(rng, 1)[0], n_rows, n_columns, width, m, 3, 40, *out


@case("cyclic_runs")
def cyclic_places(rng: np.random.Generator) -> Iterator[Case]:
    for m, n_columns, _, _ in shapes():
        rows = to_read(rng.integers(0, 500, 40).astype(np.uint64))
        out = places(40, 1, 2 + (n_columns - 1) // m)[:2]
        yield rows, words(rng, 1)[0], 1234, n_columns, m, 3, 40, *out
