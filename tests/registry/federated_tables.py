"""Tables that devices of different memory train together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import COUNTS, ROWS, Case
from mergesketch.distributed import FederatedTables
from mergesketch.sketches.core.stored import Stored


def argument_cases() -> Iterator[Case]:
    weights = np.linspace(-1.0, 1.0, 8)
    yield Case(
        "distributed.FederatedTables.from_weights",
        lambda weights: FederatedTables.from_weights(weights).fold(4),
        {"weights": weights},
    )

    def one_round(tables, n_rows):
        return FederatedTables(2 * ROWS.shape[1], dtype="float64").update(tables, n_rows).weights

    yield Case("distributed.FederatedTables.update", one_round, {"tables": ROWS, "n_rows": COUNTS})


def stored_examples() -> dict[str, Stored]:
    trained = FederatedTables.from_weights(np.linspace(-1.0, 1.0, 24))
    trained.update([trained.fold(6) + 1.0], [3])
    return {"FederatedTables": trained, "FederatedTables, no round": FederatedTables(8)}
