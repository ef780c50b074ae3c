"""Matrices in few rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from argument_cases import ROWS, Case
from batches import eighths, join_arrays
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import FrequentDirections
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS

_BAD = [([[np.nan] * 99],), ([[1.0, np.nan]],), ([[1e141] * 99],), ([1.0],), ([["a"]],), (None,)]


def _batches(sketch: FrequentDirections) -> st.SearchStrategy[tuple]:
    return st.integers(0, 6).flatmap(lambda n: st.tuples(eighths((n, sketch.n_features))))


def _large(rng: np.random.Generator, sketch: FrequentDirections) -> tuple:
    return (rng.integers(-40, 40, (1_000, sketch.n_features)) / 8,)


def _within_error(a: FrequentDirections, b: FrequentDirections, batches: Sequence[tuple]) -> None:
    """Assert that both sketches stand for the rows of the batches within their errors."""
    (X,) = join_arrays(batches)
    for sketch in (a, b):
        rows = sketch.rows()
        values = np.linalg.eigvalsh(X.T @ X - rows.T @ rows)
        rounding = 1e-12 * max(1.0, sketch.squared_norm)
        assert -rounding <= values[0] and values[-1] <= sketch.error + rounding
        assert sketch.error <= sketch.squared_norm / (sketch.n_directions + 1) + rounding
        assert sketch.squared_norm == (X * X).sum()


ENTRIES: dict[str, Entry] = {
    # All rows are kept, so that the laws hold bit for bit.
    "FrequentDirections": Entry(
        FrequentDirections,
        st.integers(1, 5).map(lambda d: FrequentDirections(d, 3000)),
        _batches,
        join_arrays,
        _large,
        _BAD,
        linear=False,
    ),
    "FrequentDirections, shrunk": Entry(
        FrequentDirections,
        st.tuples(st.integers(1, 7), st.integers(1, 3)).map(lambda t: FrequentDirections(*t)),
        _batches,
        join_arrays,
        _large,
        _BAD,
        linear=False,
        merge_is_inexact="rows are replaced by fewer ones when there is no room, sooner or later",
        weaker_law=_within_error,
        associative=False,
    ),
}


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]

    def update(X: Any) -> FrequentDirections:
        return FrequentDirections(width, 2).update(X)

    yield Case("FrequentDirections.update", update, {"X": ROWS}, None, ("X",))
    full = Later(lambda: update(ROWS))
    yield Case("FrequentDirections.query", full.query, {"X": ROWS}, "X", ("X",))


def stored_examples() -> dict[str, Stored]:
    return {"FrequentDirections": FrequentDirections(SMALL_ROWS.shape[1], 2).update(SMALL_ROWS)}
