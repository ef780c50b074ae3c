"""Private classification and regression."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, DISTANCES, ROWS, Case, D
from batches import SEEDS, join_arrays, release_batches
from entries import Entry
from hypothesis import strategies as st
from later import Later
from mergesketch import ReleasedClassifier, ReleasedRegressor, private_classifier, private_regressor
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS
from toy_family import ToyFamily

ENTRIES: dict[str, Entry] = {
    "ReleasedClassifier": Entry(
        ReleasedClassifier,
        st.tuples(st.integers(1, 5), st.integers(2, 4), SEEDS).map(
            lambda t: ReleasedClassifier(
                ToyFamily(t[0], t[1], seed=t[2]), low=-1.0, high=4.0, classes=range(t[1])
            )
        ),
        release_batches,
        join_arrays,
        lambda rng, sketch: (rng.integers(-9, 9, (5, *sketch._layout()["counts"].shape)), np.arange(1, 6)),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
    "ReleasedRegressor": Entry(
        ReleasedRegressor,
        st.tuples(st.integers(1, 5), st.integers(1, 4), SEEDS).map(
            lambda t: ReleasedRegressor(
                ToyFamily(t[0], t[1], seed=t[2]), low=-1.0, high=4.0, target_low=-1.0, target_high=t[1]
            )
        ),
        release_batches,
        join_arrays,
        lambda rng, sketch: (rng.integers(-9, 9, (5, *sketch._layout()["counts"].shape)), np.arange(1, 6)),
        [([[0]],), ([[9.0]],)],
        linear=False,
        counters=(),
    ),
}


def argument_cases() -> Iterator[Case]:
    # Epsilon is so large that there is no noise.
    low, high = np.full(D, -8.0), np.full(D, 8.0)
    given = {"X": ROWS, "low": low, "high": high}

    def classifier(X: Any, y: Any, low: Any, high: Any) -> Any:
        model = private_classifier(X, y, epsilon=1e6, classes=[0, 1, 2], low=low, high=high, family=DISTANCES)
        return model.decision_function(ROWS), model.predict(ROWS)

    def regressor(X: Any, y: Any, low: Any, high: Any) -> Any:
        arguments = {"epsilon": 1e6, "low": low, "high": high, "target_low": 0.0, "target_high": 9.0}
        return private_regressor(X, y, family=DISTANCES, **arguments).predict(ROWS)

    yield Case("private_classifier", classifier, {**given, "y": COUNTS % 3})
    yield Case("private_regressor", regressor, {**given, "y": COUNTS / 4})
    arguments: Any = {"low": low, "high": high, "family": DISTANCES}
    classes = Later(lambda: private_classifier(ROWS, COUNTS % 3, epsilon=1e6, classes=[0, 1, 2], **arguments))
    for method in ("decision_function", "predict", "predict_proba"):
        yield Case(f"ReleasedClassifier.{method}", getattr(classes, method), {"X": ROWS}, "X")
    targets: Any = {"target_low": 0.0, "target_high": 9.0}
    line = Later(lambda: private_regressor(ROWS, COUNTS / 4, epsilon=1e6, **targets, **arguments))
    yield Case("ReleasedRegressor.predict", line.predict, {"X": ROWS}, "X")


def stored_examples() -> dict[str, Stored]:
    y, low, high = SMALL_ROWS[:, 0], -3.0, 3.0
    classes = np.arange(30) % 2
    return {
        "ReleasedClassifier": private_classifier(
            SMALL_ROWS, classes, epsilon=1.0, classes=[0, 1], low=low, high=high
        ),
        "ReleasedRegressor": private_regressor(
            SMALL_ROWS, y, epsilon=1.0, low=low, high=high, target_low=low, target_high=high
        ),
    }
