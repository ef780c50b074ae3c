"""RACE over a sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, SIGNS, Case
from batches import SEEDS, eighths, join_arrays, race_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_real_weighted_rows, gpu_signs, gpu_weighted_rows
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import RaceWindow
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_SIGNS
from toy_family import ToyFamily


def _pane_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    def with_panes(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        weights = st.just(batch[1]) if sketch.dtype == "int" else eighths((n,))
        return st.tuples(st.just(batch[0]), weights, hnp.arrays(np.int64, n, elements=st.integers(0, 4)))

    return race_batches(sketch).flatmap(with_panes)


ENTRIES: dict[str, Entry] = {
    **{
        f"RaceWindow, {dtype}": Entry(
            RaceWindow,
            st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), SEEDS).map(
                lambda t, dtype=dtype: RaceWindow(ToyFamily(t[0], t[1], seed=t[3]), n_panes=t[2], dtype=dtype)
            ),
            _pane_batches,
            join_arrays,
            lambda rng, sketch: (
                rng.integers(0, 4, (60_000, sketch.family.n_features)),
                rng.integers(-3, 4, 60_000),
                rng.integers(0, 5, 60_000),
            ),
            [([[9.0]], None, 7), ([[0]], [1, 2], 7), ([[0]], None, -1), ([[0]], None, 0.5), (3, None, 7)],
            linear=False,
        )
        for dtype in ("int", "float")
    },
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "RaceWindow": GpuEntry(
        lambda: RaceWindow(gpu_signs(), n_panes=4),
        lambda rng, n: (*gpu_weighted_rows(rng, n), rng.integers(0, 7, n)),
        (lambda s, b: s.query(b[0]), lambda s, b: s.race().query(b[0], groups=4)),
    ),
    "RaceWindow, real weights": GpuEntry(
        lambda: RaceWindow(gpu_signs(), n_panes=3, dtype="float"),
        gpu_real_weighted_rows,
        (lambda s, b: s.query(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    window = RaceWindow(SIGNS, 3)
    panes = {"X": ROWS, "weights": COUNTS, "pane": np.sort(COUNTS % 3)}
    yield Case("RaceWindow.update", lambda **given: window.copy().update(**given), panes, None, ("X",))
    full = Later(lambda: window.copy().update(**panes))
    yield Case("RaceWindow.query", full.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("RaceWindow.density", full.density, {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    return {"RaceWindow": RaceWindow(SMALL_SIGNS, 3).update(SMALL_ROWS, pane=1)}
