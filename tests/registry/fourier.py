"""Sums of random Fourier features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, Case, D
from batches import SEEDS, join_arrays, real_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_weighted_rows
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import FourierSketch, PrivateFourier
from mergesketch.sketches.core.stored import Stored
from row_data import dense_rows
from stored_data import SMALL_ROWS

_KINDS = (
    {"kernel": "gaussian"},
    {"kernel": "laplacian"},
    {"kernel": "gaussian", "projection": "orthogonal"},
    {"kernel": "gaussian", "projection": "hadamard"},
)


def _release_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Return noisy sums, totals and budgets of several releases."""
    numbers = st.integers(-9, 9)
    return st.integers(0, 3).flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, (n, 2, sketch.n_components), elements=numbers),
            hnp.arrays(np.int64, (n, 1), elements=numbers),
            hnp.arrays(np.int64, n, elements=st.integers(1, 99)),
        )
    )


ENTRIES: dict[str, Entry] = {
    "FourierSketch": Entry(
        FourierSketch,
        st.tuples(st.integers(2, 200), st.sampled_from([0.3, 4.0]), SEEDS).map(
            lambda t: FourierSketch(12, t[0], t[1], **_KINDS[t[2] % len(_KINDS)], seed=t[2])
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
    "PrivateFourier": Entry(
        PrivateFourier,
        st.tuples(st.integers(2, 5), SEEDS).map(lambda t: PrivateFourier(12, t[0], seed=t[1])),
        _release_batches,
        join_arrays,
        lambda rng, sketch: (
            rng.integers(-9, 9, (5, 2, sketch.n_components)),
            rng.integers(-9, 9, (5, 1)),
            np.arange(1, 6),
        ),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "FourierSketch": GpuEntry(
        lambda: FourierSketch(12, 50, 2.0, seed=2),
        gpu_weighted_rows,
        (lambda s, b: s.query(b[0]), lambda s, b: s.query(b[0], return_std=True)[1]),
    ),
    "FourierSketch, hadamard, widths": GpuEntry(
        lambda: FourierSketch(12, 50, (2.0, 5.0), projection="hadamard", seed=2),
        gpu_weighted_rows,
        (
            lambda s, b: s.query(b[0], width=2.0),
            lambda s, b: s.query(b[0], width=5.0, return_std=True)[1],
        ),
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
    # Epsilon is so large that there is hardly any noise, and it is the same for all forms.
    release = Later(lambda: fourier(ROWS, COUNTS).release(1e6, record_weight=9))
    yield Case("PrivateFourier.query", release.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("PrivateFourier.density", release.density, {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    return {
        "FourierSketch": FourierSketch(4, 5).update(SMALL_ROWS),
        "PrivateFourier": FourierSketch(4, 5).update(SMALL_ROWS).release(1.0),
        "FourierSketch, orthogonal": FourierSketch(4, 5, projection="orthogonal").update(SMALL_ROWS),
        "FourierSketch, hadamard, widths": FourierSketch(4, 5, (1.0, 2.0), projection="hadamard").update(
            SMALL_ROWS
        ),
    }
