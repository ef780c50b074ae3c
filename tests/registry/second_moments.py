"""Sums of products of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import ROWS, Case, D
from batches import join_arrays
from entries import Entry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import SecondMoments
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def _batches(sketch: Any) -> st.SearchStrategy[tuple]:
    # Float64 adds eighths of small integers exactly, so that the laws hold bit for bit.
    shapes = st.tuples(st.integers(0, 8), st.just(sketch.n_features))
    return hnp.arrays(np.int64, shapes, elements=st.integers(-40, 40)).map(lambda X: (X / 8,))


ENTRIES: dict[str, Entry] = {
    "SecondMoments": Entry(
        SecondMoments,
        st.integers(1, 12).map(SecondMoments),
        _batches,
        join_arrays,
        lambda rng, sketch: (rng.integers(-9, 9, (30_000, sketch.n_features)).astype(np.float32),),
        [([[np.nan] * 99],), ([[1.0, np.nan]],), ([[1e141] * 99],), ([1.0],), ([["a"]],), (None,)],
    ),
}


def argument_cases() -> Iterator[Case]:
    def update(X):
        return SecondMoments(D).update(X)

    yield Case("SecondMoments.update", update, {"X": ROWS}, None, ("X",))
    full = Later(lambda: SecondMoments(D).update(ROWS))
    pair = {"W": ROWS[:4], "approximation": ROWS[1:5]}
    yield Case("SecondMoments.relative_error", full.relative_error, pair)


def stored_examples() -> dict[str, Stored]:
    return {"SecondMoments": SecondMoments(4).update(SMALL_ROWS)}
