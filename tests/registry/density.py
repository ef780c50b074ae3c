"""Densities from grids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, Case, D, N
from batches import SEEDS, counts, join_arrays
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import DensitySketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def _vector_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Return rows on a coarse lattice, so that cells fill, and weights."""
    rows = st.integers(0, 8).flatmap(
        lambda n: hnp.arrays(np.int64, (n, sketch.n_features), elements=st.integers(-9, 9))
    )
    return rows.flatmap(lambda X: st.tuples(st.just(X / 4), counts(len(X), 0)))


def _density_entry(rotate: bool, max_bins: int) -> Entry:
    """Return an entry whose tables are too large to err; with few bins, light cells are dropped."""
    return Entry(
        DensitySketch,
        st.tuples(st.integers(1, 3), st.sampled_from([0.5, 3.0]), st.integers(1, 4), SEEDS).map(
            lambda t: DensitySketch(
                t[0],
                t[1] if rotate else [t[1]] * t[0],
                n_repetitions=t[2],
                n_rows=5,
                n_buckets=8192,
                max_bins=max_bins,
                rotate=rotate,
                seed=t[3],
            )
        ),
        _vector_batches,
        join_arrays,
        lambda rng, sketch: (rng.normal(size=(30_000, sketch.n_features)), rng.integers(0, 4, 30_000)),
        [
            (np.full((1, 9), 1.0), None),
            ([0.0], None),
            ([[np.nan]], None),
            (None, None),
            ([["a"]], None),
            (np.zeros((2, 3)), [1]),
        ],
        linear=False,
        counters=("counts", "total", "n_updates"),
    )


ENTRIES: dict[str, Entry] = {
    "DensitySketch": _density_entry(rotate=False, max_bins=400),
    "DensitySketch, few bins": _density_entry(rotate=False, max_bins=7),
    "DensitySketch, rotated": _density_entry(rotate=True, max_bins=50),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "DensitySketch": GpuEntry(
        lambda: DensitySketch(12, 2.0, n_repetitions=3, n_buckets=500, max_bins=40, seed=4),
        lambda rng, n: (0.5 * rng.standard_normal((n, 12)), rng.integers(0, 3, n)),
        (lambda s, b: s.density(b[0]), lambda s, b: s.log_density(b[0])),
    ),
    "DensitySketch, all cells by name": GpuEntry(
        lambda: DensitySketch(12, 2.0, n_repetitions=3, n_buckets=50, max_bins=15_000, seed=4),
        lambda rng, n: (0.5 * rng.standard_normal((n, 12)), rng.integers(0, 3, n)),
        (lambda s, b: s.density(b[0]),),
    ),
    "DensitySketch of rotated grids": GpuEntry(
        lambda: DensitySketch(2, 0.5, rotate=True, n_buckets=500, max_bins=20),
        lambda rng, n: (rng.standard_normal((n, 2)).astype(np.float32),),
        (lambda s, b: s.density(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    X = {"X": ROWS}

    def density(X, weights):
        return DensitySketch(D, 4.0).update(X, weights)

    yield Case("DensitySketch.update", density, {**X, "weights": COUNTS})
    widths = np.repeat([2.0, 4.0], D // 2)

    def wide(width):
        return DensitySketch(D, width).update(ROWS)

    yield Case("DensitySketch", wide, {"width": widths})

    def sample(X):
        return DensitySketch.for_sample(X, n_repetitions=2).config()

    few = np.repeat(ROWS[:, :3], 4, axis=0) + np.random.default_rng(1).integers(0, 3, (4 * N, 3))
    yield Case("DensitySketch.for_sample", sample, {"X": few})
    full = Later(lambda: density(ROWS, COUNTS))
    yield Case("DensitySketch.density", full.density, X, "X")
    yield Case("DensitySketch.log_density", full.log_density, X, "X")


def stored_examples() -> dict[str, Stored]:
    arguments: Any = {"n_repetitions": 2, "n_buckets": 64, "max_bins": 8}
    return {
        "DensitySketch": DensitySketch(4, 1.0, **arguments).update(SMALL_ROWS),
        "DensitySketch, rotated": DensitySketch(4, 1.0, rotate=True, **arguments).update(SMALL_ROWS),
    }
