"""A sample of cells that depends on no order: those of least key, with their exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend
from ..core.records import Records, find_keys

__all__ = ["SAMPLE", "sampled_counts"]

#: The table of the sampled cells, by rising keys.
SAMPLE = Records(("sample_keys", "sample_repetitions", "sample_cells", "sample_counts"), "sample_counts")


def sampled_counts(
    backend: Backend, sample: Mapping[str, NDArray[Any]], keys: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Return the counts, shape (n,), that a sample has for the cells of `keys`, 0 for other cells."""
    held, *_, held_counts = SAMPLE.used(sample)
    counts = backend.xp.zeros(keys.size)
    found = find_keys(backend, held, keys)
    known = found >= 0
    counts[known] = held_counts[found[known]]
    return counts
