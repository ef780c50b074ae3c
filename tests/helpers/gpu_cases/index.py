"""Cases of the buckets of the index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gpu_twins import Arrays, Case, case, on_device, to_read, words
from mergesketch.sketches.kernels import index

SLOTS = (np.uint32, np.uint64)


def buckets(rng: np.random.Generator, shape: tuple[int, int, int], dtype: Any, n: int) -> Arrays:
    """Return slots, counts of ids seen, and keys of a few tables into which ids were inserted."""
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
            slots, seen, keys = buckets(rng, (L, W, B), dtype, n)
            others = np.where(slots, slots + dtype(100_000), dtype(0))
            index.order_buckets(keys, 0, L, others)
            yield on_device(others), on_device(seen), keys, 0, L, on_device(slots), on_device(seen)


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
                codes = to_read(rng.integers(0, W, (9, L, P), dtype=np.uint32))
                out = on_device(np.zeros((9, k), np.int64)), on_device(np.zeros((9, k), np.int32))
                yield on_device(slots), codes, k, np.zeros(0, np.int32), 1, 9, *out


@case("bound_found")
def buckets_to_bound(rng: np.random.Generator) -> Iterator[Case]:
    for dtype in (np.int32, np.int64):
        seen = rng.integers(0, 10, (3, 7)).astype(dtype)
        codes = to_read(rng.integers(0, 7, (9, 3, 2), dtype=np.uint32))
        yield on_device(seen), codes, 4, 2, 9, on_device(np.zeros(7, np.int64))
