"""Decoders of group testing: the positive samples by the outcomes of pools, and unexplained outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.inputs.number_columns import read_numbers
from ...lsh.support.backend import refuse_gpu
from ..kernels.bloom_pooling import propagate_beliefs

__all__ = [
    "INCONCLUSIVE",
    "believe",
    "candidates_of",
    "cover",
    "definite",
    "errors_explain",
    "read_outcomes",
    "read_pools",
    "unexplained_pools",
    "with_pools",
]

Flags = NDArray[np.bool_]

#: The outcome of a test that says nothing.
INCONCLUSIVE = 2
#: Largest absolute value of a message: e**50 is near certainty, and sums of messages stay finite.
_BOUND = 50.0
_DAMPING = 0.5
_TOLERANCE = 1e-6
_MAX_ITERATIONS = 500
#: The probability below which false positive tests do not explain a number of positive pools.
_RARE = 1e-3


# -- what callers pass ----------------------------------------------------------------------------


def read_outcomes(name: str, outcomes: Any, n: int) -> NDArray[np.int8]:
    """Return n outcomes as 0, 1 or, where they are NaN or the nulls of a column, `INCONCLUSIVE`."""
    refuse_gpu("BloomPooling", outcomes)
    column = read_numbers(outcomes)
    array = check_array(name, outcomes if column is None else column.values)
    expected = f"{name} must be {n} booleans, or NaN for inconclusive tests"
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{expected}, got dtype {array.dtype}")
    unknown = array != array
    is_positive = array == 1
    if array.shape != (n,) or not (unknown | is_positive | (array == 0)).all():
        raise ValueError(f"{expected}, got shape {array.shape} of {array.dtype}")
    return np.where(unknown, np.int8(INCONCLUSIVE), is_positive.astype(np.int8))


def read_pools(name: str, pools: Any, n_samples: int) -> list[NDArray[np.int64]]:
    """Return the samples of each pool in ascending order."""
    refuse_gpu("BloomPooling", pools)
    if not isinstance(pools, Iterable) or isinstance(pools, (str, bytes)) or scipy.sparse.issparse(pools):
        raise TypeError(f"{name} must be a list of arrays of samples, got {type(pools).__name__}")
    return [_read_pool(f"{name}[{i}]", pool, n_samples) for i, pool in enumerate(pools)]


def with_pools(design: scipy.sparse.csr_array, pools: list[NDArray[np.int64]]) -> scipy.sparse.csr_array:
    """Return a design with further pools."""
    if not pools:
        return design
    samples, ends = np.concatenate(pools), np.cumsum([pool.size for pool in pools])
    rows = (np.ones(samples.size, np.bool_), samples, np.concatenate([[0], ends]))
    further = scipy.sparse.csr_array(rows, shape=(len(pools), design.shape[1]))
    return scipy.sparse.vstack([design, further], format="csr")


def _read_pool(name: str, pool: Any, n_samples: int) -> NDArray[np.int64]:
    refuse_gpu("BloomPooling", pool)
    refuse_flags(name, pool)
    array = check_array(name, pool)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a one-dimensional array of samples, got shape {array.shape}")
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_samples:
        raise ValueError(f"{name} must lie in [0, {n_samples}), got {low if low < 0 else high}")
    samples = np.sort(array.astype(np.int64))
    if (samples[1:] == samples[:-1]).any():
        raise ValueError(
            f"{name} must have every sample once, got {samples[:-1][np.diff(samples) == 0][0]} again"
        )
    return samples


# -- decoders -------------------------------------------------------------------------------------


def candidates_of(design: scipy.sparse.csr_array, read: Flags) -> Flags:
    """Return which samples are in no negative pool."""
    # The sum of booleans is their "or".
    found: Flags = ~(design.T @ ~read)
    return found


def definite(design: scipy.sparse.csr_array, read: Flags, candidates: Flags) -> Flags:
    """Return which candidates are the only candidate in some positive pool."""
    alone = read & ((design.astype(np.int64) @ candidates.astype(np.int64)) == 1)
    found: Flags = candidates & (design.T.astype(np.int64) @ alone.astype(np.int64) > 0)
    return found


def cover(design: scipy.sparse.csr_array, read: Flags, candidates: Flags) -> Flags:
    """Return the definite samples, and repeatedly the candidate that explains the most further pools."""
    matrix = design.astype(np.int64)
    found = definite(design, read, candidates)
    while True:
        unexplained = read & ((matrix @ found.astype(np.int64)) == 0)
        gain = np.where(candidates & ~found, matrix.T @ unexplained.astype(np.int64), 0)
        best = int(np.argmax(gain))
        if gain[best] == 0:
            return found
        found[best] = True


def believe(
    design: scipy.sparse.csr_array,
    read: Flags,
    prevalence: NDArray[np.float64],
    false_positive_rate: float,
    false_negative_rate: float,
) -> tuple[NDArray[np.float64], int]:
    """Return each sample's posterior by belief propagation, and the rounds, negative without convergence."""
    sensitivity, specificity = 1.0 - false_negative_rate, 1.0 - false_positive_rate
    informed = math.log(sensitivity + specificity - 1.0)
    missed = math.log(1.0 - sensitivity) if sensitivity < 1.0 else -math.inf
    prior = np.log1p(-prevalence) - np.log(prevalence)
    beta, total = np.zeros(design.indices.size), np.zeros(prevalence.size)
    rounds = propagate_beliefs(
        design.indptr.astype(np.int64),
        design.indices.astype(np.int64),
        read,
        prior,
        informed - math.log(sensitivity),
        informed - missed,
        _BOUND,
        _DAMPING,
        _TOLERANCE,
        _MAX_ITERATIONS,
        beta,
        total,
    )
    return 1.0 / (1.0 + np.exp(np.clip(total + prior, -700.0, 700.0))), int(rounds)


# -- what is left unexplained ---------------------------------------------------------------------


def unexplained_pools(design: scipy.sparse.csr_array, read: Flags, found: Flags) -> NDArray[np.int64]:
    """Return the positive pools without a found sample."""
    return np.flatnonzero(read & ~(design @ found))


def errors_explain(n_unexplained: int, n_without: int, false_positive_rate: float) -> bool:
    """Return whether false positive tests may explain so many positive outcomes of pools without a sample.

    The number of false positives among `n_without` pools is binomial.
    """
    from scipy.special import bdtrc

    if n_unexplained == 0 or false_positive_rate == 0.0:
        return n_unexplained == 0
    return bool(bdtrc(n_unexplained - 1, n_without, false_positive_rate) >= _RARE)
