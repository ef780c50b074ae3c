"""Signs of fast Hadamard projections: three rounds of random signs and a Walsh-Hadamard transform."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["LANES", "hadamard_products", "hadamard_signs"]

#: Rows that are transformed together: the float32 lanes of an AVX-512 register.
LANES = 16


@njit(cache=True, nogil=True)
def _transform(block, size):  # type: ignore[no-untyped-def]
    """Walsh-Hadamard transform of every lane of `block`, shape (size, LANES), in place.

    Two levels a pass, so that each value is loaded and stored half as often.
    """
    span = 1
    while span * 4 <= size:
        for left in range(0, size, 4 * span):
            for j in range(left, left + span):
                for lane in range(LANES):
                    a, b = block[j, lane], block[j + span, lane]
                    c, d = block[j + 2 * span, lane], block[j + 3 * span, lane]
                    e, f, g, h = a + b, a - b, c + d, c - d
                    block[j, lane] = e + g
                    block[j + span, lane] = f + h
                    block[j + 2 * span, lane] = e - g
                    block[j + 3 * span, lane] = f - h
        span *= 4
    if span < size:
        for j in range(span):
            for lane in range(LANES):
                a, b = block[j, lane], block[j + span, lane]
                block[j, lane] = a + b
                block[j + span, lane] = a - b


@njit(cache=True, nogil=True)
def hadamard_products(X, signs, out):  # type: ignore[no-untyped-def]
    """The projections of rows whose signs `hadamard_signs` packs: shape (n, n_values), float32."""
    n, size = X.shape[0], signs.shape[2]
    block = np.empty((size, LANES), np.float32)
    for first in range(0, n, LANES):
        rows = min(LANES, n - first)
        for b in range(signs.shape[0]):
            block[:] = 0
            for lane in range(rows):
                for j in range(X.shape[1]):
                    block[j, lane] = X[first + lane, j]
            for turn in range(3):
                for j in range(size):
                    for lane in range(LANES):
                        block[j, lane] *= signs[b, turn, j]
                _transform(block, size)
            for lane in range(rows):
                for j in range(min(size, out.shape[1] - b * size)):
                    out[first + lane, b * size + j] = block[j, lane]


@njit(cache=True, nogil=True)
def hadamard_signs(X, signs, n_hashes, power, out):  # type: ignore[no-untyped-def]
    """Codes of rows: bit k of code h is the sign of coordinate ``k * n_hashes + h`` of the projections.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
    signs : ndarray of shape (blocks, 3, size), float32
        Random signs; size is a power of two, at least d, and ``blocks * size >= n_hashes * power``.
    out : ndarray of shape (n, n_hashes), uint32

    Notes
    -----
    Every lane adds in one fixed order, so a row's code does not depend on the rows beside it. For each
    row and block 3 size log2(size) additions in a block of 64 size bytes.
    """
    n, size = X.shape[0], signs.shape[2]
    lanes = np.zeros((size, LANES), np.float32)
    block = np.empty((size, LANES), np.float32)
    codes = np.empty((n_hashes, LANES), np.uint32)
    for first in range(0, n, LANES):
        rows = min(LANES, n - first)
        codes[:] = 0
        for lane in range(rows):
            for j in range(X.shape[1]):
                lanes[j, lane] = X[first + lane, j]
        for b in range(signs.shape[0]):
            for j in range(size):
                for lane in range(LANES):
                    block[j, lane] = lanes[j, lane] * signs[b, 0, j]
            _transform(block, size)
            for turn in range(1, 3):
                for j in range(size):
                    for lane in range(LANES):
                        block[j, lane] *= signs[b, turn, j]
                _transform(block, size)
            for j in range(min(size, n_hashes * power - b * size)):
                place = b * size + j
                bit = np.uint32(place // n_hashes)
                code = codes[place % n_hashes]
                for lane in range(LANES):
                    code[lane] |= np.uint32(block[j, lane] >= 0) << bit
        for lane in range(rows):
            for h in range(n_hashes):
                out[first + lane, h] = codes[h, lane]
