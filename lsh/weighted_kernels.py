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
_LOW = np.uint64(0xFFFF)
_ODD = np.uint64(0x1FFFFFF)
#: Hashes that are worked on together: the random numbers of a feature for them take 1 KiB.
TILE = 32
#: Features whose random numbers are kept: 16 MiB, where they are still twice as fast as drawn anew.
FEATURES = 1 << 14


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
    """The sum of two exponential numbers, Gamma(2, 1), from the upper 48 bits of a random word.

    Uniform numbers are odd multiples of 2**-25: their product is exact, and below 1.
    """
    u = np.float64(np.int64((word >> np.uint64(39)) | np.uint64(1)))
    v = np.float64(np.int64(((word >> np.uint64(15)) & _ODD) | np.uint64(1)))
    return -log_normal_number(u * v * 2.0**-50)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(feature, keys, first, width, drawn):  # type: ignore[no-untyped-def]
    """The random numbers of one feature for hashes [first, first + width), four runs of TILE numbers.

    These are r, 1 / r, beta and ``ln c + r beta - r``, what is least at the weight 1.
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


@njit(cache=True, nogil=True, error_model="numpy")
def _lower(log_w, feature, drawn, width, least, features):  # type: ignore[no-untyped-def]
    """Lower the least values (and their steps, TILE places on) to those of a feature of that weight."""
    for v in range(width):
        t = np.floor(log_w * drawn[TILE + v] + drawn[2 * TILE + v])
        # ln a, where a = c / (y e**r) and ln y = r (t - beta)
        value = drawn[3 * TILE + v] - drawn[v] * t
        lower = value < least[v]
        least[v] = value if lower else least[v]
        least[TILE + v] = t if lower else least[TILE + v]
        features[v] = feature if lower else features[v]


@njit(cache=True, nogil=True)
def _finish(least, features, keys, first, width, out):  # type: ignore[no-untyped-def]
    """Values of a row, and everything ready for the next one."""
    for v in range(width):
        word = mix64(features[v] + np.uint64(np.int64(least[TILE + v])) * _STEP)
        value = min(np.uint32(mix64(word ^ keys[first + v]) >> np.uint64(32)), np.uint32(0xFFFFFFFE))
        out[first + v] = value if least[v] < np.inf else EMPTY
    least[:TILE] = np.inf
    least[TILE:] = 0.0


@njit(cache=True, nogil=True)
def _number_features(indices, weights, begin, key, index, places, logs, features, n_features):  # type: ignore[no-untyped-def]
    """Number the distinct features from entry `begin` on, until there are half as many as `index` has places.

    Fills ``places[j]``, the number of an entry's feature (-1 for a weight of 0), ``logs[j]`` and, from
    `n_features` on, `features`: mixed features by number. Returns the entry it came to and their number.
    """
    index[:] = -1
    mask = np.uint64(index.size - 1)
    first = n_features
    for j in range(begin, indices.size):
        places[j] = -1
        if weights[j] == 0.0:
            continue
        feature = mix64(indices[j] ^ key)
        at = feature & mask
        while index[at] >= 0 and features[first + index[at]] != feature:
            at = (at + np.uint64(1)) & mask
        if index[at] < 0:
            if n_features - first == index.size // 2:
                return j, n_features
            index[at] = n_features - first
            features[n_features] = feature
            n_features += 1
        places[j] = index[at]
        logs[j] = log_weight(weights[j])
    return indices.size, n_features


@njit(cache=True, nogil=True)
def weighted_minhash(offsets, indices, weights, key, keys, out):  # type: ignore[no-untyped-def]
    """Values of sparse rows whose weights are at least 0: for each hash those of the feature of least a.

    offsets, indices, weights : int64 (n + 1,), uint64 and float64; the first offset is 0.
    keys : uint64 (n_values,), one a hash.
    out : uint32 (n, n_values); the feature of least a (Ioffe 2010, section 3) and its step t mixed to 32
    bits, below EMPTY, which rows without weights have in every hash.

    Notes
    -----
    Random numbers are drawn once for each distinct feature of as many rows as have FEATURES of them, for
    TILE hashes at a time. A draw costs 2 mixes, 3 logarithms and 2 divisions, 3.4 ns a hash, and each entry
    after that a few operations, 0.6 ns.
    """
    n_values, n_entries = keys.size, indices.size
    places, logs = np.empty(n_entries, np.int32), np.empty(n_entries, np.float64)
    features = np.empty(n_entries, np.uint64)
    size = 2
    while size < 2 * min(n_entries, FEATURES):
        size *= 2
    index = np.empty(size, np.int32)
    # Parts of the entries, (entries, features) at which each ends.
    ends = [(0, 0)]
    largest = 0
    while ends[-1][0] < n_entries:
        begin, before = ends[-1]
        ends.append(_number_features(indices, weights, begin, key, index, places, logs, features, before))
        largest = max(largest, ends[-1][1] - before)
    drawn = np.empty((largest, 4 * TILE), np.float64)
    least, least_features = np.empty(2 * TILE, np.float64), np.zeros(TILE, np.uint64)
    for first in range(0, n_values, TILE):
        width = min(TILE, n_values - first)
        least[:TILE] = np.inf
        least[TILE:] = 0.0
        row = 0
        for part in range(1, len(ends)):
            (begin, before), (end, after) = ends[part - 1], ends[part]
            for f in range(before, after):
                _draw(features[f], keys, first, width, drawn[f - before])
            for j in range(begin, end):
                while j == offsets[row + 1]:
                    _finish(least, least_features, keys, first, width, out[row])
                    row += 1
                if places[j] >= 0:
                    feature = features[before + places[j]]
                    _lower(logs[j], feature, drawn[places[j]], width, least, least_features)
        while row < out.shape[0]:
            _finish(least, least_features, keys, first, width, out[row])
            row += 1


@njit(cache=True, nogil=True, error_model="numpy")
def overlap_weights(x_indptr, x_indices, x_data, y_indptr, y_indices, y_data, start, stop, out):  # type: ignore[no-untyped-def]
    """``out[i, j]`` = the sum of the lesser over that of the greater weights of two rows; 1 if all are 0."""
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
            # Over the largest weight, so that no sum overflows.
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
