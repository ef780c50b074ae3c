"""Private releases of RACE."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import DISTANCES, ROWS, Case, D
from batches import SEEDS, join_arrays, release_batches
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import PrivateRace, Race
from mergesketch.lsh import SignedRandomProjection
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_SIGNS
from toy_family import ToyFamily

ENTRIES: dict[str, Entry] = {
    "PrivateRace": Entry(
        PrivateRace,
        st.tuples(st.integers(1, 5), st.integers(1, 4), SEEDS).map(
            lambda t: PrivateRace(ToyFamily(t[0], t[1], seed=t[2]))
        ),
        release_batches,
        join_arrays,
        lambda rng, sketch: (
            rng.integers(-9, 9, (5, sketch.family.n_hashes, sketch.family.n_buckets)),
            np.arange(1, 6),
        ),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
}


def argument_cases() -> Iterator[Case]:
    # Epsilon is so large that there is no noise.
    release = Later(lambda: Race(DISTANCES).update(ROWS).release(1e6))
    yield Case("PrivateRace.query", release.query, {"Q": ROWS}, "Q", ("Q",))
    yield Case("PrivateRace.density", release.density, {"Q": ROWS}, "Q", ("Q",))

    def modes(**given):
        return release.modes(2, n_starts=4, n_steps=3, **given)

    yield Case("PrivateRace.modes: candidates", modes, {"candidates": ROWS})
    yield Case("PrivateRace.modes: box", modes, {"low": np.full(D, -8.0), "high": np.full(D, 8.0)})


def stored_examples() -> dict[str, Stored]:
    sparse = SignedRandomProjection(None, 3, power=2, projection="sparse", seed=1)
    return {
        "PrivateRace": Race(SMALL_SIGNS).update(SMALL_ROWS).release(1.0),
        "PrivateRace, sparse": Race(sparse).update(SMALL_ROWS).release(1.0),
    }
