"""Hash functions of labels: the bucket of each label in each repetition, and how many of both are needed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.keys import hash_keys
from ...lsh.support.checks import renamed
from ...lsh.support.random import random_uint64

__all__ = [
    "FEWEST_BUCKETS",
    "MOST_BUCKETS",
    "MOST_REPETITIONS",
    "buckets_of_labels",
    "confused_labels",
    "size_for",
]

#: Buckets are kept as 16-bit integers, and a classifier of more of them would not be small.
MOST_BUCKETS = 1 << 16
MOST_REPETITIONS = 1 << 10
#: The fewest buckets that are chosen: with fewer, labels share a bucket in most repetitions.
FEWEST_BUCKETS = 16

_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
#: Labels that are hashed at a time.
_BLOCK = 1 << 16


def buckets_of_labels(
    labels: NDArray[Any], n_repetitions: int, n_buckets: int, seed: int
) -> NDArray[np.uint16]:
    """Return the bucket of each label in each repetition.

    Parameters
    ----------
    labels : ndarray of shape (n_labels,)
        Integers or strings, or floats that are integers.
    n_repetitions, n_buckets, seed : int

    Returns
    -------
    ndarray of shape (n_repetitions, n_labels), uint16

    Notes
    -----
    A label's 64-bit key is hashed with random words (a, b, c) of the repetition,

        h = (((a + low) (b + high) + c) mod 2**64) >> 32,

    pair-multiply-shift, and its bucket is ``h * n_buckets >> 32``. Two different keys have independent
    buckets (Thorup 2015, "High speed hashing for integers and strings", section 3.5), each bucket with the
    probability 1 / n_buckets up to 2**-32. The bucket depends on the label, and not on which others exist.
    """
    hashes = _label_keys(labels, seed)
    words = random_uint64(seed, "LabelHash buckets", 3 * n_repetitions).reshape(-1, 3)
    buckets = np.empty((n_repetitions, len(hashes)), np.uint16)
    for start in range(0, len(hashes), _BLOCK):
        part = hashes[start : start + _BLOCK]
        low, high = part & _LOW, part >> _SHIFT
        for row, (a, b, c) in zip(buckets, words, strict=True):
            hashed = ((a + low) * (b + high) + c) >> _SHIFT
            row[start : start + _BLOCK] = (hashed * np.uint64(n_buckets)) >> _SHIFT
    return buckets


def _label_keys(labels: NDArray[Any], seed: int) -> NDArray[np.uint64]:
    """Return 64-bit hashes of labels; 1, 1.0 and True are one label."""
    keys: Any = labels
    if labels.dtype.kind == "O":
        keys = [key.item() if isinstance(key, np.generic) else key for key in labels]
        keys = [int(key) if isinstance(key, (bool, float)) and key == int(key) else key for key in keys]
    elif labels.dtype.kind in "bf":
        keys = labels.astype(np.int64)
        if not np.array_equal(keys, labels):
            raise ValueError("y must hold integers or strings as labels, got floats with fractions")
    with renamed("keys", "y"):
        return hash_keys(keys, seed)


def confused_labels(buckets: NDArray[np.uint16]) -> int:
    """Return how many labels share their buckets of all repetitions with another label."""
    if buckets.shape[1] < 2:
        return 0
    rows = np.ascontiguousarray(buckets.T).view(np.dtype((np.void, 2 * len(buckets)))).ravel()
    counts = np.unique(rows, return_counts=True)[1]
    return int(counts[counts > 1].sum())


def size_for(
    n_labels: int,
    confidence: float,
    standard_error: float,
    n_repetitions: int | None = None,
    n_buckets: int | None = None,
) -> tuple[int, int]:
    """Return the numbers of repetitions and buckets with the least product that suffice.

    Parameters
    ----------
    n_labels : int
    confidence : float
        The probability that no two labels share all buckets, in (0, 1).
    standard_error : float
        The largest standard error of a probability.
    n_repetitions, n_buckets : int, optional
        Numbers that are given already.

    Returns
    -------
    n_repetitions, n_buckets : int

    Raises
    ------
    ValueError
        If more repetitions or buckets would be needed than are possible.

    Notes
    -----
    Two labels share a bucket with probability 1/B in each of R repetitions, and there are L (L - 1) / 2
    pairs. So ``B**R >= L (L - 1) / (2 delta)`` suffices for ``confidence = 1 - delta``; Medini et al. (2019)
    have R = 2 log(L / sqrt(delta)) / log B, which is larger by log 2 / log B. The standard error is at
    most ``1 / sqrt(R (B - 1))``.
    """
    pairs = max(1.0, 0.5 * n_labels * (n_labels - 1) / (1.0 - confidence))
    best: tuple[int, int] | None = None
    tried = range(1, MOST_REPETITIONS + 1) if n_repetitions is None else (n_repetitions,)
    for repetitions in tried:
        differing = math.ceil(pairs ** (1.0 / repetitions))
        precise = 1 + math.ceil(1.0 / (repetitions * standard_error**2))
        needed = max(differing, precise)
        buckets = max(FEWEST_BUCKETS, needed) if n_buckets is None else n_buckets
        suffices = needed <= buckets <= MOST_BUCKETS
        if suffices and (best is None or repetitions * buckets < best[0] * best[1]):
            best = repetitions, buckets
    if best is None:
        raise ValueError(
            f"standard_error must be larger: {n_repetitions or f'up to {MOST_REPETITIONS}'} repetitions of "
            f"{n_buckets or f'up to {MOST_BUCKETS}'} buckets do not suffice for {standard_error:g}"
        )
    return best
