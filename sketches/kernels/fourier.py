"""Kernels of random Fourier features: integer sums of cosines and sines, and what queries read from them.

Every product is added up in float64, in the order of the features, and cosines and sines are polynomials of
plain multiplications and additions. So the integers are the same on every machine, and zeros change nothing:
sparse rows have the features of dense ones.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["ONE", "add_features_csr", "add_features_dense", "fourier_terms_csr", "fourier_terms_dense"]

#: The integer that stands for a cosine of 1.
ONE = 1 << 20
#: Adding this number to one of at most 2**51, and subtracting it, rounds to an integer, halves to even.
_ROUNDER = 1.5 * 2.0**52
#: Rows and components that are worked on together: their phases stay in the first-level cache.
_ROWS, _TILE = 16, 128
_TURN = 2.0 * math.pi
#: Taylor's coefficients of the sine and of the cosine, after the first.
_S = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(1, 6))
_C = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(1, 7))


@helper
def _turns_dense(X, width, frequencies, left, n, first, size, turns):
    """Set ``turns[i, v]`` to the product of ``X[left + i] / width`` and column first + v of `frequencies`."""
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = turns[i], turns[i + 1], turns[i + 2], turns[i + 3]
        for v in range(size):
            a[v] = b[v] = c[v] = d[v] = 0.0
        for j in range(X.shape[1]):
            w = frequencies[j, first : first + size]
            xa, xb = np.float64(X[left + i, j]) / width, np.float64(X[left + i + 1, j]) / width
            xc, xd = np.float64(X[left + i + 2, j]) / width, np.float64(X[left + i + 3, j]) / width
            if xa == 0.0 and xb == 0.0 and xc == 0.0 and xd == 0.0:
                continue
            for v in range(size):
                a[v] += xa * w[v]
                b[v] += xb * w[v]
                c[v] += xc * w[v]
                d[v] += xd * w[v]
    for i in range(whole, n):
        a = turns[i]
        a[:size] = 0.0
        for j in range(X.shape[1]):
            w = frequencies[j, first : first + size]
            xa = np.float64(X[left + i, j]) / width
            for v in range(size):
                a[v] += xa * w[v]


@helper
def _turns_csr(indptr, indices, data, width, frequencies, left, n, first, size, turns):
    """Compute the products of sparse rows, whose indices rise, as `_turns_dense` does."""
    for i in range(n):
        a = turns[i]
        a[:size] = 0.0
        for place in range(indptr[left + i], indptr[left + i + 1]):
            w = frequencies[indices[place], first : first + size]
            x = np.float64(data[place]) / width
            for v in range(size):
                a[v] += x * w[v]


@helper
def _cosine_and_sine(turns):
    """Return the cosine and the sine of an angle in turns, to 1e-11."""
    part = turns - math.floor(turns)
    quarter = math.floor(4.0 * part + 0.5)
    angle = _TURN * (part - 0.25 * quarter)
    s = angle * angle  # at most (pi / 4)**2
    sine = angle * (1.0 + s * (_S[0] + s * (_S[1] + s * (_S[2] + s * (_S[3] + s * _S[4])))))
    cosine = 1.0 + s * (_C[0] + s * (_C[1] + s * (_C[2] + s * (_C[3] + s * (_C[4] + s * _C[5])))))
    swapped = quarter == 1.0 or quarter == 3.0
    below, left = quarter == 2.0 or quarter == 3.0, quarter == 1.0 or quarter == 2.0
    across, up = (sine, cosine) if swapped else (cosine, sine)
    return -across if left else across, -up if below else up


@helper
def add_cosines(turns, n, first, size, weights, start, sums):
    """Add the features of n rows, which have these phases, to the sums of a tile of components."""
    cosines, sines = sums[0, first : first + size], sums[1, first : first + size]
    for i in range(n):
        weight = weights[start + i] if weights.size else np.int64(1)
        for v in range(size):
            cosine, sine = _cosine_and_sine(turns[i, v])
            cosines[v] += weight * np.int64((cosine * ONE + _ROUNDER) - _ROUNDER)
            sines[v] += weight * np.int64((sine * ONE + _ROUNDER) - _ROUNDER)


@helper
def tell_cosines(turns, n, first, size, sums, left, terms):
    """Set the terms of n query rows, which have these phases, for a tile of components."""
    cosines, sines = sums[0, first : first + size], sums[1, first : first + size]
    for i in range(n):
        out = terms[left + i, first : first + size]
        for v in range(size):
            cosine, sine = _cosine_and_sine(turns[i, v])
            out[v] = cosines[v] * cosine + sines[v] * sine


@kernel
def add_features_dense(X, width, frequencies, weights, start, stop, sums):
    """Add the Fourier features of the rows [start, stop), times their weights, to sums.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    width : float64
        Rows lie within 2**30 widths of 0.
    frequencies : ndarray of shape (d, m), float64
        In turns a width.
    weights : ndarray of shape (n,) or (0,), int64
        If empty, each is 1.
    sums : ndarray of shape (2, m), int64
        Sums of cosines, and of sines, each rounded to a multiple of 1 / ONE.
    """
    turns = np.empty((_ROWS, _TILE))
    for first in range(0, frequencies.shape[1], _TILE):
        size = min(_TILE, frequencies.shape[1] - first)
        for left in range(start, stop, _ROWS):
            n = min(_ROWS, stop - left)
            _turns_dense(X, width, frequencies, left, n, first, size, turns)
            add_cosines(turns, n, first, size, weights, left, sums)


@kernel
def add_features_csr(indptr, indices, data, width, frequencies, weights, start, stop, sums):
    """Add the features of sparse rows, whose indices rise, as `add_features_dense` does."""
    turns = np.empty((_ROWS, _TILE))
    for first in range(0, frequencies.shape[1], _TILE):
        size = min(_TILE, frequencies.shape[1] - first)
        for left in range(start, stop, _ROWS):
            n = min(_ROWS, stop - left)
            _turns_csr(indptr, indices, data, width, frequencies, left, n, first, size, turns)
            add_cosines(turns, n, first, size, weights, left, sums)


@kernel
def fourier_terms_dense(X, width, frequencies, sums, start, stop, terms):
    """Set ``terms[i, c]`` to ``sums[0, c] cos_c(X[i]) + sums[1, c] sin_c(X[i])``, for i in [start, stop).

    Parameters
    ----------
    sums : ndarray of shape (2, m), float64
    terms : ndarray of shape (n, m), float64

    The others are as for `add_features_dense`.
    """
    turns = np.empty((_ROWS, _TILE))
    for first in range(0, frequencies.shape[1], _TILE):
        size = min(_TILE, frequencies.shape[1] - first)
        for left in range(start, stop, _ROWS):
            n = min(_ROWS, stop - left)
            _turns_dense(X, width, frequencies, left, n, first, size, turns)
            tell_cosines(turns, n, first, size, sums, left, terms)


@kernel
def fourier_terms_csr(indptr, indices, data, width, frequencies, sums, start, stop, terms):
    """Compute the terms of sparse rows, whose indices rise, as `fourier_terms_dense` does."""
    turns = np.empty((_ROWS, _TILE))
    for first in range(0, frequencies.shape[1], _TILE):
        size = min(_TILE, frequencies.shape[1] - first)
        for left in range(start, stop, _ROWS):
            n = min(_ROWS, stop - left)
            _turns_csr(indptr, indices, data, width, frequencies, left, n, first, size, turns)
            tell_cosines(turns, n, first, size, sums, left, terms)
