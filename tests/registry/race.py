"""RACE: sums over rows from counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import BITS, COUNTS, OFFSETS, ROWS, SETS, SIGNS, TOKENS, Case
from batches import (
    SEEDS,
    counts,
    eighths,
    join_arrays,
    join_lists,
    race_batches,
    real_batches,
    weighted_batches,
)
from entries import Entry, GpuEntry
from gpu_batches import gpu_real_weighted_rows, gpu_sets, gpu_signs, gpu_weighted_rows
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import Race
from mergesketch.lsh import BitSampling, InnerProduct, MinHash, PStable, SignedRandomProjection
from mergesketch.sketches.core.stored import Stored
from row_data import dense_rows, split_sets, token_sets
from stored_data import SMALL_ROWS, SMALL_SIGNS
from toy_family import ToyFamily


def _set_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    rows = st.lists(hnp.arrays(np.uint64, st.integers(0, 6), elements=st.integers(0, 20)), max_size=8)
    return rows.flatmap(lambda X: st.tuples(st.just(X), counts(len(X), -5)))


ENTRIES: dict[str, Entry] = {
    "Race": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], n_buckets=t[2], seed=t[3]))
        ),
        race_batches,
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, 60_000),
        ),
        [
            ([[0.0]] * 3, [1, 2]),
            ([[9.0]], None),
            ([[0]], [0.5]),
            ([0], None),
            ([[0] * 9], None),
            (None, None),
        ],
        counters=("counts", "total", "n_updates"),
    ),
    "Race, real": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], n_buckets=t[2], seed=t[3]), dtype="float")
        ),
        lambda sketch: weighted_batches(sketch, lambda n: eighths((n,))),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, 60_000) / 8,
        ),
        [([[0]], [np.nan]), ([[0]], [np.inf]), ([[0]], ["a"]), ([[0]], [1.0, 2.0]), ([[9.0]], None)],
    ),
    "Race, several outputs": Entry(
        Race,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.booleans(), SEEDS).map(
            lambda t: Race(ToyFamily(t[0], t[1], seed=t[3]), dtype="float" if t[2] else "int", n_outputs=3)
        ),
        lambda sketch: weighted_batches(
            sketch,
            lambda n: (
                eighths((n, 3))
                if sketch.dtype == "float"
                else hnp.arrays(np.int64, (n, 3), elements=st.integers(-5, 5))
            ),
        ),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, (60_000, 3)),
        ),
        [([[0]], None), ([[0]], [1]), ([[0]], [[1, 2]]), ([[0]], [["a"] * 3]), ([[9.0]], [[1, 1, 1]])],
    ),
    "Race of sets": Entry(
        Race,
        st.tuples(st.integers(1, 4), st.integers(2, 50), SEEDS).map(
            lambda t: Race(MinHash(t[0], n_buckets=t[1], scheme="permutations", seed=t[2]))
        ),
        _set_batches,
        join_lists,
        lambda rng, sketch: (split_sets(*token_sets(rng, 30_000)), rng.integers(-3, 4, 30_000)),
        [([[0.5]], None), (["a"], None), (3, None), (([1, 2], [0, 1]), None), ([[1], [2]], [1])],
        counters=("counts", "total", "n_updates"),
    ),
    "Race of vectors": Entry(
        Race,
        st.tuples(st.integers(1, 6), st.integers(1, 5), st.sampled_from(["gaussian", "hadamard"]), SEEDS).map(
            lambda t: Race(SignedRandomProjection(12, t[0], power=t[1], projection=t[2], seed=t[3]))
        ),
        real_batches,
        join_arrays,
        lambda rng, sketch: (dense_rows(rng, 30_000), rng.integers(-3, 4, 30_000)),
        [
            ([[np.nan] * 12], None),
            ([[0.0] * 11 + [np.inf]], None),
            ([[0.0] * 11], None),
            ([0.0] * 12, None),
            ([["a"] * 12], None),
            ([[1.0] * 12], [0.5]),
        ],
        counters=("counts", "total", "n_updates"),
    ),
    "Race of inner products": Entry(
        Race,
        st.tuples(st.integers(1, 6), st.integers(1, 5), st.none() | st.just(2.0), SEEDS).map(
            lambda t: Race(InnerProduct(12, t[0], max_norm=20.0, query_norm=t[2], power=t[1], seed=t[3]))
        ),
        real_batches,
        join_arrays,
        lambda rng, sketch: (dense_rows(rng, 30_000), rng.integers(-3, 4, 30_000)),
        [
            ([[0.0] * 11 + [20.1]], None),
            (np.repeat([[0.0] * 12, [6.0] * 12], 9000, axis=0), None),
            ([[np.nan] * 12], None),
            ([[0.0] * 11], None),
        ],
        counters=("counts", "total", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "Race": GpuEntry(
        lambda: Race(gpu_signs()),
        gpu_weighted_rows,
        (lambda s, b: s.query(b[0]), lambda s, b: s.query(b[0], groups=4)),
    ),
    "Race, real weights": GpuEntry(
        lambda: Race(PStable(12, n_hashes=20, power=2, width=2.0, n_buckets=64), dtype="float"),
        gpu_real_weighted_rows,
        (lambda s, b: s.query(b[0]),),
    ),
    "Race of Hadamard signs": GpuEntry(
        lambda: Race(SignedRandomProjection(12, n_hashes=20, power=3, projection="hadamard", n_buckets=64)),
        gpu_weighted_rows,
        (lambda s, b: s.query(b[0]),),
    ),
    "Race of sets": GpuEntry(
        lambda: Race(MinHash(20, power=2, n_buckets=64, seed=1)),
        gpu_sets,
        (lambda s, b: s.query(b[0]),),
    ),
    "Race of long sets": GpuEntry(
        lambda: Race(MinHash(20, scheme="one-permutation", n_buckets=64, seed=1)),
        gpu_sets,
        (lambda s, b: s.query(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    X, ones = {"X": ROWS}, {"Q": ROWS}

    def race(**options: Any) -> Race:
        return Race(SIGNS, **options)

    yield Case(
        "Race.update", lambda X, weights: race().update(X, weights), {**X, "weights": COUNTS}, None, ("X",)
    )
    sets = {"X": (TOKENS, OFFSETS)}
    yield Case("Race.update: sets", lambda X: Race(SETS).update(X), sets, None, ("X",))
    yield Case("Race.update: bits", lambda X: Race(BitSampling(40, 8, power=4)).update(X), {"X": BITS})
    two = np.stack([COUNTS, -COUNTS], axis=1)

    def outputs(X, weights):
        return race(n_outputs=2).update(X, weights)

    yield Case("Race.update: outputs", outputs, {**X, "weights": two}, None, ("X",))

    def real(X, weights):
        return race(dtype="float").update(X, weights)

    yield Case("Race.update: real", real, {**X, "weights": COUNTS / 4}, None, ("X",))
    full = Later(lambda: race().update(ROWS))
    yield Case("Race.query", full.query, ones, "Q", ("Q",))
    yield Case("Race.density", full.density, ones, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    return {"Race": Race(SMALL_SIGNS).update(SMALL_ROWS)}
