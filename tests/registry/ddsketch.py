"""Quantiles within a relative error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from argument_cases import COUNTS, KEYS, Case, N
from batches import counts
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import DDSketch
from mergesketch.sketches.core.stored import Stored

#: Numbers of all magnitudes, many of them equal.
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 1e-9, -3e15, 5e-324]) | st.floats(
    allow_nan=False, allow_infinity=False
)


def batches(sketch: Any) -> st.SearchStrategy[tuple]:
    return st.integers(0, 12).flatmap(
        lambda n: st.tuples(hnp.arrays(np.float64, n, elements=NUMBERS), counts(n, 0))
    )


def join(parts: Sequence[tuple]) -> tuple:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def large(rng: np.random.Generator, sketch: Any) -> tuple:
    n = 300_000
    return rng.standard_normal(n) * 10.0 ** rng.integers(-12, 12, n), rng.integers(0, 4, n)


def gpu_numbers(rng: np.random.Generator, n: int) -> tuple:
    return rng.lognormal(0.0, 3.0, n) * rng.choice([-1.0, 1.0], n), rng.integers(0, 9, n)


ENTRIES: dict[str, Entry] = {
    "DDSketch": Entry(
        DDSketch,
        st.tuples(st.floats(0.01, 0.9), st.sampled_from([1e-9, 1e-300]), st.sampled_from([1e3, 1e15])).map(
            lambda t: DDSketch(t[0], smallest=t[1], largest=t[2])
        ),
        batches,
        join,
        large,
        [
            ([1.0, np.nan], None),
            ([np.inf], None),
            ([-np.inf], None),
            (np.nan, None),
            ([None], None),
            (["a"], None),
            (None, None),
            ([1j], None),
            ([[1.0]], None),
            ([1.0], [1, 2]),
            ([1.0], [-1]),
            ([1.0], [0.5]),
            ([1.0], ["b"]),
            ([1.0], [True]),
            (1.0, [1, 2]),
            ([1.0], np.array([2**63], dtype=np.uint64)),
        ],
        linear=False,
        counters=("counts", "total", "n_updates"),
    ),
}

GPU_ENTRIES: dict[str, GpuEntry] = {
    "DDSketch": GpuEntry(
        lambda: DDSketch(0.05, smallest=1e-3, largest=1e3),
        gpu_numbers,
        (
            lambda s, b: s.cdf(b[0]),
            lambda s, b: s.cdf_bounds(b[0])[1],
            lambda s, b: s.quantile([0.1, 0.5, 0.9]),
            lambda s, b: s.bounds([0.0, 0.5, 1.0])[0],
        ),
    ),
}


def argument_cases() -> Iterator[Case]:
    yield Case(
        "DDSketch.update",
        lambda values, counts: DDSketch(0.1).update(values, counts),
        {"values": KEYS, "counts": COUNTS},
    )
    full = Later(lambda: DDSketch(0.1).update(KEYS, COUNTS))
    for method in ("rank", "cdf", "cdf_bounds"):
        yield Case(f"DDSketch.{method}", getattr(full, method), {"values": KEYS}, "values")
    shares = np.resize([0.0, 0.25, 0.5, 1.0], N)
    for method in ("quantile", "bounds"):
        yield Case(f"DDSketch.{method}", getattr(full, method), {"q": shares}, "q")


def stored_examples() -> dict[str, Stored]:
    some = np.array([-3.5, 0.0, 0.25, 2.0, 2.0])
    return {
        "DDSketch": DDSketch(0.2, smallest=1e-3, largest=1e3).update(some),
        "DDSketch, empty": DDSketch(0.5, smallest=0.5, largest=4.0),
    }
