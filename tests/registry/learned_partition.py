"""Learned partitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case
from later import Later
from mergesketch import LearnedPartition
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS

#: Right items of rows: columns that every row has some of.
RIGHT = (np.arange(len(ROWS))[:, None] % 5 == np.arange(5)).astype(np.float64)


#: Right items of rows that are inserted: every batch needs a row for each item.
ALL_RIGHT = np.ones((len(ROWS), 3))


def small(width: int, n_buckets: int = 4) -> LearnedPartition:
    return LearnedPartition(
        width, n_buckets, n_repetitions=2, n_choices=2, n_hidden=3, n_rounds=1, n_epochs=1, seed=1
    )


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]
    # Ids must be distinct, and arguments of these cases may repeat.
    yield Case("LearnedPartition.fit", lambda X, Y: small(width).fit(X, Y), {"X": ROWS, "Y": RIGHT})
    yield Case("LearnedPartition.fit_neighbors", lambda X: small(width).fit_neighbors(X), {"X": ROWS})
    fitted = Later(lambda: small(width).fit_neighbors(ROWS, KEYS))

    def update(X):
        return fitted.empty_like().update(X)

    def update_right(X, Y):
        return fitted.empty_like().update(X, Y)

    yield Case("LearnedPartition.update", update, {"X": ROWS}, None, ("X",))
    yield Case("LearnedPartition.update", update_right, {"X": ROWS, "Y": ALL_RIGHT}, None, ("X", "Y"))
    yield Case("LearnedPartition.remove", lambda ids: fitted.copy().remove(ids), {"ids": KEYS[:5]})
    for name in ("bucket_probabilities", "query"):
        yield Case(f"LearnedPartition.{name}", getattr(fitted, name), {"Q": ROWS}, "Q", ("Q",))
    # Candidates lie one after the other, and are not an answer for each row.
    yield Case("LearnedPartition.candidates", fitted.candidates, {"Q": ROWS}, None, ("Q",))
    numbered = Later(lambda: small(width).fit_neighbors(ROWS))
    yield Case(
        "LearnedPartition.search",
        lambda Q, rows: numbered.search(Q, rows, 3),
        {"Q": ROWS, "rows": ROWS},
        "Q",
        ("Q",),
    )


def stored_examples() -> dict[str, Stored]:
    n, d = SMALL_ROWS.shape
    fitted = small(d).fit_neighbors(SMALL_ROWS)
    return {
        "LearnedPartition": fitted,
        "LearnedPartition, with ids": small(d).fit_neighbors(SMALL_ROWS, np.arange(n) * 2),
        "LearnedPartition, without items": fitted.empty_like(),
        "LearnedPartition, not fitted": small(d),
    }
