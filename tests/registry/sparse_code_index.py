"""Items with random sparse codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import KEYS, ROWS, Case
from later import Later
from mergesketch import SparseCodeIndex
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS

_LABELS = np.eye(len(ROWS))


def index() -> SparseCodeIndex:
    return SparseCodeIndex(ROWS.shape[1], 3, 4, n_hidden=5)


def argument_cases() -> Iterator[Case]:
    yield Case("SparseCodeIndex.update", lambda ids: index().update(ids), {"ids": KEYS})
    yield Case("SparseCodeIndex.codes", index().codes, {"ids": KEYS}, "ids")
    yield Case("SparseCodeIndex.remove", lambda ids: index().update(KEYS).remove(ids), {"ids": KEYS[:5]})

    def trained(X: Any, Y: Any) -> Any:
        return index().fit(X, Y, n_epochs=2)

    def trained_further(X: Any, Y: Any) -> Any:
        return index().partial_fit(X, Y)

    given = {"X": ROWS, "Y": _LABELS}
    yield Case("SparseCodeIndex.fit", trained, given, None, ("X", "Y"))
    yield Case("SparseCodeIndex.partial_fit", trained_further, given, None, ("X", "Y"))
    full = Later(lambda: index().fit(ROWS, _LABELS))
    other = Later(lambda: index().fit(ROWS, _LABELS, n_epochs=2))

    def mean(weights: Any) -> Any:
        return SparseCodeIndex.average([full.copy(), other.copy()], weights)

    yield Case("SparseCodeIndex.average", mean, {"weights": np.array([1.0, 3.0])})
    for name in ("query", "candidates"):
        rows = "Q" if name == "query" else None
        yield Case(f"SparseCodeIndex.{name}", getattr(full, name), {"Q": ROWS}, rows, ("Q",))


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    empty = SparseCodeIndex(d, 2, 3, n_hidden=4, seed=1)
    return {
        "SparseCodeIndex": empty.copy().fit(SMALL_ROWS, np.eye(n, 7) + np.eye(n, 7, 3), n_epochs=1),
        "SparseCodeIndex, untrained": empty.copy().update([3, 5]),
        "SparseCodeIndex, empty": empty,
    }
