"""The buckets of an index, its queries and its searches."""

from __future__ import annotations

import numpy as np
from mergesketch import LSHIndex
from mergesketch.lsh.support.random import random_uint64

from naive.words import mix13

Buckets = dict[tuple[int, int], list[int]]


def index_buckets(codes: list[list[int]], ids: list[int]) -> Buckets:
    """Collect all ids of every bucket, by table and code."""
    buckets: Buckets = {}
    for row, number in zip(codes, ids, strict=True):
        for place in enumerate(row):
            buckets.setdefault(place, []).append(number)
    return buckets


def index_kept(buckets: Buckets, keys: list[int], capacity: int) -> Buckets:
    """Keep the ids of least priority of every bucket, ordered by falling priority."""
    return {
        (table, code): sorted(ids, key=lambda i: mix13((i + 1) ^ keys[table]))[:capacity][::-1]
        for (table, code), ids in buckets.items()
    }


def kept_by(index: LSHIndex, codes: np.ndarray, ids: list[int]) -> Buckets:
    """Return what `index` must keep of rows of these codes."""
    keys = random_uint64(index.seed, "LSHIndex priorities", index.family.n_hashes).tolist()
    return index_kept(index_buckets(codes.tolist(), ids), keys, index.capacity)


def index_query(kept: Buckets, codes: list[int], k: int) -> tuple[list[int], list[int]]:
    """Return the k ids found in most of a query's buckets and their counts, padded."""
    counts: dict[int, int] = {}
    for place in enumerate(codes):
        for number in kept.get(place, []):
            counts[number] = counts.get(number, 0) + 1
    best = sorted(counts.items(), key=lambda found: (-found[1], found[0]))[:k]
    best += [(-1, 0)] * (k - len(best))
    return [number for number, _ in best], [count for _, count in best]


def index_search(
    kept: Buckets, codes: list[list[int]], n_candidates: int | None, distances: list[float], k: int
) -> tuple[list[int], list[float]]:
    """Return the k nearest of the ids found most times in a query's buckets, padded.

    ``codes[t]`` are the probes of table t, ``distances[i]`` how far the row of id i is.
    """
    n_probes = len(codes[0])
    buckets = [
        (table, codes[table][p])
        for p in range(n_probes)
        for table in range(len(codes))
        if codes[table][p] not in codes[table][:p]
    ]
    counts: dict[int, int] = {}
    first: dict[int, int] = {}
    for order, place in enumerate(buckets):
        for number in kept.get(place, []):
            counts[number] = counts.get(number, 0) + 1
            first.setdefault(number, order)
    found = sorted(counts, key=lambda i: (-min(counts[i], len(codes)), first[i], i))[:n_candidates]
    nearest = sorted((distances[i], i) for i in found)[:k]
    nearest += [(np.inf, -1)] * (k - len(nearest))
    return [i for _, i in nearest], [d for d, _ in nearest]
