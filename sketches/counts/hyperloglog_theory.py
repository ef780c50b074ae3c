"""Distinct counts from registers: the likelihood, its maximum, and the bias and error of the estimate.

The numbers of hashes of each register and value are taken as independent Poisson numbers of mean ``x 2**-k``,
where x is the number of keys over the number of registers. All sums are then over the 256 values that a
register can have. The likelihood is that of Ertl (2024), section 3.2.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ERROR",
    "JOINED",
    "Moments",
    "is_full",
    "is_register",
    "keys_a_register",
    "moments",
    "probabilities",
    "relative_error",
]

Floats = NDArray[np.float64]

_VALUES = np.arange(256)
_LARGEST = _VALUES >> 2

#: The standard error of the estimate of many keys is this over the root of the number of registers. It is the
#: root of 1 over the Fisher information of a register; a test derives it.
ERROR = 0.76086

#: ``JOINED[a, b]`` is the register of the hashes of registers a and b.
_HIGH, _LOW = np.maximum.outer(_VALUES, _VALUES), np.minimum.outer(_VALUES, _VALUES)
JOINED: NDArray[np.uint8] = (
    _HIGH | ((((_LOW & 3) | 4 * (_LOW > 0)) >> np.minimum((_HIGH >> 2) - (_LOW >> 2), 3)) & 3)
).astype(np.uint8)


class _Events(NamedTuple):
    """The values 1, 2, ..., 65 - precision of hashes: their odds, and which of them registers have seen."""

    #: The probabilities of the values of hashes.
    odds: Floats
    #: ``seen[r, k - 1]`` is 1 if register r has seen a hash of value k.
    seen: Floats
    #: ``unseen[r]`` is the probability of the values that register r has not seen.
    unseen: Floats
    #: True for the registers that hashes can make.
    possible: NDArray[np.bool_]


@cache
def _events(precision: int) -> _Events:
    values = np.arange(1, 66 - precision)
    # The last value is that of 64 - precision zeros, with or without a one before them.
    odds = 2.0 ** -np.minimum(values, 64 - precision)
    distance = _LARGEST[:, None] - values
    bits = np.stack([_VALUES > 3, _VALUES & 2, _VALUES & 1], axis=1) != 0
    in_window = (distance >= 0) & (distance <= 2)
    seen = in_window & np.take_along_axis(bits, np.clip(distance, 0, 2), axis=1)
    unseen = (distance < 0) | (in_window & ~seen)
    # A register below 12 has no two smaller values that it could have seen.
    impossible = (bits[:, 1] & (_LARGEST < 2)) | (bits[:, 2] & (_LARGEST < 3))
    return _Events(odds, seen * 1.0, unseen @ odds, ~impossible & (65 - precision >= _LARGEST))


def is_register(precision: int) -> NDArray[np.bool_]:
    """Return for each of the 256 values if hashes can make a register of it."""
    return _events(precision).possible


def is_full(counts: NDArray[np.int64], precision: int) -> bool:
    """Return if no hash can change the registers, of which `counts` has the numbers of each value."""
    return not (counts @ _events(precision).unseen).any()


def keys_a_register(counts: NDArray[np.int64], precision: int) -> float:
    """Return the maximum likelihood estimate of the keys over the registers.

    `counts` are the numbers of registers of each value. If no register can grow, the result is that of one
    that can.
    """
    odds, seen, unseen, _ = _events(precision)
    hits, missed = counts @ seen, max(float(counts @ unseen), odds[-1])
    if not hits.any():
        return 0.0
    # The derivative of the log likelihood, times x, is sum(hits y / (exp(y) - 1)) - missed x for y = odds x.
    # It falls and is convex, so Newton's method rises to the root from a point below it and never passes it.
    x = hits.sum() / (missed + 0.5 * hits @ odds)
    for _ in range(200):
        y = odds * x
        rest = -np.expm1(-y)
        share = y * (1.0 - rest) / rest
        gap = hits @ share - missed * x
        slope = hits @ (share * (1.0 - y / rest)) / x - missed
        step = -gap / slope
        x += step
        if step <= 1e-12 * x:
            break
    return float(x)


def probabilities(x: float, precision: int) -> Floats:
    """Return the probability of each value of a register of x keys on average."""
    odds, seen, unseen, possible = _events(precision)
    chance = np.exp(-x * unseen) * np.prod(np.where(seen != 0, -np.expm1(-x * odds), 1.0), axis=1)
    return np.where(possible, chance, 0.0)


class Moments(NamedTuple):
    """The estimate of x, the keys over the registers, and its error, by the likelihood."""

    #: The Fisher information of x in one register.
    information: float
    #: The bias of the estimate of x, times the number of registers, in the first order.
    bias: float
    #: By how much a register of each value moves the estimate, times the number of registers.
    influence: Floats


def moments(x: float, precision: int) -> Moments:
    """Return the information, the bias and the influence at x keys a register, from the likelihood.

    The bias is that of Cox and Snell (1968), equation 20: it needs three derivatives of the log likelihood.
    """
    odds, seen, unseen, possible = _events(precision)
    rest = -np.expm1(-odds * x)
    ratio = (1.0 - rest) / rest  # 1 / (exp(y) - 1)
    first = seen @ (odds * ratio) - unseen
    second = -(seen @ (odds**2 * ratio / rest))
    third = seen @ (odds**3 * ratio * (2.0 - rest) / rest**2)
    chance = probabilities(x, precision)
    information = float(chance @ first**2)
    bias = float(chance @ (third + 2.0 * first * second)) / (2.0 * information**2)
    return Moments(information, bias, np.where(possible, first, 0.0) / information)


def relative_error(n: float, n_registers: int) -> float:
    """Return the standard error of the estimate of n keys, over n, from registers.

    The inverse of the Fisher information is the variance for a Poisson number of keys. That number has itself
    the variance n, which is no error of the estimate. The error of few keys comes from pairs of keys in one
    register. A Poisson number has n**2 / 2 of them on average, where n keys have n (n - 1) / 2.
    """
    if n <= 1.0:
        return 0.0
    m, precision = float(n_registers), (n_registers - 1).bit_length()
    variance = (m / moments(n / m, precision).information - n) * (1.0 - 1.0 / n)
    return math.sqrt(max(variance, 0.0)) / n
