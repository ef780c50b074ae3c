"""A sample of cells that depends on no order: those of least key, with their exact counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import Backend
from ..core.records import Records, find_keys
from ..core.state import StateSpec

__all__ = ["SAMPLE", "estimate_n_cells", "sample_layout", "sampled_counts"]

#: The table of the sampled cells, by rising keys.
SAMPLE = Records(("sample_keys", "sample_repetitions", "sample_cells", "sample_counts"), "sample_counts")


def sample_layout(size: int, n_features: int) -> dict[str, StateSpec]:
    """Return the arrays of a sample of `size` cells."""
    return {
        "sample_keys": StateSpec((size,), "uint64", "cell sample"),
        "sample_repetitions": StateSpec((size,), "int32", "cell sample"),
        "sample_cells": StateSpec((size, n_features), "int32", "cell sample"),
        "sample_counts": StateSpec((size,), "int64", "cell sample"),
    }


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


def estimate_n_cells(sample: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of different cells that a sample was taken of, which is exact until it is full.

    Then it is estimated from the largest of the least keys, which are uniform (Beyer and others 2007).
    """
    held, size = SAMPLE.n_used(sample), len(sample["sample_keys"])
    if held < size:
        return held
    return math.ceil(max(1, held - 1) * 2.0**64 / (float(sample["sample_keys"][-1]) + 1.0))
