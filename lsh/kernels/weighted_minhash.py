"""Kernels of weighted MinHash: consistent weighted sampling, with all randomness hashed from feature ids.

Logarithms are computed here, from additions, multiplications and divisions in one fixed order: system
libraries differ from each other in the last bit, and Numba does not vectorise their functions. Divisions
follow NumPy (`error_model`): a check for zero in each would keep loops from running in registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper, kernel
from .minhash_permutations import EMPTY
from .registers import intrinsic
from .words import mix64

__all__ = ["overlap_weights", "weighted_minhash"]

_LN2 = 0.6931471805599453
_STEP = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFF)
_ODD = np.uint64(0x1FFFFFF)
#: Hashes of a tile: the random numbers of a feature for them take 1 KiB.
TILE = 32


@intrinsic
def _bits(typing_context, value):
    """Return the bits of a float64."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.float64), generate


@intrinsic
def _from_bits(typing_context, bits):
    """Return the float64 that has some bits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@helper(inline="always", error_model="numpy")
def log_normal_number(x):
    """Return the natural logarithm of a positive float64 that is not subnormal.

    It errs by about 2 units in the last place. ``x = m 2**e`` with m in [sqrt(1/2), sqrt(2)), and ``log m = 2
    atanh(s)``, s = (m - 1) / (m + 1), by its series: s**2 < 0.0295, so eleven terms reach float64.
    """
    # With the bits of sqrt(1/2) subtracted first, the mantissa starts from sqrt(1/2).
    shifted = _bits(x) - np.uint64(0x3FE6A09E667F3BCD)
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


@kernel(error_model="numpy")
def log_weight(w):
    """Return the logarithm of any positive float64."""
    if w < 2.0**-1000:
        return log_normal_number(w * 2.0**200) - 200.0 * _LN2
    return log_normal_number(w)


@helper(inline="always", error_model="numpy")
def _exponentials(word):
    """Return the sum of two exponential numbers, Gamma(2, 1), from the upper 48 bits of a random word.

    Uniform numbers are odd multiples of 2**-25: their product is exact, and below 1.
    """
    u = np.float64(np.int64((word >> np.uint64(39)) | np.uint64(1)))
    v = np.float64(np.int64(((word >> np.uint64(15)) & _ODD) | np.uint64(1)))
    return -log_normal_number(u * v * 2.0**-50)


@helper(error_model="numpy")
def _draw(feature, keys, first, width, drawn):
    """Draw the random numbers of one feature for hashes [first, first + width), in four runs of TILE numbers.

    These are r, 1 / r, beta and ``ln c + r beta - r``, the value that is compared at the weight 1.
    """
    part = keys[first : first + width]
    for v in range(part.size):
        start = feature ^ part[v]
        one, two = mix64(start), mix64(start + _STEP)
        r, c = _exponentials(one), _exponentials(two)
        low = ((one & _LOW) << np.uint64(16)) | (two & _LOW)
        beta = (np.float64(np.int64(low)) + 0.5) * 2.0**-32
        drawn[v] = r
        drawn[TILE + v] = 1.0 / r
        drawn[2 * TILE + v] = beta
        drawn[3 * TILE + v] = log_normal_number(c) + r * beta - r


@helper(error_model="numpy")
def _lower(log_w, feature, drawn, width, least, features):
    """Lower the least values (and their steps, TILE places on) to those of a feature of that weight."""
    for v in range(width):
        t = np.floor(log_w * drawn[TILE + v] + drawn[2 * TILE + v])
        # ln a, where a = c / (y e**r) and ln y = r (t - beta)
        value = drawn[3 * TILE + v] - drawn[v] * t
        # The order of features depends on the other rows, so it must not decide between equal values.
        lower = (value < least[v]) | ((value == least[v]) & (feature < features[v]))
        least[v] = value if lower else least[v]
        least[TILE + v] = t if lower else least[TILE + v]
        features[v] = feature if lower else features[v]


@helper
def _finish(least, features, keys, first, width, out):
    """Write the values of a row."""
    for v in range(width):
        word = mix64(features[v] + np.uint64(np.int64(least[TILE + v])) * _STEP)
        value = min(np.uint32(mix64(word ^ keys[first + v]) >> np.uint64(32)), np.uint32(0xFFFFFFFE))
        out[first + v] = value if least[v] < np.inf else EMPTY


@helper
def _number_features(indices, weights, key, numbers, features):
    """Assign numbers to the features: ``numbers[j]`` is that of entry j, -1 without weight; return how many.

    features : the mixed features, numbered in the order of their first entries.
    """
    size = 2
    while size < 2 * indices.size:
        size *= 2
    table, mask, n = np.full(size, -1, np.int32), np.uint64(size - 1), 0
    for j in range(indices.size):
        numbers[j] = -1
        if weights[j] > 0.0:
            feature = mix64(indices[j] ^ key)
            at = feature & mask
            while table[at] >= 0 and features[table[at]] != feature:
                at = (at + np.uint64(1)) & mask
            if table[at] < 0:
                table[at] = n
                features[n] = feature
                n += 1
            numbers[j] = table[at]
    return n


@helper
def _order_by_feature(offsets, weights, numbers, n_features, ends, rows, logs):
    """Write the rows and the logarithms of the weights of each feature f, at ``[ends[f - 1], ends[f])``."""
    ends[: n_features + 1] = 0
    for j in range(numbers.size):
        ends[numbers[j] + 1] += 1
    ends[0] = 0  # the entries without a number were counted here
    for f in range(n_features):
        ends[f + 1] += ends[f]
    for row in range(offsets.size - 1):
        for j in range(offsets[row], offsets[row + 1]):
            if numbers[j] >= 0:
                at = ends[numbers[j]]
                rows[at], logs[at] = row, log_weight(weights[j])
                ends[numbers[j]] += 1


@kernel
def weighted_minhash(offsets, indices, weights, key, keys, out):
    """Write the values of sparse rows with weights of at least 0, each from the feature of least a.

    offsets, indices, weights : int64 (n + 1,), uint64 and float64; the first offset is 0.
    keys : uint64 (n_values,), one a hash.
    out : uint32 (n, n_values); the feature of least a (Ioffe 2010, section 3) and its step t mixed to 32
    bits, below EMPTY, which rows without weights have in every hash.

    Notes
    -----
    One feature after another lowers the least values of all rows that have it, for TILE hashes at a time, so
    that its random numbers are drawn once and stay in the first-level cache. Drawing takes 2 mixes, 3
    logarithms and 2 divisions, 3.4 ns a hash; an entry then takes a few operations, 0.6 to 1 ns a hash. The
    rows' least values, 768 bytes each, should stay in the cache: callers pass some thousand rows.
    """
    n_rows, n_entries = out.shape[0], indices.size
    numbers, features = np.empty(n_entries, np.int64), np.empty(n_entries, np.uint64)
    n_features = _number_features(indices, weights, key, numbers, features)
    ends, rows, logs = np.empty(n_entries + 1, np.int64), np.empty(n_entries, np.int64), np.empty(n_entries)
    _order_by_feature(offsets, weights, numbers, n_features, ends, rows, logs)
    drawn = np.empty(4 * TILE, np.float64)
    least, least_features = np.empty((n_rows, 2 * TILE), np.float64), np.empty((n_rows, TILE), np.uint64)
    for first in range(0, keys.size, TILE):
        width = min(TILE, keys.size - first)
        least[:, :TILE] = np.inf
        least[:, TILE:] = 0.0
        least_features[:] = np.uint64(0)
        begin = 0
        for f in range(n_features):
            _draw(features[f], keys, first, width, drawn)
            for e in range(begin, ends[f]):
                _lower(logs[e], features[f], drawn, width, least[rows[e]], least_features[rows[e]])
            begin = ends[f]
        for row in range(n_rows):
            _finish(least[row], least_features[row], keys, first, width, out[row])


@kernel(error_model="numpy")
def overlap_weights(x_indptr, x_indices, x_data, y_indptr, y_indices, y_data, start, stop, out):
    """Set ``out[i, j]`` to the sum of two rows' lesser weights over that of the greater; 1 if all are 0."""
    for i in range(start, stop):
        for j in range(y_indptr.size - 1):
            a, a_stop, b, b_stop = x_indptr[i], x_indptr[i + 1], y_indptr[j], y_indptr[j + 1]
            largest: Any = 0.0
            for p in range(a, a_stop):
                largest = max(largest, x_data[p])
            for p in range(b, b_stop):
                largest = max(largest, y_data[p])
            if largest == 0.0:
                out[i, j] = 1.0
                continue
            # Weights are divided by the largest, so that no sum overflows.
            lesser: Any = 0.0
            greater: Any = 0.0
            while a < a_stop or b < b_stop:
                if b == b_stop or (a < a_stop and x_indices[a] < y_indices[b]):
                    greater += x_data[a] / largest
                    a += 1
                elif a == a_stop or y_indices[b] < x_indices[a]:
                    greater += y_data[b] / largest
                    b += 1
                else:
                    left, right = x_data[a], y_data[b]
                    lesser += min(left, right) / largest
                    greater += max(left, right) / largest
                    a += 1
                    b += 1
            out[i, j] = lesser / greater
