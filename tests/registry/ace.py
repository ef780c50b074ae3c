"""Anomaly detection by counters."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import ROWS, SIGNS, Case
from batches import SEEDS, join_arrays, race_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_rows, gpu_signs
from hypothesis import strategies as st
from later import Later
from mergesketch import AceDetector
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_SIGNS
from toy_family import ToyFamily

ENTRIES: dict[str, Entry] = {
    "AceDetector": Entry(
        AceDetector,
        # Samples are so small that they overflow.
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 6), SEEDS).map(
            lambda t: AceDetector(ToyFamily(t[0], t[1], seed=t[3] >> 1), sample_size=t[2], seed=t[3])
        ),
        lambda sketch: race_batches(sketch).map(lambda batch: batch[:1]),
        join_arrays,
        lambda rng, sketch: (rng.integers(0, 4, (60_000, sketch.family.n_features)),),
        [([[9.0]],), ([0],), ([[0] * 9],), (None,)],
        linear=False,
        counters=("counts", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "AceDetector": GpuEntry(
        lambda: AceDetector(gpu_signs(), contamination=0.2, sample_size=30),
        gpu_rows,
        (
            lambda s, b: s.score_samples(b[0]),
            lambda s, b: s.predict(b[0]),
            lambda s, b: s.decision_function(b[0]) + s.mean_score,
        ),
    ),
    "AceDetector, by spread": GpuEntry(
        lambda: AceDetector(gpu_signs()), gpu_rows, (lambda s, b: s.decision_function(b[0]),)
    ),
}


def argument_cases() -> Iterator[Case]:
    X = {"X": ROWS}
    full = Later(lambda: AceDetector(SIGNS).update(ROWS))
    yield Case("AceDetector.update", lambda X: AceDetector(SIGNS).update(X), X, None, ("X",))
    yield Case("AceDetector.partial_fit", lambda X: AceDetector(SIGNS).partial_fit(X), X, None, ("X",))
    for method in ("predict", "decision_function", "score_samples"):
        yield Case(f"AceDetector.{method}", getattr(full, method), X, "X", ("X",))


def stored_examples() -> dict[str, Stored]:
    return {"AceDetector": AceDetector(SMALL_SIGNS, contamination=0.1, sample_size=9).update(SMALL_ROWS)}
