"""The index of buckets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, DISTANCES, KEYS, OFFSETS, ROWS, SETS, SIGNS, TOKENS, Case
from batches import SEEDS, join_arrays, race_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_rows, gpu_sets
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import LSHIndex, VectorCodes
from mergesketch.lsh import MinHash, SignedRandomProjection
from toy_family import ToyFamily


def _index_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Ids are from a small range, so that some occur twice; those count twice.
    def with_ids(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        return st.tuples(st.just(batch[0]), hnp.arrays(np.int64, n, elements=st.integers(0, 50)))

    return race_batches(sketch).flatmap(with_ids)


ENTRIES: dict[str, Entry] = {
    "LSHIndex": Entry(
        LSHIndex,
        # Buckets have few slots, so that they overflow.
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5), st.booleans(), SEEDS).map(
            lambda t: LSHIndex(ToyFamily(t[0], t[1]), capacity=t[2], wide_ids=t[3], seed=t[4])
        ),
        _index_batches,
        join_arrays,
        lambda rng, sketch: (rng.integers(0, 4, (30_000, sketch.family.n_features)), np.arange(30_000)),
        [
            ([[9.0]], None),
            ([0], None),
            ([[0] * 9], None),
            (None, None),
            (np.zeros((1, 99), dtype=int), [1]),
        ],
        linear=False,
        counters=("seen", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "LSHIndex": GpuEntry(
        lambda: LSHIndex(SignedRandomProjection(12, n_hashes=6, power=4, seed=5), capacity=4),
        lambda rng, n: (*gpu_rows(rng, n), rng.choice(10**6, n, replace=False)),
        (
            lambda s, b: s.query(b[0], k=3).ids,
            lambda s, b: s.query(b[0], k=3).counts,
            lambda s, b: s.query(b[0][:2], k=200).ids,
            lambda s, b: s.kernel_estimate(s.query(b[0], k=3).counts),
            lambda s, b: s.distance_estimate(s.query(b[0], k=3).counts),
        ),
    ),
    "LSHIndex of rows of unknown width": GpuEntry(
        lambda: LSHIndex(SignedRandomProjection(n_hashes=6, power=4, seed=5), capacity=40),
        lambda rng, n: (*gpu_rows(rng, n), rng.choice(10**6, n, replace=False)),
        (lambda s, b: s.query(b[0], k=3).ids,),
    ),
    "LSHIndex of sets, with wide ids": GpuEntry(
        lambda: LSHIndex(MinHash(5, n_buckets=9, seed=5), capacity=40, wide_ids=True),
        lambda rng, n: (gpu_sets(rng, n)[0], rng.choice(2**40, n, replace=False)),
        (lambda s, b: s.query(b[0], k=3).ids,),
    ),
}


def argument_cases() -> Iterator[Case]:
    index = Later(lambda: LSHIndex(DISTANCES).add(ROWS))
    for method in ("add", "update"):

        def add(X, ids, m=method):
            return getattr(LSHIndex(SIGNS), m)(X, ids)

        yield Case(f"LSHIndex.{method}", add, {"X": ROWS, "ids": KEYS}, None, ("X",))

    def remove(ids, X):
        return LSHIndex(SIGNS).add(ROWS, KEYS).remove(ids, X)

    def replace(ids, X, old):
        return LSHIndex(SIGNS).add(ROWS, KEYS).replace(ids, X, old=old)

    yield Case("LSHIndex.remove", remove, {"ids": KEYS, "X": ROWS}, None, ("X",))
    pair = {"ids": KEYS, "X": ROWS[::-1].copy(), "old": ROWS}
    yield Case("LSHIndex.replace", replace, pair, None, ("X", "old"))
    yield Case("LSHIndex.query", lambda Q: index.query(Q, 3), {"Q": ROWS}, "Q", ("Q",))
    yield Case(
        "LSHIndex.query_codes",
        lambda codes: index.query_codes(codes, 3),
        lambda: {"codes": DISTANCES.hash(ROWS)},
    )
    yield Case("LSHIndex.kernel_estimate", index.kernel_estimate, {"counts": COUNTS % 9})
    yield Case("LSHIndex.distance_estimate", index.distance_estimate, {"counts": COUNTS % 9})
    coded = Later(lambda: VectorCodes(ROWS.shape[1]).update(ROWS))
    yield Case("LSHIndex.search: codes", lambda Q: index.search(Q, coded.copy(), 2), {"Q": ROWS}, "Q")
    pair = (TOKENS, OFFSETS)
    of_sets = Later(lambda: LSHIndex(SETS).add(pair))

    def search(Q, rows):
        return of_sets.search(Q, rows, 2)

    yield Case("LSHIndex.search: sets", search, {"Q": pair, "rows": pair}, "Q", ("Q", "rows"))
