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

__all__ = ["ALL_ENCODED", "encode_queries", "encode_rows"]

#: What `encode_rows` and `encode_queries` return if no row is too long for float32.
ALL_ENCODED = -1
#: The number that stands for a coordinate of 1.
_ONE = float(1 << 23)
_LARGEST, _SMALLEST = 3.4028234663852886e38, 2.0**-126

#: Scales that are tried, as multiples of that at which the largest coordinate just reaches the end of the
#: grid, times 4096: from 0.5 to 4 in 128 equal ratios.
_SCALES = np.round(4096 * 0.5 * 8.0 ** (np.arange(128) / 127)).astype(np.int64)
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
    """Round a rotated row to integers, of at most 2**23; return the sum of squares and the largest."""
    largest = np.float32(0)
    for i in range(rotated.size):
        largest = max(largest, abs(rotated[i]))
    scale = power_of_two(np.float64(largest)) * _ONE
    squares, most = np.int64(0), np.int64(0)
    for i in range(rotated.size):
        number = np.int64(math.floor(np.float64(rotated[i]) * scale + 0.5))
        numbers[i] = number
        squares += number * number
        most = max(most, abs(number))
    return squares, most


@helper
def _scale_number(m, bits, most):
    return (_SCALES[m] << np.int64(bits - 1 + _POINT - 12)) // most


@helper
def _agreement(sizes, scale, top):
    """Return the squared cosine, up to a factor, of a row and its codeword at a scale."""
    product, squares = np.int64(0), np.int64(0)
    for i in range(sizes.size):
        odd = 2 * min(sizes[i] * scale >> _POINT, top) + 1
        product += sizes[i] * odd
        squares += odd * odd
    return np.float64(product) * np.float64(product) / np.float64(squares)


@helper
def _best_scale(sizes, bits, most):
    """Return the number of the scale whose codeword has the largest cosine with the row."""
    top = np.int64((1 << (bits - 1)) - 1)
    best, found = -1.0, 0
    for m in range(0, _SCALES.size, _STRIDE):
        value = _agreement(sizes, _scale_number(m, bits, most), top)
        if value > best:
            best, found = value, m
    centre = found
    for m in range(max(0, centre - _STRIDE + 1), min(_SCALES.size, centre + _STRIDE)):
        value = _agreement(sizes, _scale_number(m, bits, most), top)
        if value > best or (value == best and m < found):
            best, found = value, m
    return _scale_number(found, bits, most)


@helper
def _write_code(numbers, sizes, bits, most, code):
    """Write the planes of a row's code; return the product of the row and its codeword of odd integers."""
    words = numbers.size // 64
    scale, top = np.int64(0), np.int64((1 << (bits - 1)) - 1)
    if bits > 1:
        for i in range(numbers.size):
            sizes[i] = abs(numbers[i]) >> 8
        scale = _best_scale(sizes, bits, most >> 8)
    product = np.int64(0)
    code[:] = 0
    for w in range(words):
        for lane in range(64):
            i = 64 * w + lane
            level = np.int64(0)
            if bits > 1:
                level = min(sizes[i] * scale >> _POINT, top)
            product += abs(numbers[i]) * (2 * level + 1)
            step = level + top + 1 if numbers[i] >= 0 else top - level
            for b in range(bits):
                code[b * words + w] |= np.uint64((step >> b) & 1) << np.uint64(lane)
    return product


@kernel
def encode_rows(X, center, matrix, masks, bits, start, stop, codes, scales, radii, offsets):
    """Encode the rows [start, stop); return the first row that is too long for float32, or `ALL_ENCODED`.

    Parameters
    ----------
    X : ndarray of shape (n, d), float64
    center : ndarray of shape (d,), float64, or (0,) for the origin
    matrix, masks
        See `rotate_row`.
    bits : int
    codes : ndarray of shape (n, bits D / 64), uint64
        Bit i of plane b, which begins at word b D / 64, is bit b of the number of coordinate i, from 0 to
        2**bits - 1, where a number u stands for the odd integer 2 u - 2**bits + 1.
    scales, radii : ndarray of shape (n,), float32
        A scale times the product of a query with a codeword of odd integers estimates the product with the
        row; a radius is the row's distance from the centre.
    offsets : ndarray of shape (n,) or (0,), float32
        The products of the centre with rows less the centre; only with a centre.
    """
    d, size = X.shape[1], codes.shape[1] // bits * 64
    difference, source = np.empty(d), np.zeros(size, np.float32)
    rotated = np.empty(size, np.float32)
    numbers, sizes = np.empty(size, np.int64), np.empty(size, np.int64)
    center_scale = own_scale(center)
    center_numbers = (center * (center_scale * _ONE)).astype(np.int64)
    for i in range(start, stop):
        length, first, second = _center_row(X[i], center, difference, numbers, source)
        radius = length / first / second
        offset = 0.0
        if center.size:
            product = np.int64(0)
            for j in range(d):
                product += numbers[j] * center_numbers[j]
            offset = np.float64(product) / (_ONE * _ONE) / first / second / center_scale
            if not abs(offset) <= _LARGEST:
                return i
        if not radius <= _LARGEST:
            return i
        codes[i] = 0
        scale = 0.0
        if radius > 0.0:
            rotate_row(source, matrix, masks, rotated)
            squares, most = _round_rotated(rotated, numbers)
            product = _write_code(numbers, sizes, bits, most, codes[i])
            scale = radius * math.sqrt(np.float64(squares)) / np.float64(product)
        if scale < _SMALLEST:
            # The row is the centre, as far as float32 can tell.
            codes[i] = 0
            scale = radius = offset = 0.0
        scales[i], radii[i] = scale, radius
        if center.size:
            offsets[i] = offset
    return ALL_ENCODED


@kernel
def encode_queries(Q, center, matrix, masks, start, stop, planes, sums, steps, radii, errors):
    """Round the queries [start, stop); return the first that is too long for float32, or `ALL_ENCODED`.

    Parameters
    ----------
    Q, center, matrix, masks
        As in `encode_rows`.
    planes : ndarray of shape (n, P, D / 64), uint64
        Bit i of plane p is bit p of the number of coordinate i, in two's complement of P bits.
    sums : ndarray of shape (n,), int64
        The sums of the numbers.
    steps, radii, errors : ndarray of shape (n,), float64
        Numbers times the step are the rotated query; its length, and the length of the error of rounding.
    """
    d, n_planes, words = Q.shape[1], planes.shape[1], planes.shape[2]
    size, top = 64 * words, np.int64((1 << (n_planes - 1)) - 1)
    difference, source = np.empty(d), np.zeros(size, np.float32)
    rotated, numbers = np.empty(size, np.float32), np.empty(size, np.int64)
    for i in range(start, stop):
        length, first, second = _center_row(Q[i], center, difference, numbers, source)
        radius = length / first / second
        if not radius <= _LARGEST:
            return i
        planes[i] = 0
        sums[i], steps[i], errors[i], radii[i] = 0, 0.0, 0.0, radius
        if radius == 0.0:
            continue
        rotate_row(source, matrix, masks, rotated)
        squares, most = _round_rotated(rotated, numbers)
        total, wrong = np.int64(0), np.int64(0)
        for w in range(words):
            for lane in range(64):
                number = numbers[64 * w + lane]
                # The nearest integer: integers are divided downwards.
                nearest = (2 * number * top + most) // (2 * most)
                total += nearest
                rest = number * top - nearest * most
                wrong += (rest >> 6) * (rest >> 6)
                for p in range(n_planes):
                    planes[i, p, w] |= np.uint64((nearest >> p) & 1) << np.uint64(lane)
        unit = radius / math.sqrt(np.float64(squares)) / np.float64(top)
        sums[i], steps[i] = total, unit * np.float64(most)
        errors[i] = unit * 64.0 * math.sqrt(np.float64(wrong))
    return ALL_ENCODED
