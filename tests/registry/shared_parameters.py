"""Shared parameters, with each kind of map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import KEYS, ROWS, Case, N
from batches import SEEDS, join_arrays
from entries import Entry, GpuEntry
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from later import Later
from mergesketch import (
    CafeMap,
    CyclicMap,
    MultiHashMap,
    PairMap,
    ParameterMap,
    QuotientRemainderMap,
    RobeMap,
    SemanticMap,
    SharedParameters,
    TileMap,
)
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS

_WIDTH, _N_ROWS = 12, 50
_MAPS: tuple[ParameterMap, ...] = (
    RobeMap(5),
    MultiHashMap(2),
    TileMap(3, 5),
    CyclicMap([(_N_ROWS, _WIDTH)]),
    QuotientRemainderMap(_N_ROWS, 7),
    CafeMap(3, _WIDTH, 5, [2, 40]),
)
#: The least number of parameters of all maps.
_LEAST = 3 * _WIDTH + 5


def _batches(sketch: Any) -> st.SearchStrategy[tuple]:
    """Return rows and gradients that float32 adds exactly."""
    rows = hnp.arrays(np.int64, st.integers(0, 8), elements=st.integers(0, _N_ROWS - 1))
    numbers = st.integers(-5, 5).map(float)
    return rows.flatmap(
        lambda r: st.tuples(st.just(r), hnp.arrays(np.float64, (len(r), _WIDTH), elements=numbers))
    )


ENTRIES: dict[str, Entry] = {
    "SharedParameters": Entry(
        SharedParameters,
        st.tuples(st.integers(_LEAST, 200), st.sampled_from(_MAPS), SEEDS).map(
            lambda t: SharedParameters(t[0], t[1], seed=t[2])
        ),
        _batches,
        join_arrays,
        lambda rng, sketch: (rng.integers(0, _N_ROWS, 20_000), rng.integers(-3, 4, (20_000, _WIDTH))),
        [
            ([1.5], [[0.0] * _WIDTH]),
            ([True], [[0.0] * _WIDTH]),
            ([None], [[0.0] * _WIDTH]),
            ([1, 2], [[0.0] * _WIDTH]),
            ([1], [[np.nan] * _WIDTH]),
            ([1], [["a"] * _WIDTH]),
            ([1], []),
            (1, 2.0),
        ],
    ),
}


def _gpu_batch(rng: np.random.Generator, n: int) -> tuple[Any, ...]:
    """Return rows and gradients that float32 adds exactly in any order."""
    return rng.integers(0, _N_ROWS, n), rng.integers(-3, 4, (n, _WIDTH)).astype(np.float32)


def _gpu_entry(map: ParameterMap) -> GpuEntry:
    def bags(sketch: Any, batch: tuple[Any, ...]) -> Any:
        offsets = [0, 4, 4, len(batch[0])]
        return sketch.gather_bags(batch[0], offsets, _WIDTH)

    def product(sketch: Any, batch: tuple[Any, ...]) -> Any:
        return sketch.matmul(batch[1], (_WIDTH, _WIDTH))

    asks = [lambda sketch, batch: sketch.gather(batch[0], _WIDTH), bags]
    # The rows of a product are numbers of rows, which a map that tables have to fit refuses.
    asks += [] if isinstance(map, CyclicMap) else [product]
    return GpuEntry(lambda: SharedParameters(120, map, seed=3), _gpu_batch, tuple(asks))


GPU_ENTRIES: dict[str, GpuEntry] = {
    "SharedParameters" if i == 0 else f"SharedParameters, {type(map).__name__}": _gpu_entry(map)
    for i, map in enumerate(_MAPS)
}


def argument_cases() -> Iterator[Case]:
    def shared(rows, gradients):
        return SharedParameters(500, RobeMap(5)).update(rows, gradients)

    yield Case("SharedParameters.update", shared, {"rows": KEYS, "gradients": ROWS})
    full = Later(lambda: shared(KEYS, ROWS))
    yield Case("SharedParameters.gather", lambda rows: full.gather(rows, 12), {"rows": KEYS}, "rows")
    offsets = np.array([0, 4, 4, 9])

    def bags(rows, offsets, weights):
        return full.gather_bags(rows, offsets, 12, weights)

    def update_bags(rows, offsets, gradients, weights):
        return full.empty_like().update_bags(rows, offsets, gradients, weights)

    weights = np.arange(len(KEYS)).astype(float)
    given = {"rows": KEYS, "offsets": offsets, "weights": weights}
    yield Case("SharedParameters.gather_bags", bags, given)
    given = {"rows": KEYS, "offsets": offsets, "gradients": ROWS[:3], "weights": weights}
    yield Case("SharedParameters.update_bags", update_bags, given)
    yield Case("SharedParameters.matmul", lambda X: full.matmul(X, (12, 7)), {"X": ROWS}, "X")

    def product(X, Y):
        return full.empty_like().update_product(X, Y)

    yield Case("SharedParameters.update_product", product, {"X": ROWS, "Y": ROWS})
    yield Case(
        "SharedParameters.gradient_scaler",
        lambda scales: full.gradient_scaler([(3, 4), (2, 12)], scales),
        {"scales": np.array([2.0, 3.0])},
    )
    yield Case("CafeMap", lambda frequent: CafeMap(N, 4, frequent=frequent).frequent, {"frequent": KEYS})
    small = np.arange(60.0, dtype=np.float32)
    yield Case(
        "SharedParameters.from_weights",
        lambda weights: SharedParameters.from_weights(weights).weights,
        {"weights": small},
    )
    yield Case(
        "SharedParameters.average",
        lambda weights: SharedParameters.average([full.copy(), full.empty_like()], weights),
        {"weights": np.array([3.0, 1.0])},
    )


def stored_examples() -> dict[str, Stored]:
    ones = np.ones((len(SMALL_KEYS), 3))
    pairs = np.column_stack([SMALL_KEYS, SMALL_KEYS[::-1]])
    numbers = np.arange(len(SMALL_KEYS))
    maps = [
        CyclicMap([(len(numbers), 3)]),
        TileMap(2, 2),
        MultiHashMap(),
        QuotientRemainderMap(len(numbers), 2, "concatenation"),
        CafeMap(2, 3, frequent=[0, len(numbers) - 1]),
    ]
    others = {
        f"SharedParameters, {type(map).__name__}": SharedParameters(40, map).scatter_add(numbers, ones)
        for map in maps
    }
    return {
        "SharedParameters": SharedParameters(40).scatter_add(SMALL_KEYS, ones),
        "SharedParameters, PairMap, float64": SharedParameters(40, PairMap(2), dtype="float64").scatter_add(
            pairs, ones
        ),
        "SharedParameters, SemanticMap": SharedParameters(40, SemanticMap(2)).scatter_add(pairs, ones),
        **others,
    }
