"""Kernels of the asymmetric transform: one more coordinate brings all rows to one length.

Norms are added up in one fixed order that zeros do not change, so dense and sparse rows have equal norms.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import helper, kernel
from .products import LANES, add_up, own_scale, power_of_two

__all__ = ["extend_rows_csr", "extend_rows_dense", "relative_norms_csr", "relative_norms_dense"]


@helper
def _sum_of_squares_dense(row, scale, sums):
    sums[:] = 0.0
    # The loop over lanes has no fixed length: else it would be unrolled before it is vectorised.
    for j in range(0, row.size, LANES):
        part = row[j : j + LANES]
        for lane in range(part.size):
            value = np.float64(part[lane]) * scale
            sums[lane] += value * value
    return add_up(sums)


@helper
def _sum_of_squares_csr(indices, data, scale, sums):
    sums[:] = 0.0
    for j in range(indices.size):
        value = np.float64(data[j]) * scale
        sums[indices[j] % LANES] += value * value
    return add_up(sums)


@helper
def _relative_norm_dense(row, bound, sums):
    """Return the Euclidean norm over `bound`; it is infinite only where float64 cannot hold it."""
    scale = power_of_two(bound)
    total = _sum_of_squares_dense(row, scale, sums)
    if total < np.inf:
        return math.sqrt(total) / (bound * scale)
    scale = own_scale(row)
    return math.sqrt(_sum_of_squares_dense(row, scale, sums)) / scale / bound


@helper
def _relative_norm_csr(indices, data, bound, sums):
    scale = power_of_two(bound)
    total = _sum_of_squares_csr(indices, data, scale, sums)
    if total < np.inf:
        return math.sqrt(total) / (bound * scale)
    scale = own_scale(data)
    return math.sqrt(_sum_of_squares_csr(indices, data, scale, sums)) / scale / bound


@kernel
def relative_norms_dense(X, bound, start, stop, norms):
    """Set ``norms[i]`` to the Euclidean norm of row i over `bound`, for the rows [start, stop)."""
    sums = np.empty(LANES, np.float64)
    for i in range(start, stop):
        norms[i] = _relative_norm_dense(X[i], bound, sums)


@kernel
def relative_norms_csr(indptr, indices, data, bound, start, stop, norms):
    """Compute the norms of sparse rows, whose indices rise, as `relative_norms_dense` does."""
    sums = np.empty(LANES, np.float64)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        norms[i] = _relative_norm_csr(indices[a:b], data[a:b], bound, sums)


@helper
def _missing(norm, bound):
    """Return the coordinate that brings a row of that norm over the bound to the bound; 0 for longer rows."""
    return bound * math.sqrt((1.0 - norm) * (1.0 + norm)) if norm < 1.0 else 0.0


@kernel
def extend_rows_dense(X, bound, column, start, stop, out, norms):
    """Copy the rows [start, stop), and write ``sqrt(bound**2 - |x|**2)`` to a column of its own.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    bound : float64
        A longer row has 0 in the new column; with a bound of 0 every row.
    column : int
        At least d.
    out : ndarray of shape (stop - start, at least column + 1), float64
        The rows; 0 in all other columns from d on.
    norms : ndarray of shape (n,), float64
        For the rows [start, stop): the norm over the bound, 0 with a bound of 0.
    """
    sums = np.empty(LANES, np.float64)
    d = X.shape[1]
    for i in range(start, stop):
        row, target = X[i], out[i - start]
        norms[i] = _relative_norm_dense(row, bound, sums) if bound > 0.0 else 0.0
        for j in range(d):
            target[j] = row[j]
        target[d:] = 0.0
        target[column] = _missing(norms[i], bound)


@kernel
def extend_rows_csr(indptr, indices, data, bound, column, start, stop, out, norms):
    """Extend sparse rows, whose indices rise, as `extend_rows_dense` does, by an entry at their end.

    Parameters
    ----------
    out : tuple of ndarrays
        ``(indptr, indices, data)`` of the extended rows, of shapes (stop - start + 1,), int64, and
        (entries + stop - start,), int64 and float64.
    """
    sums = np.empty(LANES, np.float64)
    new_indptr, new_indices, new_data = out
    new_indptr[0] = 0
    for i in range(start, stop):
        a, b, k = indptr[i], indptr[i + 1], i - start
        norms[i] = _relative_norm_csr(indices[a:b], data[a:b], bound, sums) if bound > 0.0 else 0.0
        first, last = new_indptr[k], new_indptr[k] + b - a
        for j in range(b - a):
            new_indices[first + j] = indices[a + j]
            new_data[first + j] = data[a + j]
        new_indices[last] = column
        new_data[last] = _missing(norms[i], bound)
        new_indptr[k + 1] = last + 1
