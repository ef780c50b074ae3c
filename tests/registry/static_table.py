"""Static tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import KEYS, ROWS, Case, built_and_looked_up
from later import Later
from mergesketch import StaticTable
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_KEYS


def argument_cases() -> Iterator[Case]:
    for kind, rows in (("floats", ROWS[:, :3] / 4), ("integers", ROWS[:, :3].astype(np.int64))):
        yield Case(f"StaticTable: {kind}", built_and_looked_up(StaticTable), {"keys": KEYS, "rows": rows})

        def built(rows=rows):
            return StaticTable(KEYS[:5], rows[:5], key_check_bits=16, progress=False)

        table = Later(built)
        yield Case(f"StaticTable.lookup: {kind}", table.lookup, {"keys": KEYS, "missing": rows[7]})
        yield Case(f"StaticTable.contains: {kind}", table.contains, {"keys": KEYS}, "keys")


def stored_examples() -> dict[str, Stored]:
    rows = np.column_stack([SMALL_KEYS % 3, SMALL_KEYS % 5])
    return {"StaticTable": StaticTable(SMALL_KEYS, rows)}
