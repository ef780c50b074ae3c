"""Suggested parameters of an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from argument_cases import COUNTS, ROWS, Case, D
from mergesketch import suggest


def argument_cases() -> Iterator[Case]:
    many = np.repeat(ROWS, 12, axis=0) + np.random.default_rng(2).integers(0, 9, (108, D))
    near: Any = {"metric": "angle", "n_rows": 500, "near": 0.1}
    yield Case("suggest", lambda sample: suggest(sample=sample, **near), {"sample": many}, None, ("sample",))
    yield Case("suggest: far", lambda far: suggest(far=far, **near), {"far": COUNTS / 8 + 0.5})
