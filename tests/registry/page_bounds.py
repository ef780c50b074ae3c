"""Page bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from argument_cases import ROWS, Case
from later import Later
from mergesketch import PageBounds
from mergesketch.sketches.core.stored import Stored
from stored_data import SMALL_ROWS


def argument_cases() -> Iterator[Case]:
    width = ROWS.shape[1]
    yield Case("PageBounds.update", lambda K: PageBounds(width, 3).update(K), {"K": ROWS}, None, ("K",))
    full = Later(lambda: PageBounds(width, 3).update(ROWS))
    yield Case("PageBounds.page_scores", full.page_scores, {"Q": ROWS}, "Q", ("Q",))
    yield Case("PageBounds.scores", full.scores, {"Q": ROWS}, "Q", ("Q",))
    yield Case("PageBounds.tokens", full.tokens, {"pages": np.array([1, 0, 2])})


def stored_examples() -> dict[str, Stored]:
    d = SMALL_ROWS.shape[1]
    return {"PageBounds": PageBounds(d, 3).update(SMALL_ROWS), "PageBounds, empty": PageBounds(d)}
