"""A kernel that finds the nearest of some candidates, by the distances of vectors.

Distances are first computed in the precision of the rows, with terms added up in any order that is fast. They
only tell which candidates cannot be among the nearest, beyond a bound of the error. The distances of the
others are computed in float64 and in one fixed order, and rank them. So results depend on rows and query
alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch
from ...lsh.kernels.registers import intrinsic
from .heaps import keep_best, sort_nearest

__all__ = ["ANGLE", "CITYBLOCK", "EUCLIDEAN", "INNER_PRODUCT", "RANKED", "rank_vectors"]

#: Metrics.
ANGLE, EUCLIDEAN, CITYBLOCK, INNER_PRODUCT = range(4)
#: Result of a ranking if all candidates could be ranked; else it is the id of one that could not.
RANKED = -1
_LANES = 32
#: Candidates by which rows are prefetched, bytes of a row that are prefetched, and bytes of a cache line.
_ROWS_AHEAD, _BYTES_AHEAD, _LINE = 16, 1024, 64
#: Squared lengths within which no product of float32 numbers over- or underflows.
_SHORT, _LONG = 1e-25, 1e25


@intrinsic
def _add_product(typingctx, total, x, y):
    """Compute ``total + x * y`` for floats of one type, in whatever order of additions is fast."""
    signature = total(total, x, y)

    def generate(context, builder, signature, arguments):
        product = builder.fmul(arguments[1], arguments[2], flags=("contract",))
        return builder.fadd(arguments[0], product, flags=("reassoc", "contract"))

    return (signature, generate) if isinstance(total, types.Float) else None


@intrinsic
def _add_size(typingctx, total, x):
    """Compute ``total + abs(x)`` for floats of one type, in whatever order of additions is fast."""
    signature = total(total, x)

    def generate(context, builder, signature, arguments):
        name = "llvm.fabs.f32" if signature.return_type == types.float32 else "llvm.fabs.f64"
        function = builder.module.declare_intrinsic("llvm.fabs", [arguments[1].type])
        assert function.name == name
        return builder.fadd(arguments[0], builder.call(function, [arguments[1]]), flags=("reassoc",))

    return (signature, generate) if isinstance(total, types.Float) else None


@helper
def _sum(lanes):
    """Return the sum of the accumulators, added in their order."""
    total = 0.0
    for lane in range(_LANES):
        total += lanes[lane]
    return total


@helper
def _largest(x):
    """Return the largest magnitude: NaN if there is one, and 0 without features."""
    largest = 0.0
    for j in range(x.size):
        if abs(x[j]) > largest or math.isnan(x[j]):
            largest = abs(x[j])
    return largest


@helper(forceinline=True)
def _length(x, scale, lanes):
    """Return the norm of ``scale * x``: feature j goes to accumulator j mod 32."""
    whole = x.size - x.size % _LANES
    lanes[:] = 0.0
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += (x[j + lane] * scale) * (x[j + lane] * scale)
    for j in range(whole, x.size):
        lanes[j - whole] += (x[j] * scale) * (x[j] * scale)
    return math.sqrt(_sum(lanes))


@helper
def _haversine(q, x, lanes):
    """Return ``sin(angle / 2) ** 2``, a quarter of unit vectors' squared distance: exact for small angles."""
    scale, length = 1.0, _length(x, 1.0, lanes)
    if not 1e-125 < length < 1e125:
        largest = _largest(x)
        if largest == 0.0:
            return 0.5
        if not math.isfinite(largest):
            return math.nan
        # A power of two scales without rounding.
        scale = math.ldexp(1.0, min(-math.frexp(largest)[1], 1022))
        length = _length(x, scale, lanes)
    for j in range(x.size):
        x[j] = x[j] * scale / length - q[j]
    return 0.25 * _length(x, 1.0, lanes) ** 2


@helper
def _distance(metric, q, x, lanes):
    """Return the distance in float64: feature j goes to accumulator j mod 32."""
    whole = x.size - x.size % _LANES
    if metric == INNER_PRODUCT:
        lanes[:] = 0.0
        for j in range(0, whole, _LANES):
            for lane in range(_LANES):
                lanes[lane] -= x[j + lane] * q[j + lane]
        for j in range(whole, x.size):
            lanes[j - whole] -= x[j] * q[j]
        return _sum(lanes)
    # The row is work space, so differences may take its place.
    for j in range(x.size):
        x[j] -= q[j]
    if metric == EUCLIDEAN:
        length = _length(x, 1.0, lanes)
        if 1e-125 < length < 1e125:
            return length
        largest = _largest(x)
        if largest == 0.0 or not math.isfinite(largest):
            return length
        scale = math.ldexp(1.0, min(-math.frexp(largest)[1], 1022))
        return _length(x, scale, lanes) / scale
    lanes[:] = 0.0
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += abs(x[j + lane])
    for j in range(whole, x.size):
        lanes[j - whole] += abs(x[j])
    return _sum(lanes)


@helper(forceinline=True)
def _limit(metric, farthest, slack, length, error):
    """Return the limit that the fast product or distance of a row within `farthest` cannot pass."""
    if metric == ANGLE:
        return 1.0 - 2.0 * farthest - 4.0 * error
    if metric == EUCLIDEAN:
        return (farthest + slack) ** 2 * (1.0 + 2.0 * error) + 1e-30
    if metric == CITYBLOCK:
        return (farthest + slack) * (1.0 + 2.0 * error) + 1e-30
    return -farthest / length if length > 0.0 else -math.inf


@kernel
def rank_vectors(
    Q, fast_Q, slack, lengths, rows, candidates, offsets, sizes, metric, k, first, ids, distances
):
    """Find the k nearest of the candidates of each query, for queries ``first + i``.

    Parameters
    ----------
    Q : float64; of unit length where angles are asked for
    fast_Q : Q in the rows' precision; of unit length for angles and inner products
    slack : the distance of each row of `fast_Q` from that of `Q`, for distances
    lengths : the lengths of the queries, for inner products
    candidates : ids plus one; query ``first + i`` has ``candidates[offsets[i]:][:sizes[i]]``

    Returns
    -------
    int
        RANKED, or the id of a candidate that has no row or not a finite one.
    """
    n_rows = rows.shape[0]
    # Indices are unsigned: Numba checks whether signed ones are negative, which keeps loops from SIMD.
    width, zero = np.uint64(rows.shape[1]), np.uint64(0)
    flat = rows.reshape(-1)
    lines = _LINE // rows.itemsize
    reach = min(rows.shape[1], _BYTES_AHEAD // rows.itemsize)
    out_ids, out = ids.reshape(-1), distances.reshape(-1)
    lanes, x = np.empty(_LANES, np.float64), np.empty(rows.shape[1], np.float64)
    # Higham 2002, section 3.1, bounds the error of a sum of m terms in any order, relative to their sizes.
    unit = (rows.shape[1] + 16) * (2.0**-24 if rows.itemsize == 4 else 2.0**-53)
    error = unit / (1.0 - unit) if unit < 0.05 else math.inf
    for i in range(sizes.size):
        q, fast = Q[first + i], fast_Q[first + i]
        begin, end = offsets[i], offsets[i] + sizes[i]
        place = (first + i) * k
        n_best = 0
        limit = 0.0
        for c in range(begin, min(begin + _ROWS_AHEAD, end)):
            base = (np.int64(candidates[c]) - 1) * rows.shape[1]
            for j in range(base, base + reach, lines):
                prefetch(flat, j)
        for c in range(begin, end):
            if c + _ROWS_AHEAD < end:
                base = (np.int64(candidates[c + _ROWS_AHEAD]) - 1) * rows.shape[1]
                for j in range(base, base + reach, lines):
                    prefetch(flat, j)
            number = np.int64(candidates[c]) - 1
            if np.uint64(number) >= np.uint64(n_rows):  # a forged file may have negative ids
                return max(number, np.int64(n_rows))
            here = np.uint64(number) * width
            if n_best == k and error < 1.0:
                total, square = rows.dtype.type(0), rows.dtype.type(0)
                if metric == EUCLIDEAN:
                    for j in range(zero, width):
                        step = flat[here + j] - fast[j]
                        total = _add_product(total, step, step)
                    if limit < total < math.inf:
                        continue
                elif metric == CITYBLOCK:
                    for j in range(zero, width):
                        total = _add_size(total, flat[here + j] - fast[j])
                    if limit < total < math.inf:
                        continue
                else:
                    for j in range(zero, width):
                        value = flat[here + j]
                        total = _add_product(total, value, fast[j])
                        square = _add_product(square, value, value)
                    if _SHORT < square < _LONG:
                        norm = math.sqrt(np.float64(square))
                        if metric == ANGLE:
                            if total < limit * norm:
                                continue
                        elif total < limit - 4.0 * error * norm:
                            continue
            for j in range(zero, width):
                x[j] = flat[here + j]
            if metric != ANGLE:
                distance = _distance(metric, q, x, lanes)
            else:
                # A vector of zeros is at a right angle to all others.
                distance = _haversine(q, x, lanes) if lengths[first + i] > 0.0 else 0.5
            if not math.isfinite(distance):
                return number
            n_best = keep_best(number, distance, k, place, n_best, out_ids, out)
            if n_best == k:
                limit = _limit(metric, out[place], slack[first + i], lengths[first + i], error)
        sort_nearest(place, n_best, k, out_ids, out)
        if metric == ANGLE:
            for j in range(place, place + n_best):
                out[j] = 2.0 * math.asin(min(1.0, math.sqrt(out[j])))
    return RANKED
