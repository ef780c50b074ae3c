"""A cache of important tokens."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from batches import eighths, join_arrays
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import ImportanceCache
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def _positions(K: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Return positions that only equal tokens share, also if they are of different batches."""
    rows = np.concatenate([K, V], axis=1) + 0.0
    return np.array([zlib.crc32(row.tobytes()) for row in rows], np.int64)


def _tokens(cache: ImportanceCache) -> st.SearchStrategy[tuple]:
    def of(n: int) -> st.SearchStrategy[tuple]:
        return st.tuples(eighths((n, cache.n_features)), eighths((n, cache.n_values)))

    return st.integers(0, 6).flatmap(of).map(lambda rows: (*rows, _positions(*rows)))


def _large(rng: np.random.Generator, cache: ImportanceCache) -> tuple:
    # Three such batches fit the budget.
    rows = tuple(rng.integers(-40, 40, (200, n)) / 8 for n in (cache.n_features, cache.n_values))
    return (*rows, _positions(*rows))


ENTRIES: dict[str, Entry] = {
    "ImportanceCache": Entry(
        ImportanceCache,
        # There is room for all tokens, so that none is dropped. Then the laws hold bit for bit;
        # test_importance_cache.py tests what holds for any budget.
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 4, 8])).map(
            lambda t: ImportanceCache(t[0], t[1], 700, history=7, scale=0.5, bits=t[2])
        ),
        _tokens,
        join_arrays,
        _large,
        [
            ([[np.nan]], [[1.0]]),
            ([[1.0, 2.0, 3.0, 4.0]], [[1.0]]),
            ([[1.0]], [[np.inf]]),
            ([[1.0]], [["a"]]),
            ([[1.0], [2.0]], [[1.0]]),
            ([[1e300]], [[1.0]]),
            ([[1.0]], [[1.0]], [-1]),
            ([[1.0]], [[1.0]], [1.5]),
            ([[1.0]], [[1.0]], [1, 2]),
            ([[1.0], [2.0]], [[1.0], [2.0]], [5, 5]),
        ],
        linear=False,
    ),
}


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]

    def cache() -> ImportanceCache:
        return ImportanceCache(width, width, 8)

    tokens = {"K": ROWS, "V": ROWS}
    yield Case(
        "ImportanceCache.update",
        lambda K, V, positions: cache().update(K, V, positions),
        {**tokens, "positions": KEYS},
        None,
        ("K", "V"),
    )
    yield Case(
        "ImportanceCache.causal",
        lambda Q, K, V: cache().causal(Q, K, V),
        {"Q": ROWS, **tokens},
        None,
        ("Q", "K", "V"),
    )
    yield Case(
        "ImportanceCache.causal: two queries a token",
        lambda Q, K, V: cache().causal(Q, K, V),
        {"Q": np.stack([ROWS, ROWS[::-1]], axis=1), **tokens},
        None,
        ("K", "V"),
    )
    full = Later(lambda: cache().update(ROWS, ROWS))
    yield Case("ImportanceCache.query", full.query, {"Q": ROWS}, None, ("Q",))


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    small = ImportanceCache(d, 1, 8, sinks=1, history=9)
    small.causal(SMALL_ROWS, SMALL_ROWS, np.arange(n)[:, None])
    return {
        "ImportanceCache": small,
        "ImportanceCache, by counts and in few bits": ImportanceCache(
            d, d, 40, measure="count", scale=0.5, bits=4
        ).update(SMALL_ROWS, SMALL_ROWS),
    }
