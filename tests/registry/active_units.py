"""Layers of which only some units are computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, KEYS, ROWS, Case, D
from later import Later
from mergesketch import ActiveUnits, SecondMoments, sparse_layer
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def argument_cases() -> Iterator[Case]:
    def learned(W: Any, bias: Any) -> ActiveUnits:
        return ActiveUnits(W, bias, SecondMoments(D).update(ROWS), rank=4)

    def scores(W: Any, bias: Any) -> Any:
        return learned(W, bias).scores(ROWS)

    yield Case("ActiveUnits", scores, {"W": ROWS, "bias": COUNTS}, tolerance=1e-4)
    made = Later(lambda: learned(ROWS, COUNTS))
    yield Case("ActiveUnits.scores", made.scores, {"X": ROWS}, "X", ("X",), tolerance=1e-4)
    yield Case("ActiveUnits.select", lambda X: made.select(X, 3), {"X": ROWS}, "X", ("X",))
    yield Case(
        "sparse_layer",
        lambda X, W, V, units, up, bias, output_bias: sparse_layer(
            X, W, V, units, up=up, bias=bias, output_bias=output_bias
        ),
        {
            "X": ROWS,
            "W": ROWS,
            "V": ROWS[:, :5],
            "up": ROWS,
            "units": (KEYS[:, None] + np.arange(3)) % len(ROWS),
            "bias": COUNTS,
            "output_bias": COUNTS[:5],
        },
        None,
        ("X", "W", "V", "up"),
    )


def stored_examples() -> dict[str, Stored]:
    moments = SecondMoments(4).update(SMALL_ROWS)
    return {
        "ActiveUnits": ActiveUnits(SMALL_ROWS[:6], np.arange(6.0), moments, rank=2),
        "ActiveUnits, codes": ActiveUnits(SMALL_ROWS[:6], method="codes", bits=2, activation="gelu"),
    }
