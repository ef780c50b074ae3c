"""Cross-polytope hashes: the nearest of the signed axes after a pseudo-random rotation.

Rotations are those of `hadamard`, a row at a time in registers. A rotation of `size` coordinates serves
``size // dimension`` hashes, each of its own `dimension` coordinates.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .hadamard import _clear, _rotate, _scale_dense, _scatter
from .hadamard_registers import WIDTH
from .minhash_kernels import mix64
from .probing_kernels import least_changes, likeliest_sets

__all__ = [
    "cross_polytope_codes_csr",
    "cross_polytope_codes_dense",
    "cross_polytope_probes_csr",
    "cross_polytope_probes_dense",
]


@njit(cache=True, nogil=True)
def _nearest_axis(block, first, dimension, lanes):  # type: ignore[no-untyped-def]
    """Of coordinates of one hash the largest in magnitude, the first of equal ones: twice its place, plus
    one if it is negative."""
    if dimension >= WIDTH:
        # The largest first, in a loop that vectorises, and then where it stands.
        lanes[:] = 0
        for j in range(first, first + dimension, WIDTH):
            for lane in range(WIDTH):
                lanes[lane] = max(lanes[lane], abs(block[j + lane]))
        largest = lanes[0]
        for lane in range(1, WIDTH):
            largest = max(largest, lanes[lane])
        for j in range(first, first + dimension, WIDTH):
            found = False
            for lane in range(WIDTH):
                found |= abs(block[j + lane]) == largest
            if found:
                for lane in range(WIDTH):
                    if abs(block[j + lane]) == largest:
                        return 2 * (j + lane - first) + (block[j + lane] < 0)
    best = first
    for j in range(first + 1, first + dimension):
        if abs(block[j]) > abs(block[best]):
            best = j
    return 2 * (best - first) + (block[best] < 0)


@njit(cache=True, nogil=True)
def _place(value, size, dimension):  # type: ignore[no-untyped-def]
    """The rotation that elementary hash number `value` belongs to, and its first coordinate there."""
    each = size // dimension
    return value // each, value % each * dimension


@njit(cache=True, nogil=True)
def _row_codes(source, masks, block, lanes, values, dimension, power, keys, n_buckets, out):  # type: ignore[no-untyped-def]
    """Codes of one row. Elementary hash ``h * power + k`` is the k-th of hash h."""
    rotation = -1
    for v in range(values.size):
        turn, first = _place(v, block.size, dimension)
        if turn != rotation:
            _rotate(source, masks[turn], block)
            rotation = turn
        values[v] = _nearest_axis(block, first, dimension, lanes)
    for h in range(out.size):
        out[h] = _code(values, h * power, power, 2 * dimension, h, keys, n_buckets)


@njit(cache=True, nogil=True)
def _code(values, first, power, base, h, keys, n_buckets):  # type: ignore[no-untyped-def]
    """The code of `power` values: their digits in `base`, or mixed into buckets where there are keys."""
    if keys.size == 0:
        code = np.uint64(0)
        for k in range(power):
            code = code * np.uint64(base) + np.uint64(values[first + k])
        return np.uint32(code)
    word = keys[h]
    for k in range(power):
        word = mix64(word ^ np.uint64(values[first + k]))
    return np.uint32(((word >> np.uint64(32)) * n_buckets) >> np.uint64(32))


@njit(cache=True, nogil=True)
def cross_polytope_codes_dense(X, masks, dimension, power, keys, n_buckets, start, stop, out):  # type: ignore[no-untyped-def]
    """Codes of the rows [start, stop).

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    masks : ndarray of shape (rotations, 3 size / 16), uint16
        Random signs, as for `hadamard_signs_dense`; ``rotations * (size // dimension)`` is at least
        the number of elementary hashes, ``power * out.shape[1]``.
    dimension : int
        Coordinates of an elementary hash, a power of two up to size.
    keys : ndarray of shape (n_hashes,), uint64
        What codes are mixed with into n_buckets; empty if a code is its values' digits.
    out : ndarray of shape (n, n_hashes), uint32
    """
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    scaling, lanes = np.empty(WIDTH, X.dtype), np.empty(WIDTH, np.float32)
    values = np.empty(power * out.shape[1], np.int64)
    for i in range(start, stop):
        _scale_dense(X[i], scaling, source)
        _row_codes(source, masks, block, lanes, values, dimension, power, keys, n_buckets, out[i])


@njit(cache=True, nogil=True)
def cross_polytope_codes_csr(  # type: ignore[no-untyped-def]
    indptr, indices, data, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """`cross_polytope_codes_dense` for sparse rows, which are never made dense but one at a time."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    lanes = np.empty(WIDTH, np.float32)
    values = np.empty(power * out.shape[1], np.int64)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_codes(source, masks, block, lanes, values, dimension, power, keys, n_buckets, out[i])
        _clear(indices[a:b], source)


@njit(cache=True, nogil=True)
def _row_probes(source, masks, block, lanes, dimension, power, keys, n_buckets, out):  # type: ignore[no-untyped-def]
    """Codes of the likeliest cells of one row, into ``out[h, probe]``.

    Going from the nearest axis to another one costs the square of the difference of the coordinates'
    magnitudes: noise moves that difference as it moves any projection.
    """
    n_hashes, n_probes = out.shape
    base, keep = 2 * dimension, min(dimension, n_probes)
    values, moved = np.empty(power, np.int64), np.empty(power, np.int64)
    costs = np.empty(dimension)
    axes, axis_costs = np.empty(keep, np.int64), np.empty(keep)
    ways = power * (keep - 1)
    scores = np.empty(ways)
    digits, places = np.empty(ways, np.int64), np.empty(ways, np.int64)
    held = min(ways, n_probes - 1)
    sorted_scores, groups = np.empty(held), np.empty(held, np.int64)
    changes = np.empty(held, np.int64)
    order, totals = np.empty(n_probes, np.int64), np.empty(2 * n_probes)
    prefixes, lasts = np.empty(2 * n_probes, np.int64), np.empty(2 * n_probes, np.int64)
    heap = np.empty(2 * n_probes, np.int64)
    rotation = -1
    for h in range(n_hashes):
        found = 0
        for k in range(power):
            turn, first = _place(h * power + k, block.size, dimension)
            if turn != rotation:
                _rotate(source, masks[turn], block)
                rotation = turn
            values[k] = _nearest_axis(block, first, dimension, lanes)
            best = values[k] // 2
            largest = np.float64(abs(block[first + best]))
            for j in range(dimension):
                difference = largest - np.float64(abs(block[first + j]))
                costs[j] = difference * difference
            # Below every other, for ties must not put another axis before the hash's own.
            costs[best] = -1.0
            kept = least_changes(costs, dimension, keep, axes, axis_costs)
            for a in range(1, kept):
                scores[found] = axis_costs[a]
                digits[found] = 2 * axes[a] + (block[first + axes[a]] < 0)
                places[found] = k
                found += 1
        n = least_changes(scores, found, held, changes, sorted_scores) if held else 0
        for c in range(n):
            groups[c] = places[changes[c]]
        likeliest_sets(sorted_scores, groups, n, n_probes, order, totals, prefixes, lasts, heap)
        for r in range(n_probes):
            moved[:] = values
            node = order[r]
            while node > 0:
                change = changes[lasts[node]]
                moved[places[change]] = digits[change]
                node = prefixes[node]
            out[h, r] = _code(moved, 0, power, base, h, keys, n_buckets)


@njit(cache=True, nogil=True)
def cross_polytope_probes_dense(X, masks, dimension, power, keys, n_buckets, start, stop, out):  # type: ignore[no-untyped-def]
    """Codes of the likeliest cells of the rows [start, stop), ``out[i, h, probe]``; the first its own."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    scaling, lanes = np.empty(WIDTH, X.dtype), np.empty(WIDTH, np.float32)
    for i in range(start, stop):
        _scale_dense(X[i], scaling, source)
        _row_probes(source, masks, block, lanes, dimension, power, keys, n_buckets, out[i])


@njit(cache=True, nogil=True)
def cross_polytope_probes_csr(  # type: ignore[no-untyped-def]
    indptr, indices, data, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """`cross_polytope_probes_dense` for sparse rows."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    lanes = np.empty(WIDTH, np.float32)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_probes(source, masks, block, lanes, dimension, power, keys, n_buckets, out[i])
        _clear(indices[a:b], source)
