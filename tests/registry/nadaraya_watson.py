"""Nadaraya-Watson regression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, SIGNS, Case
from batches import SEEDS, eighths, join_arrays, race_batches
from entries import Entry, GpuEntry
from gpu_batches import gpu_real_weighted_rows, gpu_rows, gpu_signs
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import NadarayaWatsonSketch
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_STEPS
from toy_family import ToyFamily


def _target_batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Return rows, targets (some NaN), weights, and times in whole half-lives: all sums are exact."""

    def with_targets(batch: tuple) -> st.SearchStrategy[tuple]:
        n = len(batch[0])
        shape = (n,) if sketch.n_outputs is None else (n, sketch.n_outputs)
        holes = hnp.arrays(np.bool_, shape, elements=st.sampled_from([False] * 9 + [True]))
        targets = st.tuples(eighths(shape), holes).map(lambda t: np.where(t[1], np.nan, t[0]))
        periods = hnp.arrays(np.int64, n, elements=st.integers(-3, 9))
        times = periods.map(lambda p: p * (sketch.half_life or 1.0))
        return st.tuples(st.just(batch[0]), targets, eighths((n,)), times)

    return race_batches(sketch).flatmap(with_targets)


ENTRIES: dict[str, Entry] = {
    "NadarayaWatsonSketch": Entry(
        NadarayaWatsonSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([None, 2]), SEEDS).map(
            lambda t: NadarayaWatsonSketch(
                ToyFamily(t[0], t[1], seed=t[3]), n_outputs=t[2], nan_policy="omit"
            )
        ),
        lambda sketch: _target_batches(sketch).map(lambda batch: batch[:3]),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 4, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, (60_000, *([sketch.n_outputs] if sketch.n_outputs else []))) / 8,
        ),
        [
            ([[9.0]], [1.0], None),
            ([[0]], [1.0, 2.0], None),
            ([[0]], [np.inf], None),
            ([[0]], ["a"], None),
            ([[0]], [1.0], [np.nan]),
        ],
    ),
    "NadarayaWatsonSketch, decaying": Entry(
        NadarayaWatsonSketch,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.25, 3.0]), SEEDS).map(
            lambda t: NadarayaWatsonSketch(ToyFamily(t[0], t[1], seed=t[3]), half_life=t[2])
        ),
        lambda sketch: _target_batches(sketch).map(lambda b: (b[0], np.nan_to_num(b[1]), b[2], b[3])),
        join_arrays,
        lambda rng, sketch: (
            rng.integers(0, 4, (60_000, sketch.family.n_features)),
            rng.integers(-40, 40, 60_000) / 8,
            np.ones(60_000),
            rng.integers(0, 10, 60_000) * sketch.half_life,
        ),
        [
            ([[0]], [1.0], None, None),
            ([[0]], [1.0], None, [np.inf]),
            ([[0]], [1.0], None, ["a"]),
            ([[0]], [np.nan], None, [1.0]),
            ([[9]], [1.0], None, [1.0]),
        ],
        linear=False,
    ),
}


GPU_ENTRIES: dict[str, GpuEntry] = {
    "NadarayaWatsonSketch": GpuEntry(
        lambda: NadarayaWatsonSketch(gpu_signs()),
        gpu_real_weighted_rows,
        (lambda s, b: s.predict(b[0]), lambda s, b: s.kernel_sum(b[0])),
    ),
    "NadarayaWatsonSketch that decays": GpuEntry(
        lambda: NadarayaWatsonSketch(gpu_signs(), n_outputs=2, half_life=3.0),
        lambda rng, n: (*gpu_rows(rng, n), rng.standard_normal((n, 2)), rng.random(n), 10 * rng.random(n)),
        (lambda s, b: s.predict(b[0]),),
    ),
}


def argument_cases() -> Iterator[Case]:
    times = {"X": ROWS, "y": COUNTS / 4, "weights": COUNTS / 2, "time": np.sort(COUNTS)}

    def smoother(**given):
        return NadarayaWatsonSketch(SIGNS, half_life=2.0).update(**given)

    yield Case("NadarayaWatsonSketch.update", smoother, times, None, ("X",))
    full = Later(lambda: smoother(**times))
    yield Case("NadarayaWatsonSketch.kernel_sum", full.kernel_sum, {"Q": ROWS}, "Q", ("Q",))
    yield Case("NadarayaWatsonSketch.predict", full.predict, {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    X, y = SMALL_ROWS, SMALL_ROWS[:, 0]
    decaying = NadarayaWatsonSketch(SMALL_STEPS, half_life=2.0)
    return {
        "NadarayaWatsonSketch": NadarayaWatsonSketch(SMALL_STEPS).update(X, y),
        "NadarayaWatsonSketch, decaying": decaying.update(X, y, time=np.arange(30.0)),
    }
