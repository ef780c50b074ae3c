"""Statistics of the terms of documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import KEYS, OFFSETS, TOKENS, Case
from batches import KEY_TYPES, SEEDS
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import TermStatistics
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS


def document_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # One sketch gets terms of one type, chosen by its seed.
    terms = KEY_TYPES[sorted(KEY_TYPES)[sketch.seed % 3]]
    return st.tuples(st.lists(st.lists(terms, max_size=5), max_size=5))


def _large(rng: np.random.Generator, sketch: Any) -> tuple:
    ends = np.cumsum(rng.integers(0, 20, 5000))
    return (np.split(rng.zipf(1.3, ends[-1]).astype(np.int64), ends[:-1]),)


ENTRIES: dict[str, Entry] = {
    "TermStatistics": Entry(
        TermStatistics,
        # The first tables have room for 1 to 18 terms in their lists, and the last for all.
        st.tuples(st.integers(1, 4), st.integers(1, 9) | st.just(100), SEEDS).map(
            lambda t: TermStatistics(t[0], t[1], seed=t[2])
        ),
        document_batches,
        lambda batches: ([document for (documents,) in batches for document in documents],),
        _large,
        [
            ("tea cake",),
            (["tea cake"],),
            ([["a", 1]],),
            ([[None]],),
            ([[1.5]],),
            ([np.zeros((2, 2), np.int64)],),
            ((["a"], [0, 2]),),
            ((["a"], [0.0, 1.0]),),
            ((["a", "b"], [0, 2, 1]),),
            (3,),
        ],
        linear=False,
        counters=("n_postings", "n_tokens", "n_updates"),
    ),
}


def argument_cases() -> Iterator[Case]:
    def update(documents: Any) -> TermStatistics:
        return TermStatistics(2, 64).update(documents)

    yield Case("TermStatistics.update", update, {"documents": (TOKENS, OFFSETS)})
    statistics = Later(lambda: update((TOKENS, OFFSETS)))
    for method in ("query", "document_frequency", "weights", "keep"):
        yield Case(f"TermStatistics.{method}", getattr(statistics, method), {"terms": KEYS}, "terms")


def stored_examples() -> dict[str, Stored]:
    documents = (SMALL_KEYS % 30, np.arange(0, SMALL_KEYS.size + 1, 5))
    return {
        "TermStatistics": TermStatistics(2, 64).update(documents),
        "TermStatistics, many terms": TermStatistics(2, 8).update(documents),
    }
