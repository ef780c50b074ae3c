"""Representers of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, SIGNS, Case
from batches import SEEDS, eighths, join_arrays, weighted_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_rows, gpu_signs
from hypothesis import strategies as st
from later import Later
from mergesketch import RepresenterSketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_STEPS
from toy_family import ToyFamily

ENTRIES: dict[str, Entry] = {
    "RepresenterSketch": Entry(
        RepresenterSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from(["float32", "float64"]), SEEDS).map(
            lambda t: RepresenterSketch(ToyFamily(t[0], t[1], seed=t[3]), 3, precision=t[2])
        ),
        lambda sketch: weighted_batches(sketch, lambda n: eighths((n, 3))),
        join_arrays,
        # They are so small that float32 adds them exactly in any order.
        lambda rng, sketch: (
            rng.integers(0, sketch.family.n_buckets, (60_000, sketch.family.n_features)),
            rng.integers(-3, 4, (60_000, 3)) / 8,
        ),
        [([[0]], None), ([[0]], [[1, np.nan, 2]]), ([[0]], [[1.0, 2.0]]), ([[9.0]], [[1, 1, 1]])],
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "RepresenterSketch": GpuEntry(
        lambda: RepresenterSketch(gpu_signs(), 2),
        lambda rng, n: (*gpu_rows(rng, n), rng.standard_normal((n, 2))),
        (lambda s, b: s.query(b[0]), lambda s, b: s.predict(b[0])),
    ),
}


def argument_cases() -> Iterator[Case]:
    X = {"X": ROWS}

    def fit(model_outputs: Any, X: Any) -> Any:
        return RepresenterSketch.fit(model_outputs, X, family=SIGNS)

    full = Later(lambda: fit(COUNTS / 4, ROWS))
    yield Case("RepresenterSketch.fit", fit, {"model_outputs": COUNTS / 4, **X}, None, ("X",))
    yield Case("RepresenterSketch.decision_function", full.decision_function, X, "X", ("X",))
    yield Case("RepresenterSketch.predict", full.predict, X, "X", ("X",))


def stored_examples() -> dict[str, Stored]:
    return {"RepresenterSketch": RepresenterSketch.fit(SMALL_ROWS[:, 0], SMALL_ROWS, family=SMALL_STEPS)}
