"""STORM."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import ROWS, Case, D
from batches import SEEDS, join_arrays, real_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_rows
from hypothesis import strategies as st
from mergesketch import StormSketch
from mergesketch.sketches.core.stored import Stored
from row_data import dense_rows
from stored_data import SMALL_ROWS

_OVERSIZE = ("clip", "split")


ENTRIES: dict[str, Entry] = {
    "StormSketch": Entry(
        StormSketch,
        st.tuples(st.integers(1, 70), st.sampled_from([1.0, 3.0]), SEEDS).map(
            lambda t: StormSketch(12, t[0], max_norm=t[1], oversize=_OVERSIZE[t[2] % 2], seed=t[2])
        ),
        lambda sketch: real_batches(sketch).map(lambda batch: batch[:1]),
        join_arrays,
        lambda rng, sketch: (dense_rows(rng, 30_000),),
        [([[np.nan] * 12],), ([[0.0] * 11],), ([0.0] * 12,), ([["a"] * 12],)],
        counters=("products", "n_clipped", "n_parts", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "StormSketch": GpuEntry(
        lambda: StormSketch(12, 9, max_norm=4.2, seed=2),
        gpu_rows,
        (lambda s, b: s.update(b[0][:0]).second_moments(), lambda s, b: s.second_moments(return_std=True)[1]),
    ),
    "StormSketch that splits long rows": GpuEntry(
        lambda: StormSketch(12, 9, max_norm=0.7, oversize="split", seed=2),
        gpu_rows,
        (lambda s, b: s.update(b[0][:0]).second_moments(),),
    ),
}


def argument_cases() -> Iterator[Case]:
    def storm(X):
        return StormSketch(D, 8, max_norm=40.0).update(X)

    yield Case("StormSketch.update", storm, {"X": ROWS}, None, ("X",))


def stored_examples() -> dict[str, Stored]:
    return {"StormSketch": StormSketch(4, 5).update(SMALL_ROWS)}
