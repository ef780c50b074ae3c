"""Cases of rows that have places of their own among shared parameters."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gpu_twins import Case, case, on_device, to_read
from mergesketch import CafeMap


@case("own_starts")
def own_places(rng: np.random.Generator) -> Iterator[Case]:
    rows = to_read(rng.integers(0, 60, 50).astype(np.uint64))
    for frequent in ([], [5], range(0, 60, 2), range(60)):
        map = CafeMap(60, 8, frequent=frequent)
        starts = on_device(rng.integers(0, 9, (50, 1, 3)))
        kept, first = to_read(map._kept), to_read(map._first)
        yield rows, kept, first, map._shift, 1000, 8, 3, 3, 50, starts
