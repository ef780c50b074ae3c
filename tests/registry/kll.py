"""Quantiles within a rank error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from argument_cases import KEYS, Case, N
from batches import SEEDS, join_arrays
from entries import Entry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import KLLSketch
from mergesketch.sketches.core.stored import Stored

NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 2.0]) | st.floats(allow_nan=False, allow_infinity=False)


def _within_the_halvings(one: Any, other: Any, batches: Sequence[tuple]) -> None:
    """A halving of level h changes no rank by more than 2**h, whatever the random bits are."""
    (values,) = join_arrays(batches)
    for sketch in (one, other):
        most = float((sketch.state["compactions"].array * 2.0 ** np.arange(62)).sum())
        truth = np.array([(values <= x).sum() for x in values])
        assert (abs(sketch.rank(values) - truth) <= most).all()
        sizes = sketch.state["sizes"].array.tolist()
        assert sum(size << h for h, size in enumerate(sizes)) == sketch.n_updates == values.size
        if values.size:
            assert (sketch.min, sketch.max) == (values.min(), values.max())


ENTRIES: dict[str, Entry] = {
    "KLLSketch": Entry(
        KLLSketch,
        st.tuples(st.integers(8, 12) | st.just(200), SEEDS).map(lambda t: KLLSketch(t[0], seed=t[1])),
        lambda sketch: st.integers(0, 40).flatmap(
            lambda n: st.tuples(hnp.arrays(np.float64, n, elements=NUMBERS))
        ),
        join_arrays,
        lambda rng, sketch: (rng.standard_normal(100_000),),
        [
            ([1.0, np.nan],),
            ([np.inf],),
            (np.nan,),
            ([None],),
            (["a"],),
            (None,),
            ([1j],),
            ([[1.0]],),
        ],
        linear=False,
        merge_is_inexact="which values are kept depends on how many were there when a level was full",
        weaker_law=_within_the_halvings,
        associative=False,
    ),
}


def argument_cases() -> Iterator[Case]:
    yield Case("KLLSketch.update", lambda values: KLLSketch(8).update(values), {"values": KEYS})
    full = Later(lambda: KLLSketch(8).update(KEYS))
    for method in ("rank", "cdf", "cdf_bounds"):
        yield Case(f"KLLSketch.{method}", getattr(full, method), {"values": KEYS}, "values")
    shares = np.resize([0.0, 0.25, 0.5, 1.0], N)
    for method in ("quantile", "bounds"):
        yield Case(f"KLLSketch.{method}", getattr(full, method), {"q": shares}, "q")


def stored_examples() -> dict[str, Stored]:
    return {"KLLSketch": KLLSketch(8).update(np.arange(30.0))}
