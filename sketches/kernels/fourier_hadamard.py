"""Kernels of random Fourier features whose frequencies are rows of Hadamard matrices with random signs.

A transform only adds and subtracts float64 numbers, in a fixed order. So the integers are the same on every
machine, and the phases of rows far from 0 are as exact as those of products with a matrix.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .fourier import add_cosines, tell_cosines

__all__ = ["add_hadamard", "hadamard_terms"]


@helper
def _is_odd(power):
    """Tell whether a power of two has an odd exponent."""
    return power & 0x5555555555555555 == 0


@helper
def _transform(source, target):
    """Compute the Walsh-Hadamard transform of `source`, of a power of two, and return where it is.

    Every step joins the first half of the numbers with the second one, and writes the sum and the difference
    next to each other. All steps are then the same loop, over neighbouring numbers. Most loops do two steps.
    """
    size, left = source.size, source.size
    half, quarter = size // 2, size // 4
    while left > 1:
        if _is_odd(left):
            a, b, pairs = source[:half], source[half:], target.reshape(half, 2)
            for j in range(half):
                pairs[j, 0], pairs[j, 1] = a[j] + b[j], a[j] - b[j]
            left //= 2
        else:
            a, b = source[:quarter], source[quarter:half]
            c, d = source[half : half + quarter], source[half + quarter :]
            fours = target.reshape(quarter, 4)
            for j in range(quarter):
                e, f, g, h = a[j] + c[j], b[j] + d[j], a[j] - c[j], b[j] - d[j]
                fours[j, 0], fours[j, 1], fours[j, 2], fours[j, 3] = e + f, e - f, g + h, g - h
            left //= 4
        source, target = target, source
    return source, target


@helper
def _turns(row, width, signs, scales, one, two, turns):
    """Set ``turns[j]`` to ``scales[j]`` times coordinate j of H D3 H D2 H D1 of the row over the width."""
    for j in range(row.size):
        one[j] = np.float64(row[j]) / width * signs[0, j]
    one[row.size :] = 0.0
    one, two = _transform(one, two)
    for turn in range(1, 3):
        for j in range(one.size):
            one[j] *= signs[turn, j]
        one, two = _transform(one, two)
    for j in range(scales.size):
        turns[j] = one[j] * scales[j]


@kernel
def add_hadamard(X, width, signs, scales, weights, start, stop, sums):
    """Add the Fourier features of the rows [start, stop), times their weights, to sums.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    width : float64
        Rows lie within 2**30 widths of 0.
    signs : ndarray of shape (blocks, 3, size), float64
        Diagonals of 1 and -1; `size` is a power of two and at least d.
    scales : ndarray of shape (m,), float64
        Turns a unit of a coordinate, for m components in blocks of `size`.
    weights : ndarray of shape (n,) or (0,), int64
        If empty, each is 1.
    sums : ndarray of shape (2, m), int64
        As for `add_features_dense`.
    """
    size, m = signs.shape[2], scales.size
    one, two, turns = np.empty(size), np.empty(size), np.empty((1, size))
    for b in range(signs.shape[0]):
        first = b * size
        n = min(size, m - first)
        for i in range(start, stop):
            _turns(X[i], width, signs[b], scales[first : first + n], one, two, turns[0])
            add_cosines(turns, 1, first, n, weights, i, sums)


@kernel
def hadamard_terms(X, width, signs, scales, sums, start, stop, terms):
    """Set ``terms[i, c]`` to ``sums[0, c] cos_c(X[i]) + sums[1, c] sin_c(X[i])``, for i in [start, stop).

    Parameters
    ----------
    sums : ndarray of shape (2, m), float64
    terms : ndarray of shape (n, m), float64

    The others are as for `add_hadamard`.
    """
    size, m = signs.shape[2], scales.size
    one, two, turns = np.empty(size), np.empty(size), np.empty((1, size))
    for b in range(signs.shape[0]):
        first = b * size
        n = min(size, m - first)
        for i in range(start, stop):
            _turns(X[i], width, signs[b], scales[first : first + n], one, two, turns[0])
            tell_cosines(turns, 1, first, n, sums, i, terms)
