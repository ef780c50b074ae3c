"""Bloom filters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, Case
from batches import SEEDS, key_batches, large_keys
from entries import Entry, GpuEntry
from gpu_batches import gpu_keys
from hypothesis import strategies as st
from later import Later
from mergesketch import BloomFilter
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS

ENTRIES: dict[str, Entry] = {
    "BloomFilter": Entry(
        BloomFilter,
        st.tuples(st.integers(1, 9) | st.just(300), st.integers(1, 20), SEEDS).map(
            lambda t: BloomFilter(n_blocks=t[0], n_hashes=t[1], seed=t[2])
        ),
        lambda sketch: key_batches(0)(sketch).map(lambda batch: batch[:1]),
        lambda batches: ([key for (keys,) in batches for key in keys],),
        lambda rng, sketch: large_keys(rng, sketch)[:1],
        [(["a", 1],), ([1.5],), ([None],), (np.array([1.0]),), (3.5,), (True,)],
        linear=False,
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "BloomFilter": GpuEntry(
        lambda: BloomFilter(300, 0.01),
        lambda rng, n: gpu_keys(rng, n)[:1],
        (lambda s, b: s.contains(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    keys = {"keys": KEYS}
    yield Case("BloomFilter.update", lambda keys: BloomFilter(100).update(keys), keys)
    full = Later(lambda: BloomFilter(100).update(KEYS[:4]))
    yield Case("BloomFilter.contains", full.contains, keys, "keys")


def stored_examples() -> dict[str, Stored]:
    return {"BloomFilter": BloomFilter(n_blocks=4, n_hashes=3).update(SMALL_WORDS)}
