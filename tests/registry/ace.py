"""Anomaly detection by counters."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import COUNTS, ROWS, SIGNS, Case
from batches import SEEDS, counts, join_arrays, weighted_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_rows, gpu_signs
from hypothesis import strategies as st
from later import Later
from mergesketch import AceSketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_SIGNS
from toy_family import ToyFamily

ENTRIES: dict[str, Entry] = {
    "AceSketch": Entry(
        AceSketch,
        # Samples are so small that they overflow.
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), SEEDS).map(
            lambda t: AceSketch(ToyFamily(t[0], t[1], seed=t[3] >> 1), sample_size=t[2], seed=t[3])
        ),
        lambda sketch: weighted_batches(sketch, lambda n: counts(n, 0)),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 4, (60_000, sketch.family.n_features)),
            rng.integers(0, 4, 60_000),
        ),
        [
            ([[9.0]], None),
            ([[0.0]] * 3, [1, 2]),
            ([[0]], [0.5]),
            ([[0]], [-1]),
            ([0], None),
            ([[0] * 9], None),
            (None, None),
        ],
        linear=False,
        counters=("counts", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "AceSketch": GpuEntry(
        lambda: AceSketch(gpu_signs(), contamination=0.2, sample_size=30),
        lambda rng, n: (*gpu_rows(rng, n), rng.integers(0, 6, n)),
        (
            lambda s, b: s.score_samples(b[0]),
            lambda s, b: s.predict(b[0]),
            lambda s, b: s.decision_function(b[0]) + s.mean_score,
        ),
    ),
    "AceSketch, by spread": GpuEntry(
        lambda: AceSketch(gpu_signs()), gpu_rows, (lambda s, b: s.decision_function(b[0]),)
    ),
}


def argument_cases() -> Iterator[Case]:
    X = {"X": ROWS}
    full = Later(lambda: AceSketch(SIGNS).update(ROWS))
    weighted = {**X, "weights": COUNTS}
    yield Case(
        "AceSketch.update", lambda X, weights: AceSketch(SIGNS).update(X, weights), weighted, None, ("X",)
    )
    for method in ("predict", "decision_function", "score_samples"):
        yield Case(f"AceSketch.{method}", getattr(full, method), X, "X", ("X",))


def stored_examples() -> dict[str, Stored]:
    return {"AceSketch": AceSketch(SMALL_SIGNS, contamination=0.1, sample_size=9).update(SMALL_ROWS)}
