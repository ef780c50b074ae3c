"""Batches that several sketches take, as Hypothesis strategies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SEEDS = st.integers(0, 2**64 - 1) | st.integers(0, 2)
KEY_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-3, 3) | st.integers(-(2**63), 2**64 - 1) | st.just(2**64 - 1),
    "str": st.text(max_size=2) | st.sampled_from(["tea", "cake", "straße", "日本"]),
    "bytes": st.binary(max_size=2),
}
BAD_KEYS: list[tuple] = [
    (["a", 1], None),
    ([1.5], None),
    ([None], None),
    (["a"], [1, 2]),
    (["a"], [0.5]),
    (["a"], ["b"]),
    (["a"], np.array([2**63], dtype=np.uint64)),
    (np.array([1.0]), None),
    (3.5, None),
    (True, None),
    (3, [1, 2]),
]


def join_arrays(batches: Sequence[tuple]) -> tuple:
    return tuple(np.concatenate(column) for column in zip(*batches, strict=True))


def join_lists(batches: Sequence[tuple]) -> tuple:
    return [row for rows, _ in batches for row in rows], np.concatenate([weights for _, weights in batches])


def counts(n: int, low: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.int64, n, elements=st.integers(low, 5))


def key_batches(low: int) -> Callable[[Any], st.SearchStrategy[tuple]]:
    def batches(sketch: Any) -> st.SearchStrategy[tuple]:
        # One sketch gets keys of one type, chosen by its seed.
        kind = sorted(KEY_TYPES)[sketch.seed % 3]
        keys = st.lists(KEY_TYPES[kind], max_size=12)
        return keys.flatmap(lambda k: st.tuples(st.just(k), counts(len(k), low)))

    return batches


def large_keys(rng: np.random.Generator, sketch: Any) -> tuple:
    keys = rng.zipf(1.3, 100_000).astype(np.int64)
    return keys, rng.integers(0, 4, keys.size)


def eighths(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    # Real weights that float64 adds exactly, so that the laws hold bit for bit.
    return hnp.arrays(np.int64, shape, elements=st.integers(-40, 40)).map(lambda w: w / 8)


def race_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    family = sketch.family
    rows = hnp.arrays(
        np.int64,
        st.tuples(st.integers(0, 8), st.just(family.n_features)),
        elements=st.integers(0, family.n_buckets - 1),
    )
    return rows.flatmap(lambda X: st.tuples(st.just(X), counts(len(X), -5)))


def weighted_batches(
    sketch: Any, weights: Callable[[int], st.SearchStrategy[np.ndarray]]
) -> st.SearchStrategy[tuple]:
    return race_batches(sketch).flatmap(lambda b: st.tuples(st.just(b[0]), weights(len(b[0]))))


def real_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Rows come from a seed, because the few floats that Hypothesis prefers would all have one code.
    seeds = st.tuples(st.integers(0, 8), st.integers(0, 2**32))
    rows = seeds.map(lambda s: np.random.default_rng(s[1]).standard_normal((s[0], 12)).astype(np.float32))
    return rows.flatmap(lambda X: st.tuples(st.just(X), counts(len(X), -5)))


def release_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Noisy counters and budgets of several releases; the laws hold for any noise.
    shape = sketch._layout()["counts"].shape
    return st.integers(0, 3).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, (n, *shape), elements=st.integers(-9, 9)),
            hnp.arrays(np.int64, n, elements=st.integers(1, 99)),
        )
    )
