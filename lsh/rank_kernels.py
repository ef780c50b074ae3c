"""The nearest of some candidates, by the distances of vectors.

Distances are computed in the precision of the rows, terms added up in any order that is fast, only to tell
which candidates cannot be among the nearest: a bound of the error leaves no doubt. The others' are computed
in float64 and in one fixed order, and these rank them. So results depend on rows and query alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from .index_kernels import prefetch

__all__ = ["ANGLE", "CITYBLOCK", "EUCLIDEAN", "INNER_PRODUCT", "finish", "push", "rank_vectors"]

ANGLE, EUCLIDEAN, CITYBLOCK, INNER_PRODUCT = range(4)
_LANES = 8
#: Candidates by which rows are asked for ahead of time, and bytes of each; the rest follows in order.
_ROWS_AHEAD, _BYTES_AHEAD, _LINE = 4, 1024, 64
#: Squared lengths within which no product of float32 numbers over- or underflows.
_SHORT, _LONG = 1e-25, 1e25


def _add_product_code(typingctx, total, x, y):  # type: ignore[no-untyped-def]
    """``total + x * y`` for floats of one type, in whatever order of additions is fast."""
    signature = total(total, x, y)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        product = builder.fmul(arguments[1], arguments[2], flags=("contract",))
        return builder.fadd(arguments[0], product, flags=("reassoc", "contract"))

    return (signature, generate) if isinstance(total, types.Float) else None


def _add_size_code(typingctx, total, x):  # type: ignore[no-untyped-def]
    """``total + abs(x)`` for floats of one type, in whatever order of additions is fast."""
    signature = total(total, x)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        name = "llvm.fabs.f32" if signature.return_type == types.float32 else "llvm.fabs.f64"
        function = builder.module.declare_intrinsic("llvm.fabs", [arguments[1].type])
        assert function.name == name
        return builder.fadd(arguments[0], builder.call(function, [arguments[1]]), flags=("reassoc",))

    return (signature, generate) if isinstance(total, types.Float) else None


_add_product: Any = intrinsic(_add_product_code)
_add_size: Any = intrinsic(_add_size_code)


@njit(cache=True, nogil=True, forceinline=True)
def _farther(distance, number, other_distance, other):  # type: ignore[no-untyped-def]
    return distance > other_distance or (distance == other_distance and number > other)


@njit(cache=True, nogil=True, forceinline=True)
def _settle(ids, distances, first, root, size):  # type: ignore[no-untyped-def]
    """Restore a heap whose root is its farthest entry, kept in ``ids[first:]``."""
    number, distance = ids[first + root], distances[first + root]
    while True:
        child = 2 * root + 1
        if child >= size:
            break
        at = first + child
        if child + 1 < size and _farther(distances[at + 1], ids[at + 1], distances[at], ids[at]):
            child += 1
            at += 1
        if _farther(distance, number, distances[at], ids[at]):
            break
        ids[first + root], distances[first + root] = ids[at], distances[at]
        root = child
    ids[first + root], distances[first + root] = number, distance


@njit(cache=True, nogil=True, forceinline=True)
def push(ids, distances, first, held, k, number, distance):  # type: ignore[no-untyped-def]
    """Take a candidate into the heap of the k nearest if it is one of them; returns how many are held."""
    if held < k:
        child = held
        # Sift up.
        while child > 0:
            parent = (child - 1) // 2
            if not _farther(distance, number, distances[first + parent], ids[first + parent]):
                break
            ids[first + child], distances[first + child] = ids[first + parent], distances[first + parent]
            child = parent
        ids[first + child], distances[first + child] = number, distance
        return held + 1
    if _farther(distances[first], ids[first], distance, number):
        ids[first], distances[first] = number, distance
        _settle(ids, distances, first, 0, k)
    return held


@njit(cache=True, nogil=True, forceinline=True)
def finish(ids, distances, first, held, k):  # type: ignore[no-untyped-def]
    """Sort the heap, nearest first; -1 and infinity where there are fewer than k."""
    for last in range(held - 1, 0, -1):
        number, distance = ids[first + last], distances[first + last]
        ids[first + last], distances[first + last] = ids[first], distances[first]
        ids[first], distances[first] = number, distance
        _settle(ids, distances, first, 0, last)
    for j in range(held, k):
        ids[first + j], distances[first + j] = -1, np.inf


@njit(cache=True, nogil=True, forceinline=True)
def _largest(rows, base, width):  # type: ignore[no-untyped-def]
    """Largest absolute value of a row; NaN if one is NaN."""
    largest = 0.0
    for j in range(width):
        size = abs(np.float64(rows[base + j]))
        if not size <= largest:
            largest = size
            if math.isnan(size):
                break
    return largest


@njit(cache=True, nogil=True)
def _angle(q, rows, base, lanes):  # type: ignore[no-untyped-def]
    """Kahan's 2 atan2(|x - q|, |x + q|) for unit vectors, sharp for small angles too; pi / 2 for zeros."""
    width = q.size
    whole = width - width % _LANES
    scale = 1.0
    while True:
        lanes[:] = 0.0
        for j in range(0, whole, _LANES):
            for lane in range(_LANES):
                x = np.float64(rows[base + j + lane]) * scale
                lanes[0, lane] += x * x
        for j in range(whole, width):
            x = np.float64(rows[base + j]) * scale
            lanes[0, j - whole] += x * x
        square = lanes[0].sum()
        if 1e-250 < square < 1e250 or scale != 1.0:
            break
        largest = _largest(rows, base, width)
        if largest == 0.0:
            return math.pi / 2
        if not math.isfinite(largest):
            return math.nan
        # By a power of two, which rounds nothing.
        scale = math.ldexp(1.0, min(-math.frexp(largest)[1], 1022))
    scale /= math.sqrt(square)
    lanes[:] = 0.0
    for j in range(0, whole, _LANES):
        for lane in range(_LANES):
            x = np.float64(rows[base + j + lane]) * scale
            minus, plus = x - q[j + lane], x + q[j + lane]
            lanes[0, lane] += minus * minus
            lanes[1, lane] += plus * plus
    for j in range(whole, width):
        x = np.float64(rows[base + j]) * scale
        lanes[0, j - whole] += (x - q[j]) * (x - q[j])
        lanes[1, j - whole] += (x + q[j]) * (x + q[j])
    return 2.0 * math.atan2(math.sqrt(lanes[0].sum()), math.sqrt(lanes[1].sum()))


@njit(cache=True, nogil=True)
def _distance(metric, q, rows, base, lanes):  # type: ignore[no-untyped-def]
    """The distance in float64: feature j goes to accumulator j mod 8."""
    width = q.size
    lanes[0, :] = 0.0
    for j in range(width):
        x = np.float64(rows[base + j])
        if metric == EUCLIDEAN:
            lanes[0, j % _LANES] += (x - q[j]) * (x - q[j])
        elif metric == CITYBLOCK:
            lanes[0, j % _LANES] += abs(x - q[j])
        else:
            lanes[0, j % _LANES] -= x * q[j]
    total = lanes[0].sum()
    if metric != EUCLIDEAN:
        return total
    if 1e-250 < total < math.inf:
        return math.sqrt(total)
    largest = 0.0
    for j in range(width):
        largest = max(largest, abs(np.float64(rows[base + j]) - q[j]))
    if largest == 0.0 or not math.isfinite(largest):
        return total
    total = 0.0
    for j in range(width):
        step = (np.float64(rows[base + j]) - q[j]) / largest
        total += step * step
    return largest * math.sqrt(total)


@njit(cache=True, nogil=True, forceinline=True)
def _limit(metric, farthest, slack, length, error):  # type: ignore[no-untyped-def]
    """What the fast product or distance of a row that is no farther than `farthest` cannot pass."""
    if metric == ANGLE:
        return math.cos(farthest) - 4.0 * error
    if metric == EUCLIDEAN:
        return (farthest + slack) ** 2 * (1.0 + 2.0 * error) + 1e-30
    if metric == CITYBLOCK:
        return (farthest + slack) * (1.0 + 2.0 * error) + 1e-30
    return -farthest / length if length > 0.0 else -math.inf


@njit(cache=True, nogil=True)
def rank_vectors(metric, Q, fast_Q, slack, lengths, rows, candidates, offsets, sizes, k, first, ids, distances):  # type: ignore[no-untyped-def]
    """The k nearest of the candidates of each query, for queries ``first + i``.

    Parameters
    ----------
    Q : float64; of unit length where angles are asked for
    fast_Q : Q in the rows' precision; of unit length for angles and inner products
    slack : how far `fast_Q` lies from `Q`, for distances
    lengths : of the queries, for inner products
    candidates : ids plus one; query ``first + i`` has ``candidates[offsets[i]:][:sizes[i]]``

    Returns
    -------
    int
        -1, or the id of a candidate that has no row or not a finite one.
    """
    n_rows, width = rows.shape
    flat = rows.reshape(-1)
    lines = _LINE // rows.itemsize
    reach = min(width, _BYTES_AHEAD // rows.itemsize)
    out_ids, out = ids.reshape(-1), distances.reshape(-1)
    lanes = np.empty((2, _LANES), np.float64)
    # Higham 2002, section 3.1: the error of a sum of m terms in any order, relative to their sizes.
    unit = (width + 16) * (2.0**-24 if rows.itemsize == 4 else 2.0**-53)
    error = unit / (1.0 - unit) if unit < 0.05 else math.inf
    for i in range(sizes.size):
        q, fast = Q[first + i], fast_Q[first + i]
        begin, end = offsets[i], offsets[i] + sizes[i]
        place = (first + i) * k
        held = 0
        limit = 0.0
        for c in range(begin, min(begin + _ROWS_AHEAD, end)):
            base = (np.int64(candidates[c]) - 1) * width
            for j in range(base, base + reach, lines):
                prefetch(flat, j)
        for c in range(begin, end):
            if c + _ROWS_AHEAD < end:
                base = (np.int64(candidates[c + _ROWS_AHEAD]) - 1) * width
                for j in range(base, base + reach, lines):
                    prefetch(flat, j)
            number = np.int64(candidates[c]) - 1
            if number >= n_rows:
                return number
            base = number * width
            if held == k and error < 1.0:
                total, square = rows.dtype.type(0), rows.dtype.type(0)
                if metric == EUCLIDEAN:
                    for j in range(width):
                        step = flat[base + j] - fast[j]
                        total = _add_product(total, step, step)
                    if total > limit:
                        continue
                elif metric == CITYBLOCK:
                    for j in range(width):
                        total = _add_size(total, flat[base + j] - fast[j])
                    if total > limit:
                        continue
                else:
                    for j in range(width):
                        x = flat[base + j]
                        total = _add_product(total, x, fast[j])
                        square = _add_product(square, x, x)
                    if _SHORT < square < _LONG:
                        norm = math.sqrt(np.float64(square))
                        if metric == ANGLE:
                            if total < limit * norm:
                                continue
                        elif total < limit - 4.0 * error * norm:
                            continue
            if metric == ANGLE:
                distance = _angle(q, flat, base, lanes)
            else:
                distance = _distance(metric, q, flat, base, lanes)
            if not math.isfinite(distance):
                return number
            held = push(out_ids, out, place, held, k, number, distance)
            if held == k:
                limit = _limit(metric, out[place], slack[first + i], lengths[first + i], error)
        finish(out_ids, out, place, held, k)
    return -1
