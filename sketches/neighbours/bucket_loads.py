"""Contents and losses of buckets whose numbers of rows are Poisson, with log-normal means."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["LARGEST_CAPACITY", "NODES", "WEIGHTS", "expected_held", "expected_lost", "least_capacity"]

LARGEST_CAPACITY = 1 << 20
#: Nodes and weights for means over a normal variable.
NODES, WEIGHTS = (array.astype(np.float64) for array in np.polynomial.hermite_e.hermegauss(16))
WEIGHTS /= WEIGHTS.sum()


def expected_lost(load: NDArray[np.float64], capacity: NDArray[Any]) -> NDArray[np.float64]:
    """Return E max(0, M + 1 - B) / (M + 1) for a Poisson M of mean `load`."""
    load = np.maximum(load, 1e-12)
    return np.asarray(
        scipy.special.gammainc(capacity, load) - capacity / load * scipy.special.gammainc(capacity + 1, load)
    )


def expected_held(load: NDArray[np.float64], capacity: NDArray[Any]) -> NDArray[np.float64]:
    """Return E min(M, B) for a Poisson M of mean `load`."""
    load = np.maximum(load, 1e-12)
    few = 1.0 - scipy.special.gammainc(capacity - 1, load)
    return np.asarray(load * few + capacity * scipy.special.gammainc(capacity, load))


def least_capacity(load: NDArray[np.float64], overflow: float) -> NDArray[np.int64]:
    """Return the least capacity that loses at most a share of ids, as a mean over nodes on the last axis."""
    low = np.zeros(load.shape[:-1], dtype=np.int64)  # this capacity loses more
    high = np.full(load.shape[:-1], 2 * LARGEST_CAPACITY, dtype=np.int64)  # loses less, or is too large
    while bool((high - low > 1).any()):
        middle = np.maximum((low + high) // 2, 1)
        enough = expected_lost(load, middle[..., None]) @ WEIGHTS <= overflow
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
