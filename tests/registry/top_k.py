"""The k most frequent keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import Case, key_count_cases
from batches import BAD_KEYS, SEEDS, join_lists, key_batches, large_keys
from entries import Entry
from hypothesis import strategies as st
from mergesketch import TopK
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS


def _few_distinct(rng: np.random.Generator, sketch: TopK) -> tuple:
    keys, counts = large_keys(rng, sketch)
    return keys % 500, counts


ENTRIES: dict[str, Entry] = {
    "TopK": Entry(
        TopK,
        # There are counters for all keys, so that none is dropped. Then the laws hold bit for bit;
        # test_top_k.py tests the weaker law that holds for any number of counters.
        st.tuples(st.integers(1, 12), SEEDS).map(
            lambda t: TopK(t[0], n_counters=500 + t[0], max_key_bytes=16, seed=t[1])
        ),
        key_batches(0),
        join_lists,
        _few_distinct,
        [*BAD_KEYS, (["a"], [-1]), ([("a",) * 9], None), ([("a", 1), ("b", "c")], None)],
        linear=False,
        counters=("total", "n_updates"),
    ),
}


def argument_cases() -> Iterator[Case]:
    yield from key_count_cases("TopK", TopK)


def stored_examples() -> dict[str, Stored]:
    # More keys than counters, so that some were dropped.
    return {"TopK": TopK(3, n_counters=25, max_key_bytes=8).update(SMALL_WORDS)}
