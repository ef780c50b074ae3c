"""Random rotations of rows of any width: by a matrix for few columns, by Hadamard transforms for many.

Every operation has one order, so that all processors rotate a row to the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.hadamard import rotate

__all__ = ["draw_rotation", "rotate_row"]

#: Factor of the sums and differences of two coordinates that keeps lengths.
_HALF_ROOT = np.float32(math.sqrt(0.5))


@kernel
def draw_rotation(normals, out):
    """Write a random orthogonal matrix, uniform over all of them, to `out`.

    It is a product of reflections along random vectors of 2, 3, ... d normal numbers (Stewart 1980).

    Parameters
    ----------
    normals : ndarray of shape (d (d + 1) / 2,), float64
    out : ndarray of shape (d, d), float64
        The identity matrix.
    """
    d, at = out.shape[0], 0
    for first in range(d - 1, -1, -1):
        vector = normals[at : at + d - first].copy()
        at += d - first
        length = 0.0
        for j in range(vector.size):
            length += vector[j] * vector[j]
        sign = 1.0 if vector[0] >= 0.0 else -1.0
        vector[0] += sign * math.sqrt(length)
        length = 0.0
        for j in range(vector.size):
            length += vector[j] * vector[j]
        for i in range(d):
            # The reflection, whose sign is such that the matrix is uniform.
            product = 0.0
            for j in range(vector.size):
                product += out[i, first + j] * vector[j]
            product *= 2.0 / length
            for j in range(vector.size):
                out[i, first + j] = -sign * (out[i, first + j] - product * vector[j])


@helper
def _mix_halves(row):
    """Replace the coordinates i and i + d // 2 by their sum and their difference, for all i."""
    half = row.size // 2
    for i in range(half):
        a, b = row[i], row[i + half]
        row[i] = (a + b) * _HALF_ROOT
        row[i + half] = (a - b) * _HALF_ROOT


@helper
def _multiply(source, matrix, out):
    """Write a row times a matrix to `out`; every sum adds the row's coordinates in their order."""
    d = out.size
    out[:] = 0
    whole = d - d % 4
    for j in range(0, whole, 4):
        a, b, c, e = source[j], source[j + 1], source[j + 2], source[j + 3]
        first, second, third, fourth = matrix[j], matrix[j + 1], matrix[j + 2], matrix[j + 3]
        for i in range(d):
            out[i] = (((out[i] + a * first[i]) + b * second[i]) + c * third[i]) + e * fourth[i]
    for j in range(whole, d):
        for i in range(d):
            out[i] += source[j] * matrix[j, i]


@helper
def rotate_row(source, matrix, masks, out):
    """Write a rotated row to `out`.

    Parameters
    ----------
    source : ndarray of shape (d,), float32
        The row, with numbers in [-1, 1].
    matrix : ndarray of shape (d, d), float32, or (0, 0)
        The transposed rotation, if there is one.
    masks : ndarray of shape (rotations, 3 size / 16), uint16
        Otherwise the signs of Hadamard rotations of `size` coordinates each, the largest power of two that is
        at most d: one rotation if that is d, and four if not. These rotate the first, the last, the first and
        the last coordinates. Between the second and the third, and at the end, both halves are mixed.
    """
    d = out.size
    if matrix.size:
        _multiply(source, matrix, out)
        return
    # An assignment of slices would take seconds to compile, for the text of its error.
    for i in range(d):
        out[i] = source[i]
    size = masks.shape[1] // 3 * 16
    # Three transforms multiply lengths by the root of size ** 3.
    scale = np.float32(1.0 / math.sqrt(float(size) ** 3))
    for turn in range(masks.shape[0]):
        first = 0 if turn % 2 == 0 else d - size
        block = out[first : first + size]
        rotate(block, masks[turn], block)
        for i in range(size):
            block[i] *= scale
        if turn % 2 == 1:
            _mix_halves(out)
