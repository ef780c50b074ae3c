"""Weights of linear layers in few bits."""

from __future__ import annotations

from collections.abc import Iterator

from argument_cases import ROWS, Case, D
from later import Later
from mergesketch import LossAwareGrid, SecondMoments
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def argument_cases() -> Iterator[Case]:
    def quantized(W):
        return LossAwareGrid(W, SecondMoments(D).update(ROWS), 3)

    yield Case("LossAwareGrid", lambda W: quantized(W).decode(), {"W": ROWS})
    layer = Later(lambda: quantized(ROWS[:5]))
    yield Case("LossAwareGrid.matmul", layer.matmul, {"X": ROWS}, "X", ("X",), any_dtype=False)


def stored_examples() -> dict[str, Stored]:
    moments = SecondMoments(4).update(SMALL_ROWS)
    return {
        "LossAwareGrid": LossAwareGrid(SMALL_ROWS[:6], moments, 3),
        "LossAwareGrid, affine": LossAwareGrid(SMALL_ROWS[:6], moments, 2, grid="affine"),
    }
