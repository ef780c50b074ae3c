"""MinHash of sets that arrive token by token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import COUNTS, KEYS, Case
from batches import SEEDS, join_arrays
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import MinHashSketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS

ENTRIES: dict[str, Entry] = {
    "MinHashSketch": Entry(
        MinHashSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 9) | st.just(200), SEEDS).map(
            lambda t: MinHashSketch(t[0], t[1], seed=t[2])
        ),
        lambda sketch: st.integers(0, 20).flatmap(
            lambda n: st.tuples(
                hnp.arrays(np.uint64, n, elements=st.integers(0, 30) | st.integers(0, 2**64 - 1)),
                hnp.arrays(np.int64, n, elements=st.integers(0, sketch.n_sets - 1)),
            )
        ),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 2**40, 300_000),
            rng.integers(0, sketch.n_sets, 300_000),
        ),
        [
            ([1.5], [0]),
            ([1, 2], [0]),
            ([1], [99]),
            ([1], [-1]),
            ([1], [0.5]),
            ([1, "a"], [0, 0]),
            (3, [0, 0]),
            (3.5, 0),
        ],
        linear=False,
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "MinHashSketch": GpuEntry(
        lambda: MinHashSketch(7, 40, seed=3),
        lambda rng, n: (rng.integers(0, 500, n), rng.integers(0, 7, n)),
        (
            lambda s, b: s.jaccard(b[1][::7], b[1][::7][::-1]),
            lambda s, b: s.containment(b[1][::7], b[1][::7][::-1]),
            lambda s, b: s.intersection([0, 1], 2 * [3]),
            lambda s, b: s.cardinality(),
            lambda s, b: s.signatures(),
        ),
    ),
}


def argument_cases() -> Iterator[Case]:
    def tokens(tokens, sets):
        return MinHashSketch(3, 16).update(tokens, sets)

    yield Case("MinHashSketch.update", tokens, {"tokens": KEYS, "sets": COUNTS % 3})
    minima = Later(lambda: tokens(KEYS, COUNTS % 3))
    for method in ("jaccard", "containment", "intersection", "union"):
        both = {"left": COUNTS % 3, "right": KEYS % 3}
        yield Case(f"MinHashSketch.{method}", getattr(minima, method), both)


def stored_examples() -> dict[str, Stored]:
    return {"MinHashSketch": MinHashSketch(3, 8).update(SMALL_KEYS, SMALL_KEYS % 3)}
