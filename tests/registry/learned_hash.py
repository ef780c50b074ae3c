"""Trained hyperplanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import ROWS, Case
from later import Later
from mergesketch import LearnedHash

_NEURONS = ROWS[::-1].copy()
_LABELS = np.eye(len(ROWS))


def argument_cases() -> Iterator[Case]:
    made = LearnedHash(3, 2, n_rounds=1)

    def trained(neurons: Any, X: Any, Y: Any) -> Any:
        # Directions alone count, so that all dtypes give the same codes.
        return LearnedHash(3, 2, n_rounds=1).fit(neurons, X, Y).family.hash(ROWS)

    given = {"neurons": _NEURONS, "X": ROWS, "Y": _LABELS}
    yield Case("LearnedHash.fit", trained, given, None, ("neurons", "X", "Y"))
    full = Later(lambda: made.fit(_NEURONS, ROWS, _LABELS))
    yield Case("LearnedHash.loads", full.loads, {"neurons": _NEURONS}, None, ("neurons",))
