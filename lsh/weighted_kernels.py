"""Kernels of weighted MinHash: consistent weighted sampling, with all randomness hashed from feature ids.

Logarithms are computed here, from additions, multiplications and divisions in one fixed order: those of
the system's library differ in the last bit from one to another, and Numba does not vectorise them. Divisions
follow NumPy (`error_model`): a check for zero in each would keep loops from running in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .minhash_kernels import EMPTY, mix64

__all__ = ["overlap_weights", "weighted_minhash"]

_LN2 = 0.6931471805599453
_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)


@intrinsic
def _bits(typing_context, value):  # type: ignore[no-untyped-def]
    """The bits of a float64."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.float64), generate


@intrinsic
def _from_bits(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float64 of some bits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def log_normal_number(x):  # type: ignore[no-untyped-def]
    """The natural logarithm of a positive float64 that is not subnormal, to about 2 units in the last place.

    ``x = m 2**e`` with m in [sqrt(1/2), sqrt(2)), and ``log m = 2 atanh(s)``, s = (m - 1) / (m + 1), by its
    series: s**2 < 0.0295, so eleven terms reach float64.
    """
    # Subtracting the bits of sqrt(1/2) first leaves a mantissa from there on.
    shifted = _bits(x) - np.uint64(0x3FE6A09E667F3BCD)  # type: ignore[call-arg]
    e = np.float64(np.int64(shifted) >> np.int64(52))
    m = _from_bits((shifted & np.uint64(0x000FFFFFFFFFFFFF)) + np.uint64(0x3FE6A09E667F3BCD))
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 1.0 / 21.0
    series = series * z + 1.0 / 19.0
    series = series * z + 1.0 / 17.0
    series = series * z + 1.0 / 15.0
    series = series * z + 1.0 / 13.0
    series = series * z + 1.0 / 11.0
    series = series * z + 1.0 / 9.0
    series = series * z + 1.0 / 7.0
    series = series * z + 1.0 / 5.0
    series = series * z + 1.0 / 3.0
    return e * _LN2 + (2.0 * s + 2.0 * s * (z * series))


@njit(cache=True, nogil=True, error_model="numpy")
def log_weight(w):  # type: ignore[no-untyped-def]
    """The logarithm of any positive float64."""
    if w < 2.0**-1000:
        return log_normal_number(w * 2.0**200) - 200.0 * _LN2
    return log_normal_number(w)


@njit(cache=True, nogil=True, inline="always", error_model="numpy")
def _exponentials(word):  # type: ignore[no-untyped-def]
    """The sum of two exponential numbers, Gamma(2, 1), from the two halves of a random word."""
    u = (np.float64(np.int64(word >> np.uint64(32))) + 0.5) * 2.0**-32
    v = (np.float64(np.int64(word & _LOW)) + 0.5) * 2.0**-32
    return -log_normal_number(u * v)


@njit(cache=True, nogil=True, error_model="numpy")
def _lower(feature, log_w, least, steps, features):  # type: ignore[no-untyped-def]
    """Lower the least value of every hash to that of one feature, of logarithm `log_w` of its weight."""
    for v in range(least.size):
        start = feature + np.uint64(3 * v) * _STEP
        r = _exponentials(mix64(start))
        c = _exponentials(mix64(start + _STEP))
        beta = np.float64(np.int64(mix64(start + np.uint64(2) * _STEP) >> np.uint64(11))) * 2.0**-53
        t = np.floor(log_w / r + beta)
        # ln a, a = c / (y e**r), ln y = r (t - beta)
        value = log_normal_number(c) - r * (t - beta) - r
        lower = value < least[v]
        least[v] = value if lower else least[v]
        steps[v] = t if lower else steps[v]
        features[v] = feature if lower else features[v]


@njit(cache=True, nogil=True, error_model="numpy")
def weighted_minhash(indptr, indices, data, key, start, stop, out):  # type: ignore[no-untyped-def]
    """Values of the sparse rows [start, stop), whose weights are at least 0, into ``out[0 : stop - start]``.

    Notes
    -----
    Of each hash the feature of least a (Ioffe 2010, section 3) and its step t make the value: mixed to 32
    bits, below EMPTY, which rows without weights have in every hash. For each weight and hash 3 mixes, 3
    logarithms and a division: about 90 operations, eight hashes a step.
    """
    n_values = out.shape[1]
    least, steps = np.empty(n_values, np.float64), np.empty(n_values, np.float64)
    features = np.empty(n_values, np.uint64)
    for i in range(start, stop):
        least[:] = np.inf
        steps[:] = 0.0
        features[:] = np.uint64(0)
        empty = True
        for j in range(indptr[i], indptr[i + 1]):
            if data[j] > 0:
                empty = False
                feature = mix64(np.uint64(indices[j]) ^ key)
                _lower(feature, log_weight(np.float64(data[j])), least, steps, features)
        row = out[i - start]
        if empty:
            row[:] = EMPTY
            continue
        for v in range(n_values):
            word = mix64(features[v] + np.uint64(np.int64(steps[v])) * _STEP)
            row[v] = min(np.uint32(word >> np.uint64(32)), np.uint32(0xFFFFFFFE))


@njit(cache=True, nogil=True, error_model="numpy")
def overlap_weights(x_indptr, x_indices, x_data, y_indptr, y_indices, y_data, start, stop, out):  # type: ignore[no-untyped-def]
    """``out[i, j]`` = the sum of the lesser over that of the greater weights of two rows; 1 if all are 0."""
    for i in range(start, stop):
        for j in range(y_indptr.size - 1):
            a, a_stop, b, b_stop = x_indptr[i], x_indptr[i + 1], y_indptr[j], y_indptr[j + 1]
            largest: Any = 0.0
            for p in range(a, a_stop):
                largest = max(largest, np.float64(x_data[p]))
            for p in range(b, b_stop):
                largest = max(largest, np.float64(y_data[p]))
            if largest == 0.0:
                out[i, j] = 1.0
                continue
            # Over the largest weight, so that no sum overflows.
            lesser: Any = 0.0
            greater: Any = 0.0
            while a < a_stop or b < b_stop:
                if b == b_stop or (a < a_stop and x_indices[a] < y_indices[b]):
                    greater += np.float64(x_data[a]) / largest
                    a += 1
                elif a == a_stop or y_indices[b] < x_indices[a]:
                    greater += np.float64(y_data[b]) / largest
                    b += 1
                else:
                    mine, theirs = np.float64(x_data[a]), np.float64(y_data[b])
                    lesser += min(mine, theirs) / largest
                    greater += max(mine, theirs) / largest
                    a += 1
                    b += 1
            out[i, j] = lesser / greater
