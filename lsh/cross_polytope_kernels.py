"""Cross-polytope hashes: the nearest of the signed axes after a pseudo-random rotation.

Rotations are those of `hadamard`, a row at a time in registers. A rotation of `size` coordinates serves
``size // dimension`` hashes, each of its own `dimension` coordinates.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

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

#: All bits of a float32 but the sign.
MAGNITUDE = np.uint32(0x7FFFFFFF)
_WORD = ir.IntType(32)
_WORDS = ir.VectorType(_WORD, WIDTH)


def _magnitudes(context, builder, array_type, array, at):  # type: ignore[no-untyped-def]
    """The magnitudes of 16 coordinates from `at` on, in a register."""
    data = context.make_array(array_type)(context, builder, array).data
    pointer = builder.bitcast(builder.gep(data, [at]), _WORDS.as_pointer())
    return builder.and_(builder.load(pointer, align=4), ir.Constant(_WORDS, [int(MAGNITUDE)] * WIDTH))


@intrinsic
def _largest_magnitude(typing_context, words, first, count):  # type: ignore[no-untyped-def]
    """The largest magnitude among `count` coordinates, a multiple of 16, as the bits of a float32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, begin, size = arguments
        largest = cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * WIDTH))
        step = ir.Constant(size.type, WIDTH)
        with cgutils.for_range(builder, builder.udiv(size, step)) as loop:
            at = builder.add(begin, builder.mul(loop.index, step))
            found, held = _magnitudes(context, builder, signature.args[0], array, at), builder.load(largest)
            builder.store(builder.select(builder.icmp_unsigned(">", found, held), found, held), largest)
        kind = ir.FunctionType(_WORD, [_WORDS])
        reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.umax.v{WIDTH}i32")
        return builder.call(reduce, [builder.load(largest)])

    return types.uint32(words, types.intp, types.intp), generate


@intrinsic
def _as_large(typing_context, words, first, magnitude):  # type: ignore[no-untyped-def]
    """Which of 16 coordinates from `first` on have this magnitude: bits of a mask."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, at, wanted = arguments
        undefined = ir.Constant(_WORDS, ir.Undefined)
        one = builder.insert_element(undefined, wanted, _WORD(0))
        everywhere = builder.shuffle_vector(one, undefined, ir.Constant(_WORDS, [0] * WIDTH))
        found = _magnitudes(context, builder, signature.args[0], array, at)
        equal = builder.icmp_unsigned("==", found, everywhere)
        return builder.zext(builder.bitcast(equal, ir.IntType(WIDTH)), ir.IntType(64))

    return types.int64(words, types.intp, types.uint32), generate


@njit(cache=True, nogil=True)
def _nearest_axis(words, first, dimension):  # type: ignore[no-untyped-def]
    """Of one hash's coordinates the largest in magnitude, the first of equal ones: twice its place, plus
    one if it is negative.

    `words` are the bits of the coordinates: without the sign they are ordered as the magnitudes, and
    integers are compared in registers where Numba's floats are not.
    """
    if dimension < WIDTH:
        best, largest = first, words[first] & MAGNITUDE
        for j in range(first + 1, first + dimension):
            if words[j] & MAGNITUDE > largest:
                best, largest = j, words[j] & MAGNITUDE
        return 2 * (best - first) + np.int64(words[best] >> np.uint32(31))
    largest = _largest_magnitude(words, first, dimension)  # type: ignore[call-arg]
    place = np.int64(0)
    while True:
        # Which of 16 coordinates are as large: bits of a mask.
        mask = _as_large(words, first + place, largest)  # type: ignore[call-arg]
        if mask:
            break
        place += WIDTH
    while not mask & 1:
        mask >>= 1
        place += 1
    return 2 * place + np.int64(words[first + place] >> np.uint32(31))


@njit(cache=True, nogil=True)
def _place(value, size, dimension):  # type: ignore[no-untyped-def]
    """The rotation that elementary hash number `value` belongs to, and its first coordinate there."""
    each = size // dimension
    return value // each, value % each * dimension


@njit(cache=True, nogil=True)
def _row_codes(source, masks, block, values, dimension, power, keys, n_buckets, out):  # type: ignore[no-untyped-def]
    """Codes of one row. Elementary hash ``h * power + k`` is the k-th of hash h."""
    words = block.view(np.uint32)
    rotation = -1
    for v in range(values.size):
        turn, first = _place(v, block.size, dimension)
        if turn != rotation:
            _rotate(source, masks[turn], block)
            rotation = turn
        values[v] = _nearest_axis(words, first, dimension)
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
    scaling = np.empty(WIDTH, X.dtype)
    values = np.empty(power * out.shape[1], np.int64)
    for i in range(start, stop):
        _scale_dense(X[i], scaling, source)
        _row_codes(source, masks, block, values, dimension, power, keys, n_buckets, out[i])


@njit(cache=True, nogil=True)
def cross_polytope_codes_csr(  # type: ignore[no-untyped-def]
    indptr, indices, data, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """`cross_polytope_codes_dense` for sparse rows, which are never made dense but one at a time."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    values = np.empty(power * out.shape[1], np.int64)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_codes(source, masks, block, values, dimension, power, keys, n_buckets, out[i])
        _clear(indices[a:b], source)


@njit(cache=True, nogil=True)
def _row_probes(source, masks, block, dimension, power, keys, n_buckets, out):  # type: ignore[no-untyped-def]
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
    words = block.view(np.uint32)
    rotation = -1
    for h in range(n_hashes):
        found = 0
        for k in range(power):
            turn, first = _place(h * power + k, block.size, dimension)
            if turn != rotation:
                _rotate(source, masks[turn], block)
                rotation = turn
            values[k] = _nearest_axis(words, first, dimension)
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
    scaling = np.empty(WIDTH, X.dtype)
    for i in range(start, stop):
        _scale_dense(X[i], scaling, source)
        _row_probes(source, masks, block, dimension, power, keys, n_buckets, out[i])


@njit(cache=True, nogil=True)
def cross_polytope_probes_csr(  # type: ignore[no-untyped-def]
    indptr, indices, data, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """`cross_polytope_probes_dense` for sparse rows."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_probes(source, masks, block, dimension, power, keys, n_buckets, out[i])
        _clear(indices[a:b], source)
