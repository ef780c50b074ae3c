"""Capacities of the levels of a KLLSketch, and the errors that follow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.checks import check_real

__all__ = ["LEAST_CAPACITY", "N_LEVELS", "capacities", "error_of", "largest_error"]

#: Values of a level of depth i below the highest: k (2/3)**i, and at least this number.
LEAST_CAPACITY = 2
#: The values of 62 levels stand for more than 2**63 values.
N_LEVELS = 62


def capacities(k: int) -> NDArray[np.int64]:
    """Return the number of values at which a level is full, by its depth below the highest level."""
    return np.array([max(LEAST_CAPACITY, -(-k * 2**i // 3**i)) for i in range(N_LEVELS)], np.int64)


def error_of(squares: float, confidence: float) -> float:
    """Return the error that a sum of independent errors exceeds seldom, given the sum of their squares."""
    confidence = check_real("confidence", confidence, 0.0, 1.0)
    return math.sqrt(2.0 * squares * math.log(2.0 / (1.0 - confidence)))


def largest_error(k: int, confidence: float) -> float:
    """Return the largest possible `KLLSketch.rank_error`, after any merges, which may end every pair.

    Values of a total weight of at most n arrive on each level, and a halving of the level of depth i takes
    at least e(i) of them, its capacity or one less. So there are at most n / (2**h e(i)) halvings. The
    second level from above was halved when it was the highest, so n is at least e(0) 2**(H - 2), for H
    levels.
    """
    even = capacities(k) // 2 * 2
    depths = np.arange(1, N_LEVELS)
    return error_of(float(2.0 / even[0] * (0.5**depths / even[1:]).sum()), confidence)
