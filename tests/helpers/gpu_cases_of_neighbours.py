"""Cases of the kernels of the index: buckets, and the nearest of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_cases import Arrays, Case, case, on_device, words
from mergesketch.sketches.kernels import index
from mergesketch.sketches.kernels.rank_vectors import CITYBLOCK, EUCLIDEAN, INNER_PRODUCT

# -- buckets ----------------------------------------------------------------------------------------

SLOTS = (np.uint32, np.uint64)


def buckets(rng: np.random.Generator, shape: tuple[int, int, int], dtype: Any, n: int) -> Arrays:
    """Slots, counts of ids seen, and keys of a few tables that ids were put into."""
    slots, seen, keys = np.zeros(shape, dtype), np.zeros(shape[:2], np.int32), words(rng, shape[0])
    codes = rng.integers(0, shape[1], (n, shape[0]), dtype=np.uint32)
    ids = rng.choice(10 * n + 1, n, replace=False).astype(dtype)
    index.insert_ids(codes, ids, keys, 0, shape[0], slots, seen)
    index.order_buckets(keys, 0, shape[0], slots)
    return slots, seen, keys


BUCKETS = [((3, 7, 5), 20), ((2, 5, 33), 400), ((1, 1, 1), 5), ((2, 3, 64), 0)]


@case("insert_ids")
def ids_to_insert(rng: np.random.Generator) -> Iterator[Case]:
    for (L, W, B), n in BUCKETS:
        for dtype in SLOTS:
            slots, seen, keys = buckets(rng, (L, W, B), dtype, n)
            for counts in (seen, seen.astype(np.int64)):
                codes = on_device(rng.integers(0, W, (50, L), dtype=np.uint32))
                ids = on_device((rng.permutation(50) + 5000).astype(dtype))
                yield codes, ids, keys, L // 2, L, on_device(slots), on_device(counts)


@case("merge_buckets")
def buckets_to_merge(rng: np.random.Generator) -> Iterator[Case]:
    for (L, W, B), n in BUCKETS:
        for dtype in SLOTS:
            slots, _, keys = buckets(rng, (L, W, B), dtype, n)
            others = np.where(slots, slots + dtype(100_000), dtype(0))
            index.order_buckets(keys, 0, L, others)
            yield on_device(others), keys, 0, L, on_device(slots)


@case("order_buckets")
def buckets_to_order(rng: np.random.Generator) -> Iterator[Case]:
    for (L, W, B), n in [*BUCKETS, ((2, 2, 1500), 2500)]:
        for dtype in SLOTS:
            slots, _, keys = buckets(rng, (L, W, B), dtype, n)
            for bucket in slots.reshape(-1, B):
                rng.shuffle(bucket[: np.count_nonzero(bucket)])
            yield keys, 0, L, on_device(slots)


@case("query_buckets")
def buckets_to_query(rng: np.random.Generator) -> Iterator[Case]:
    for (L, W, B), n in [*BUCKETS, ((20, 3, 300), 900)]:
        for dtype in SLOTS:
            slots, _, _ = buckets(rng, (L, W, B), dtype, n)
            for P, k in ((1, 1), (2, min(17, 2 * L * B))):
                codes = on_device(rng.integers(0, W, (9, L, P), dtype=np.uint32))
                out = on_device(np.zeros((9, k), np.int64)), on_device(np.zeros((9, k), np.int32))
                yield on_device(slots), codes, k, np.zeros(0, np.int32), 1, 9, *out


@case("bound_found")
def buckets_to_bound(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        seen = rng.integers(0, 10, (3, 7)).astype(dtype)
        codes = on_device(rng.integers(0, 7, (9, 3, 2), dtype=np.uint32))
        yield on_device(seen), codes, 4, 2, 9, on_device(np.zeros(7, np.int64))


# -- the nearest ------------------------------------------------------------------------------------


def candidates(rng: np.random.Generator, n_rows: int, dtype: Any, k: int) -> Case:
    """Candidates of queries 1 to 4 of 6: none, one, some, all rows; and what becomes of them."""
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
            yield *queries, on_device(rows), *found[:3], metric, *found[3:]


@case("rank_bits")
def bits_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for width in (1, 50):
        Q, rows = (rng.integers(0, 256, (n, width), dtype=np.uint8) for n in (6, 40))
        for dtype in SLOTS:
            found = candidates(rng, 40, dtype, 5)
            yield on_device(Q), on_device(rows), *found[:3], np.uint8(0xF0), *found[3:]


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
        yield *map(on_device, risen_sets(rng, 6)), *map(on_device, risen_sets(rng, 40)), *found


@case("rank_weights")
def weights_to_rank(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in SLOTS:
        found = candidates(rng, 40, dtype, 5)
        both = []
        for n in (6, 40):
            tokens, begins, ends = risen_sets(rng, n)
            weights = on_device(rng.choice([0.0, 1.0, 2.5], tokens.size))
            both += [on_device(np.append(begins, ends[-1])), (on_device(tokens.astype(np.int64)), weights)]
        yield *both, *found


@case("order_sets")
def sets_to_order(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 30):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 9, n))]).astype(np.int64)
        tokens = rng.integers(0, 6, offsets[-1]).astype(np.uint64)
        yield on_device(offsets[:-1]), 0, n, on_device(tokens), on_device(offsets[1:])
