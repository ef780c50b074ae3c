"""Codes of vectors and of queries: centred, rotated, and rounded to few bits a coordinate.

All that follows the rotation is computed with integers: coordinates are rounded to 2**-23 of the largest one.
So sums depend on no order, and every processor finds the same codes.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.products import own_scale, power_of_two
from .vector_rotation import rotate_row

__all__ = ["ALL_ROTATED", "SCALE_RATIOS", "encode_rows", "rotate_rows", "round_queries"]

#: What `rotate_rows` returns if no row is too long for float32.
ALL_ROTATED = -1
#: The number that stands for a coordinate of 1.
_ONE = float(1 << 23)
#: The longest row, and the least distance from the centre: its scale is still a normal number of float32.
_LARGEST, _SMALLEST = 3.4028234663852886e38, 2.0**-110

#: Scales that are tried, as multiples of that at which the largest coordinate just reaches the end of the
#: grid, times 4096: from 0.5 to 4 in 128 equal ratios.
SCALE_RATIOS = np.round(4096 * 0.5 * 8.0 ** (np.arange(128) / 127)).astype(np.int64)
#: Every so many scales are tried first, and then those around the best of them.
_STRIDE = 8
#: Bits behind the point of products of coordinates and scales.
_POINT = 21


@helper
def _center_row(row, center, difference, numbers, source):
    """Subtract the centre from a row, and scale the difference into [-1, 1].

    It is written to `numbers`, rounded to integers, and to `source` as float32. Return its length, of which
    the scale has been taken out, and the scale's two factors.
    """
    largest = 0.0
    for j in range(row.size):
        largest = max(largest, abs(row[j]))
    for j in range(center.size):
        largest = max(largest, abs(center[j]))
    first = power_of_two(largest)
    largest = 0.0
    for j in range(row.size):
        difference[j] = row[j] * first
        if center.size:
            difference[j] -= center[j] * first
        largest = max(largest, abs(difference[j]))
    second = power_of_two(largest)
    total = np.int64(0)
    for j in range(row.size):
        scaled = difference[j] * second
        source[j] = scaled
        numbers[j] = np.int64(math.floor(scaled * _ONE + 0.5))
        total += numbers[j] * numbers[j]
    return math.sqrt(np.float64(total)) / _ONE, first, second


@helper
def _round_rotated(rotated, numbers):
    """Round a rotated row to integers, of at most 2**23; return the sum of squares."""
    largest = np.float32(0)
    for i in range(rotated.size):
        largest = max(largest, abs(rotated[i]))
    scale, squares = power_of_two(np.float64(largest)) * _ONE, np.int64(0)
    for i in range(rotated.size):
        number = np.int64(math.floor(np.float64(rotated[i]) * scale + 0.5))
        numbers[i] = number
        squares += number * number
    return squares


@helper
def _largest(numbers):
    """Return the largest magnitude of some integers."""
    largest = np.int32(0)
    for i in range(numbers.size):
        largest = max(largest, abs(numbers[i]))
    return largest


@helper
def _scale_number(m, bits, most):
    return np.int32((SCALE_RATIOS[m] << np.int64(bits - 1 + _POINT - 12)) // most)


@helper
def _agreement(magnitudes, scale, top):
    """Return the squared cosine, up to a factor, of a row and its codeword at a scale."""
    product, squares = np.int64(0), np.int64(0)
    for i in range(magnitudes.size):
        level = min(np.int32(np.int32(magnitudes[i] * scale) >> np.int32(_POINT)), top)
        odd = np.int32(level + level + np.int32(1))
        product += np.int32(magnitudes[i] * odd)
        squares += np.int32(odd * odd)
    return np.float64(product) * np.float64(product) / np.float64(squares)


@helper
def _best_scale(magnitudes, bits, most):
    """Return the scale whose codeword has the largest cosine with the row."""
    top = np.int32((1 << (bits - 1)) - 1)
    best, found = -1.0, 0
    for m in range(0, SCALE_RATIOS.size, _STRIDE):
        value = _agreement(magnitudes, _scale_number(m, bits, most), top)
        if value > best:
            best, found = value, m
    middle = found
    for m in range(max(0, middle - _STRIDE + 1), min(SCALE_RATIOS.size, middle + _STRIDE)):
        value = _agreement(magnitudes, _scale_number(m, bits, most), top)
        if value > best or (value == best and m < found):
            best, found = value, m
    return _scale_number(found, bits, most)


@helper
def _write_code(numbers, magnitudes, bits, code):
    """Write the planes of a row's code; return the product of the row and its codeword of odd integers."""
    words = numbers.size // 64
    scale, top = np.int32(0), np.int64((1 << (bits - 1)) - 1)
    if bits > 1:
        # Products of 15 and 16 bits fit 32.
        for i in range(numbers.size):
            magnitudes[i] = abs(numbers[i]) >> 8
        scale = _best_scale(magnitudes, bits, np.int64(_largest(numbers) >> 8))
    product = np.int64(0)
    for w in range(words):
        for lane in range(64):
            i = 64 * w + lane
            level = np.int64(0)
            if bits > 1:
                level = min(np.int64((magnitudes[i] * scale) >> np.int32(_POINT)), top)
            product += np.int64(abs(numbers[i])) * (2 * level + 1)
            step = level + top + 1 if numbers[i] >= 0 else top - level
            for b in range(bits):
                code[b * words + w] |= np.uint64((step >> b) & 1) << np.uint64(lane)
    return product


@kernel
def rotate_rows(X, center, matrix, masks, start, stop, numbers, sizes, radii, offsets):
    """Centre and rotate the rows [start, stop); return the first that is too long, or `ALL_ROTATED`.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
    center : ndarray of shape (d,), float64, or (0,) for the origin
    matrix, masks
        See `rotate_row`.
    numbers : ndarray of shape (n, D), int32
        The rotated rows, each in a unit of its own: at most 2**23 in size, and 0 for a row at the centre.
    sizes : ndarray of shape (n,), float64
        The lengths of `numbers`.
    radii, offsets : ndarray of shape (n,), float64
        The distances of rows from the centre, and the products of the centre with rows less the centre.
    """
    d, size = X.shape[1], numbers.shape[1]
    difference, source = np.empty(d), np.zeros(size, np.float32)
    rotated, integers = np.empty(size, np.float32), np.empty(size, np.int64)
    center_scale = own_scale(center)
    for i in range(start, stop):
        length, first, second = _center_row(X[i], center, difference, integers, source)
        radii[i], offsets[i] = length / first / second, 0.0
        if center.size:
            product = np.int64(0)
            for j in range(d):
                product += integers[j] * np.int64(center[j] * (center_scale * _ONE))
            offsets[i] = np.float64(product) / (_ONE * _ONE) / first / second / center_scale
        if not (radii[i] <= _LARGEST and abs(offsets[i]) <= _LARGEST):
            return i
        if radii[i] < _SMALLEST:
            # The row is the centre, as far as float32 can tell.
            radii[i] = offsets[i] = sizes[i] = 0.0
            numbers[i] = 0
            continue
        rotate_row(source, matrix, masks, rotated)
        sizes[i] = math.sqrt(np.float64(_round_rotated(rotated, numbers[i])))
    return ALL_ROTATED


@kernel
def encode_rows(numbers, sizes, radii, bits, start, stop, codes, scales):
    """Encode the rows [start, stop) that have been rotated.

    Parameters
    ----------
    numbers, sizes, radii
        See `rotate_rows`.
    bits : int
    codes : ndarray of shape (n, bits D / 64), uint64
        Bit i of plane b, which begins at word b D / 64, is bit b of the number of coordinate i, from 0 to
        2**bits - 1, where a number u stands for the odd integer 2 u - 2**bits + 1.
    scales : ndarray of shape (n,), float32
        A scale times the product of a query with a codeword of odd integers estimates that with the row less
        the centre.
    """
    magnitudes = np.empty(numbers.shape[1], np.int32)
    for i in range(start, stop):
        codes[i], scales[i] = 0, 0.0
        if radii[i] > 0.0:
            product = _write_code(numbers[i], magnitudes, bits, codes[i])
            scales[i] = radii[i] * sizes[i] / np.float64(product)


@kernel
def round_queries(numbers, sizes, radii, start, stop, planes, sums, steps, errors):
    """Round the queries [start, stop), which have been rotated.

    Parameters
    ----------
    numbers, sizes, radii
        See `rotate_rows`.
    planes : ndarray of shape (n, P, D / 64), uint64
        Bit i of plane p is bit p of the number of coordinate i, in two's complement of P bits.
    sums : ndarray of shape (n,), int64
        The sums of the numbers.
    steps, errors : ndarray of shape (n,), float64
        Numbers times the step are the rotated query, with an error of the given length at a right angle to
        it, so that products with rows in the query's direction have no bias.
    """
    n_planes, words = planes.shape[1], planes.shape[2]
    top = np.int64((1 << (n_planes - 1)) - 1)
    for i in range(start, stop):
        planes[i] = 0
        sums[i], steps[i], errors[i] = 0, 0.0, 0.0
        if radii[i] == 0.0:
            continue
        total, product, squares, most = np.int64(0), np.int64(0), np.int64(0), np.int64(_largest(numbers[i]))
        for w in range(words):
            for lane in range(64):
                number = np.int64(numbers[i, 64 * w + lane])
                # The nearest integer: integers are divided downwards.
                nearest = (2 * number * top + most) // (2 * most)
                total += nearest
                product += number * nearest
                squares += nearest * nearest
                for p in range(n_planes):
                    planes[i, p, w] |= np.uint64((nearest >> p) & 1) << np.uint64(lane)
        sums[i], steps[i] = total, radii[i] * sizes[i] / np.float64(product)
        secant = np.float64(squares) * (sizes[i] * sizes[i]) / (np.float64(product) * np.float64(product))
        errors[i] = radii[i] * math.sqrt(max(0.0, secant - 1.0))
