"""Soft collisions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from later import Later
from mergesketch import SoftCollisions
from mergesketch.lsh import SignedRandomProjection
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def collisions(width: int, power: int = 4, tau: float = 0.3) -> SoftCollisions:
    return SoftCollisions(SignedRandomProjection(width, 10, power=power, seed=1), tau)


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]
    norms = np.sqrt(np.arange(len(ROWS)))
    # Ids must be distinct, and arguments of these cases may repeat.
    yield Case(
        "SoftCollisions.update",
        lambda X, norms: collisions(width).update(X, norms=norms),
        {"X": ROWS, "norms": norms},
        None,
        ("X",),
    )

    def remove(ids):
        return collisions(width).update(ROWS, KEYS).remove(ids)

    yield Case("SoftCollisions.remove", remove, {"ids": KEYS[:5]})
    full = Later(lambda: collisions(width).update(ROWS))
    yield Case(
        "SoftCollisions.scores",
        lambda Q, rows: full.scores(Q, rows),
        {"Q": ROWS, "rows": np.arange(5)},
        "Q",
        ("Q",),
    )
    yield Case("SoftCollisions.search", lambda Q: full.search(Q, 3), {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    return {
        "SoftCollisions": collisions(d).update(SMALL_ROWS),
        "SoftCollisions, with ids and norms": collisions(d, 9, 0.1).update(
            SMALL_ROWS, np.arange(n), norms=np.arange(n)
        ),
        "SoftCollisions, empty": collisions(d),
    }
