"""Heavy hitters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import Case, key_count_cases
from batches import BAD_KEYS, SEEDS, join_lists, key_batches, large_keys
from entries import Entry, GpuEntry
from gpu_batches import gpu_keys
from hypothesis import strategies as st
from mergesketch import HeavyHitters
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS

ENTRIES: dict[str, Entry] = {
    "HeavyHitters": Entry(
        HeavyHitters,
        # Tables are so large that no key's estimate errs here. Then the laws hold bit for bit for
        # all that `==` compares; test_heavy_hitters.py tests what holds for any table.
        st.tuples(st.sampled_from([0.05, 0.2, 0.5]), SEEDS).map(
            lambda t: HeavyHitters(t[0], n_rows=4, n_buckets=4096, max_key_bytes=16, seed=t[1])
        ),
        key_batches(0),
        join_lists,
        large_keys,
        [*BAD_KEYS, (["a"], [-1]), ([("a",) * 9], None), ([("a", 1), ("b", "c")], None)],
        linear=False,
        counters=("counts", "total", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "HeavyHitters": GpuEntry(
        lambda: HeavyHitters(0.05, seed=2),
        gpu_keys,
        (lambda s, b: s.query(b[0]), lambda s, b: s.lower_bound(b[0])),
    ),
    "HeavyHitters, few names": GpuEntry(
        lambda: HeavyHitters(0.9, n_rows=1, n_buckets=3, max_key_bytes=8, seed=2),
        lambda rng, n: (rng.integers(0, 9, n).astype(np.uint64) << np.uint64(61),),
        (lambda s, b: s.upper_bound(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    yield from key_count_cases("HeavyHitters", lambda: HeavyHitters(0.2))


def stored_examples() -> dict[str, Stored]:
    return {"HeavyHitters": HeavyHitters(0.1, max_key_bytes=8).update(SMALL_WORDS)}
