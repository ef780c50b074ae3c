"""Sums of random Fourier features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import COUNTS, ROWS, Case, D
from batches import SEEDS, join_arrays, real_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_weighted_rows
from hypothesis import strategies as st
from later import Later
from mergesketch import FourierSketch
from mergesketch.sketches.core.stored import Stored
from row_data import dense_rows
from stored_data import SMALL_ROWS

_KINDS = (
    {"kernel": "gaussian"},
    {"kernel": "laplacian"},
    {"kernel": "gaussian", "projection": "orthogonal"},
)


ENTRIES: dict[str, Entry] = {
    "FourierSketch": Entry(
        FourierSketch,
        st.tuples(st.integers(2, 200), st.sampled_from([0.3, 4.0]), SEEDS).map(
            lambda t: FourierSketch(12, t[0], t[1], **_KINDS[t[2] % 3], seed=t[2])
        ),
        real_batches,
        join_arrays,
        lambda rng, sketch: (dense_rows(rng, 30_000), rng.integers(-3, 4, 30_000)),
        [
            ([[np.nan] * 12], None),
            ([[np.inf] * 12], None),
            ([[1e30] * 12], None),
            ([[0.0] * 11], None),
            ([0.0] * 12, None),
            ([["a"] * 12], None),
            ([[0.0] * 12], [1, 2]),
            ([[0.0] * 12], [0.5]),
        ],
        counters=("sums", "total", "n_updates"),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "FourierSketch": GpuEntry(
        lambda: FourierSketch(12, 50, 2.0, seed=2),
        gpu_weighted_rows,
        (lambda s, b: s.query(b[0]), lambda s, b: s.query(b[0], return_std=True)[1]),
    ),
    "FourierSketch, laplacian": GpuEntry(
        lambda: FourierSketch(12, 50, 9.0, kernel="laplacian", seed=2),
        gpu_weighted_rows,
        (lambda s, b: s.query(b[0]), lambda s, b: s.query(b[0], return_std=True)[1]),
    ),
}


def argument_cases() -> Iterator[Case]:
    def fourier(X, weights):
        return FourierSketch(D, 20, 9.0).update(X, weights)

    yield Case("FourierSketch.update", fourier, {"X": ROWS, "weights": COUNTS}, None, ("X",))
    full = Later(lambda: fourier(ROWS, COUNTS))
    yield Case("FourierSketch.query", full.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("FourierSketch.density", full.density, {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    return {
        "FourierSketch": FourierSketch(4, 5).update(SMALL_ROWS),
        "FourierSketch, orthogonal": FourierSketch(4, 5, projection="orthogonal").update(SMALL_ROWS),
    }
