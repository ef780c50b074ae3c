"""Streaming de-duplication of documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import TEXT_BUFFER, Case
from batches import SEEDS
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import StreamingDeduplicator
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_WORDS

WORDS = ["tea", "cake", "straße", "日本", "", "?"]


def documents(sketch: Any) -> st.SearchStrategy[tuple]:
    # Few words, so that documents repeat, share shingles, or have none.
    texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    return st.lists(texts, max_size=8).map(lambda batch: (batch,))


def many_documents(rng: np.random.Generator, sketch: Any) -> tuple:
    return ([f"{a} {b}" for a, b in rng.integers(0, 3000, (40_000, 2)).tolist()],)


ENTRIES: dict[str, Entry] = {
    "StreamingDeduplicator": Entry(
        StreamingDeduplicator,
        st.tuples(
            st.sampled_from([0.5, 0.7]), st.integers(1, 20) | st.just(500), st.integers(1, 3), SEEDS
        ).map(
            lambda t: StreamingDeduplicator(
                t[0], t[1] + 100_000, n_hashes=16, size=t[2], seed=t[3], n_blocks=t[1], n_bits=5
            )
        ),
        documents,
        lambda batches: ([text for (texts,) in batches for text in texts],),
        many_documents,
        [(["a", 1],), ([1.5],), ([None],), (np.array([1.0]),), (3.5,), (True,), ("one text",)],
        linear=False,
    ),
}


def argument_cases() -> Iterator[Case]:
    given = {"documents": TEXT_BUFFER}

    def admitted(documents: Any) -> Any:
        return StreamingDeduplicator(0.5, 100, size=2).admit(documents)

    yield Case(
        "StreamingDeduplicator.update",
        lambda documents: StreamingDeduplicator(0.5, 100, size=2).update(documents),
        given,
    )
    yield Case("StreamingDeduplicator.admit", admitted, given)
    some = Later(lambda: StreamingDeduplicator(0.5, 100, size=2).update(SMALL_WORDS))
    yield Case("StreamingDeduplicator.contains", some.contains, given)
    yield Case("StreamingDeduplicator.band_keys", lambda documents: tuple(some.band_keys(documents)), given)
    keys = (np.arange(9, dtype=np.uint64) << np.uint64(58)).reshape(3, 3)

    def admit_keys(keys: Any) -> Any:
        return StreamingDeduplicator(0.5, 100).admit_keys(keys)

    yield Case("StreamingDeduplicator.admit_keys", admit_keys, {"keys": keys}, any_dtype=False)
    yield Case(
        "StreamingDeduplicator.removal_probability",
        some.removal_probability,
        {"similarity": np.array([0.0, 0.25, 0.5, 1.0])},
    )


def stored_examples() -> dict[str, Stored]:
    made = StreamingDeduplicator(0.5, 10, n_hashes=8, n_blocks=2, n_bits=3).update(SMALL_WORDS[:8])
    return {"StreamingDeduplicator": made}
