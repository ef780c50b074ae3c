"""Graphs of near neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from later import Later
from mergesketch import NeighbourGraph
from mergesketch.lsh import PStable, SignedRandomProjection
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS, SMALL_SIGNS, SMALL_STEPS


def graph(width: int) -> NeighbourGraph:
    return NeighbourGraph(PStable(width, 4, width=9.0, n_buckets=16, seed=1), 4)


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]
    # Ids must be distinct, and arguments of these cases may repeat.
    yield Case("NeighbourGraph.update", lambda X: graph(width).update(X), {"X": ROWS}, None, ("X",))

    def remove(ids):
        return graph(width).update(ROWS, KEYS).remove(ids)

    yield Case("NeighbourGraph.remove", remove, {"ids": KEYS[:5]})
    full = Later(lambda: graph(width).update(ROWS))
    yield Case("NeighbourGraph.search", lambda Q: full.search(Q, 3), {"Q": ROWS}, "Q", ("Q",))
    yield Case("NeighbourGraph.visits", lambda Q: full.visits(Q, ef=3), {"Q": ROWS}, "Q", ("Q",))


def stored_examples() -> dict[str, Stored]:
    n = len(SMALL_ROWS)
    return {
        "NeighbourGraph": NeighbourGraph(SMALL_SIGNS, 4).update(SMALL_ROWS),
        "NeighbourGraph, with ids and long links": NeighbourGraph(
            SMALL_STEPS, 3, n_links=5, n_long_links=2, entry="fixed"
        ).update(SMALL_ROWS, np.arange(n)),
        "NeighbourGraph, empty": NeighbourGraph(SignedRandomProjection(4, 3, power=2, seed=1)),
    }
