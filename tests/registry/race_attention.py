"""Attention from counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import ROWS, Case
from batches import SEEDS, eighths, join_arrays
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from later import Later
from mergesketch import RaceAttention
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def _tokens(sketch: RaceAttention) -> st.SearchStrategy[tuple]:
    return st.integers(0, 6).flatmap(
        lambda n: st.tuples(eighths((n, sketch.n_features)), eighths((n, sketch.n_values)))
    )


def _large(rng: np.random.Generator, sketch: RaceAttention) -> tuple:
    shape = (20_000, sketch.n_features), (20_000, sketch.n_values)
    return rng.integers(-40, 40, shape[0]) / 8, rng.integers(-40, 40, shape[1]) / 8


def _entry(beta: float | None) -> Entry:
    return Entry(
        RaceAttention,
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), SEEDS).map(
            lambda t: RaceAttention(*t[:3], power=t[3], beta=beta, seed=t[4])
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
        ],
    )


ENTRIES: dict[str, Entry] = {
    "RaceAttention": _entry(None),
    # Weights are multiples of 2**-24, and values of 1/8: all sums are exact.
    "RaceAttention, soft": _entry(2.0),
}


def _gpu_tokens(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    return rng.standard_normal((n, 5)), rng.standard_normal((n, 3))


GPU_ENTRIES: dict[str, GpuEntry] = {
    "RaceAttention": GpuEntry(
        lambda: RaceAttention(5, 3, 7, power=3, seed=1),
        _gpu_tokens,
        (lambda s, b: s.query(b[0]), lambda s, b: s.kernel_sum(b[0]), lambda s, b: s.causal(b[0], *b)),
    ),
    "RaceAttention, soft": GpuEntry(
        lambda: RaceAttention(5, 3, 7, power=3, beta=3.0, seed=1),
        _gpu_tokens,
        (lambda s, b: s.query(b[0]), lambda s, b: s.causal(b[0], *b)),
    ),
}


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]

    def context() -> RaceAttention:
        return RaceAttention(width, width, 4, power=3, seed=1)

    tokens = {"K": ROWS, "V": ROWS}
    yield Case("RaceAttention.update", lambda **given: context().update(**given), tokens, None, ("K",))
    yield Case(
        "RaceAttention.causal",
        lambda Q, K, V: context().causal(Q, K, V),
        {"Q": ROWS, **tokens},
        None,
        ("Q", "K"),
    )
    full = Later(lambda: context().update(ROWS, ROWS))
    yield Case("RaceAttention.query", full.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("RaceAttention.kernel_sum", full.kernel_sum, {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    return {
        "RaceAttention": RaceAttention(d, 1, 5, power=2).update(SMALL_ROWS, np.arange(n)[:, None]),
        "RaceAttention, soft": RaceAttention(d, d, 5, power=2, beta=1.5).update(SMALL_ROWS, SMALL_ROWS),
    }
