"""Cases of the nearest of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch.sketches.kernels.rank_vectors import CITYBLOCK, EUCLIDEAN, INNER_PRODUCT

from gpu_cases.index import SLOTS


def candidates(rng: np.random.Generator, n_rows: int, dtype: Any, k: int) -> Case:
    """Return candidates of queries 1 to 4 of 6 (none, one, some, all rows), and arrays for the results."""
    sizes = np.array([0, 1, n_rows // 2, n_rows])
    offsets = np.concatenate([[0], np.cumsum(sizes + 1)])
    ids = np.zeros(offsets[-1], dtype)
    for offset, size in zip(offsets, sizes, strict=False):
        ids[offset : offset + size] = rng.choice(n_rows, size, replace=False) + 1
    out = on_device(np.full((6, k), 7)), on_device(np.full((6, k), 7.0))
    return on_device(ids), on_device(offsets), on_device(sizes), k, 1, *out


@case("rank_vectors")
def vectors_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for metric in (EUCLIDEAN, CITYBLOCK, INNER_PRODUCT):
        for d, rows_type, dtype in (
            (1, "float32", np.uint32),
            (40, "float64", np.uint64),
            (64, "float32", np.uint32),
        ):
            rows = (rng.standard_normal((50, d)) * 10.0 ** rng.integers(-30, 30, (50, 1))).astype(rows_type)
            rows[5:20] = np.round(rng.standard_normal((15, d)))  # distances that are equal
            Q = np.round(rng.standard_normal((6, d)) * 2)
            Q[2] = rows[0]
            slack, lengths = np.zeros(6), np.linalg.norm(Q, axis=1)
            found = candidates(rng, 50, dtype, 60 if d == 40 else 3)
            queries = on_device(Q), Q.astype(rows_type), slack, on_device(lengths)
            yield *queries, to_read(rows), *found[:3], metric, *found[3:]


@case("rank_bits")
def bits_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for width in (1, 50):
        Q, rows = (rng.integers(0, 256, (n, width), dtype=np.uint8) for n in (6, 40))
        for dtype in SLOTS:
            found = candidates(rng, 40, dtype, 5)
            yield to_read(Q), to_read(rows), *found[:3], np.uint8(0xF0), *found[3:]


def risen_sets(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = rng.integers(0, 60, n)
    sizes[0] = 0
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tokens = [np.sort(rng.choice(100, size, replace=False)) for size in sizes]
    return np.concatenate(tokens).astype(np.uint64), offsets[:-1], offsets[1:]


@case("rank_sets")
def sets_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in SLOTS:
        found = candidates(rng, 40, dtype, 5)
        yield *map(to_read, risen_sets(rng, 6)), *map(to_read, risen_sets(rng, 40)), *found


@case("rank_weights")
def weights_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in SLOTS:
        found = candidates(rng, 40, dtype, 5)
        both = []
        for n in (6, 40):
            tokens, begins, ends = risen_sets(rng, n)
            weights = to_read(rng.choice([0.0, 1.0, 2.5], tokens.size))
            both += [to_read(np.append(begins, ends[-1])), (to_read(tokens.astype(np.int64)), weights)]
        yield *both, *found


@case("order_sets")
def sets_to_order(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 30):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n))]).astype(np.int64)
        tokens = rng.integers(0, 6, offsets[-1]).astype(np.uint64)
        yield to_read(offsets[:-1]), 0, n, on_device(tokens), on_device(offsets[1:])
