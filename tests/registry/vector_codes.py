"""Codes of vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from later import Later
from mergesketch import VectorCodes
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]
    # Ids must be distinct, and arguments of these cases may repeat.
    yield Case("VectorCodes.update", lambda X: VectorCodes(width, 2).update(X), {"X": ROWS}, None, ("X",))

    def replace(ids, X):
        return VectorCodes(width, 2).update(ROWS, KEYS).replace(ids, X)

    def remove(ids):
        return VectorCodes(width, 2).update(ROWS, KEYS).remove(ids)

    yield Case("VectorCodes.remove", remove, {"ids": KEYS[:5]})
    yield Case("VectorCodes.replace", replace, {"ids": KEYS, "X": ROWS[::-1].copy()}, None, ("X",))
    yield Case("VectorCodes", lambda center: VectorCodes(width, center=center), {"center": ROWS[0]})
    full = Later(lambda: VectorCodes(width, 2).update(ROWS))
    yield Case(
        "VectorCodes.scores",
        lambda Q, rows: full.scores(Q, rows),
        {"Q": ROWS, "rows": np.arange(5)},
        "Q",
        ("Q",),
    )
    yield Case("VectorCodes.search", lambda Q: full.search(Q, 3), {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    return {
        "VectorCodes": VectorCodes(d, seed=1).update(SMALL_ROWS),
        "VectorCodes, with ids": VectorCodes(d, 3, center=np.ones(d)).update(SMALL_ROWS, np.arange(n)),
        "VectorCodes, empty": VectorCodes(d),
    }
