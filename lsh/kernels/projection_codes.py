"""From rows to codes in one pass: a block of rows is multiplied, packed and corrected tile by tile in cache.

The four kernels take dense or sparse rows, and turn products into signs or steps.
Each takes a range of rows, and a row's code depends on that row alone.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .multiply import PANEL, ROWS, longest_sum, multiply_panels
from .packing import absorb_steps, fix_signs, fix_steps, pack_signs, quantize, reduce_words
from .products import (
    csr_products,
    error_bounds,
    exact_dots_csr,
    exact_dots_dense,
    largest_of,
    longest_row,
    scale_rows_csr,
    scale_rows_dense,
)

__all__ = ["project_signs_csr", "project_signs_dense", "project_steps_csr", "project_steps_dense"]

#: Rows of a block, a multiple of ROWS, and panels of a tile: 256 KB of products.
BLOCK = 32 * ROWS
TILE = 6


@helper
def _block_rows(n):
    """Return the rows of each block of n rows: blocks are even, a multiple of ROWS, and at most BLOCK."""
    blocks = max(1, (n + BLOCK - 1) // BLOCK)
    even = (n + blocks - 1) // blocks
    return max(1, (even + ROWS - 1) // ROWS) * ROWS


@kernel
def project_signs_dense(X, vectors, panels, vector_norms, n_hashes, start, stop, out):
    """Write the codes of the rows [start, stop): bit k of code h is the sign of product ``k n_hashes + h``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    vectors : ndarray of shape (n_values, d), float32
    panels : ndarray of shape (P, d, PANEL), float32
        The vectors as `make_panels` lays them.
    vector_norms : ndarray of shape (n_values,), float64
    out : ndarray of shape (n, n_hashes), uint32
    """
    m = _block_rows(stop - start)
    n_values, largest_norm = vectors.shape[0], largest_of(vector_norms)
    scaled = np.zeros((m, X.shape[1]), np.float32)
    values = np.empty((m, TILE * PANEL), np.float32)
    scales, norms, errors = np.empty(m), np.empty(m), np.empty(m)
    rows, places = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    dots = np.empty(values.size, np.float64)
    for left in range(start, stop, m):
        n = min(m, stop - left)
        scale_rows_dense(X, left, left + n, scaled, scales, norms)
        error_bounds(norms, longest_sum(X.shape[1]), n, errors)
        for first in range(0, panels.shape[0], TILE):
            last = min(first + TILE, panels.shape[0])
            multiply_panels(scaled, panels, n, first, last, values)
            width = min(last * PANEL, n_values) - first * PANEL
            codes = out[left : left + n]
            doubted = pack_signs(
                values, errors, largest_norm, width, n_hashes, first * PANEL, n, codes, rows, places
            )
            exact_dots_dense(X, scales, vectors, rows, places, left, doubted, dots)
            fix_signs(rows, places, dots, n_hashes, doubted, codes)


@kernel
def project_signs_csr(indptr, indices, data, vectors, panels, vector_norms, n_hashes, start, stop, out):
    """Write the codes of sparse rows, whose indices rise, as `project_signs_dense` does."""
    m = _block_rows(stop - start)
    n_values, largest_norm = vectors.shape[0], largest_of(vector_norms)
    values = np.empty((m, TILE * PANEL), np.float32)
    scales, norms, errors = np.empty(m), np.empty(m), np.empty(m)
    rows, places = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    dots = np.empty(values.size, np.float64)
    for left in range(start, stop, m):
        n = min(m, stop - left)
        scaled = np.empty(indptr[left + n] - indptr[left], np.float32)
        scale_rows_csr(indptr, data, left, left + n, scaled, scales, norms)
        error_bounds(norms, longest_row(indptr, left, left + n), n, errors)
        for first in range(0, panels.shape[0], TILE):
            last = min(first + TILE, panels.shape[0])
            csr_products(indptr, indices, scaled, panels, first, last, left, left + n, values)
            width = min(last * PANEL, n_values) - first * PANEL
            codes = out[left : left + n]
            doubted = pack_signs(
                values, errors, largest_norm, width, n_hashes, first * PANEL, n, codes, rows, places
            )
            exact_dots_csr(indptr, indices, data, scales, vectors, rows, places, left, doubted, dots)
            fix_signs(rows, places, dots, n_hashes, doubted, codes)


@kernel
def project_steps_dense(X, vectors, panels, vector_norms, offsets, width, keys, n_buckets, start, stop, out):
    """Write the codes of the rows [start, stop): steps ``floor((product + offset) / width)`` into buckets.

    Step k of hash h is that of product ``k n_hashes + h``; ``word = mix64(word ^ step)`` over k, from
    ``keys[h]``, and the high half of the word times n_buckets, shifted down by 32 bits, is the code.

    Parameters
    ----------
    offsets : ndarray of shape (n_values,), float64
    width : float64
    keys : ndarray of shape (n_hashes,), uint64
    n_buckets : uint64

    The others are as for `project_signs_dense`.
    """
    m = _block_rows(stop - start)
    n_values = vectors.shape[0]
    scaled = np.zeros((m, X.shape[1]), np.float32)
    values = np.empty((m, TILE * PANEL), np.float32)
    steps = np.empty(values.shape, np.int64)
    words = np.empty((m, keys.size), np.uint64)
    scales, norms, errors = np.empty(m), np.empty(m), np.empty(m)
    rows, places = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    dots = np.empty(values.size, np.float64)
    for left in range(start, stop, m):
        n = min(m, stop - left)
        scale_rows_dense(X, left, left + n, scaled, scales, norms)
        error_bounds(norms, longest_sum(X.shape[1]), n, errors)
        for i in range(n):
            for h in range(keys.size):
                words[i, h] = keys[h]
        for first in range(0, panels.shape[0], TILE):
            last = min(first + TILE, panels.shape[0])
            multiply_panels(scaled, panels, n, first, last, values)
            a, b = first * PANEL, min(last * PANEL, n_values)
            doubted = quantize(
                values, errors, vector_norms[a:b], scales, offsets[a:b], width, a, n, steps, rows, places
            )
            exact_dots_dense(X, scales, vectors, rows, places, left, doubted, dots)
            fix_steps(rows, places, dots, scales, offsets, width, a, doubted, steps)
            absorb_steps(steps, b - a, a, n, words)
        reduce_words(words, n_buckets, n, out[left : left + n])


@kernel
def project_steps_csr(
    indptr, indices, data, vectors, panels, vector_norms, offsets, width, keys, n_buckets, start, stop, out
):
    """Write the codes of sparse rows, whose indices rise, as `project_steps_dense` does."""
    m = _block_rows(stop - start)
    n_values = vectors.shape[0]
    values = np.empty((m, TILE * PANEL), np.float32)
    steps = np.empty(values.shape, np.int64)
    words = np.empty((m, keys.size), np.uint64)
    scales, norms, errors = np.empty(m), np.empty(m), np.empty(m)
    rows, places = np.empty(values.size, np.int32), np.empty(values.size, np.int32)
    dots = np.empty(values.size, np.float64)
    for left in range(start, stop, m):
        n = min(m, stop - left)
        scaled = np.empty(indptr[left + n] - indptr[left], np.float32)
        scale_rows_csr(indptr, data, left, left + n, scaled, scales, norms)
        error_bounds(norms, longest_row(indptr, left, left + n), n, errors)
        for i in range(n):
            for h in range(keys.size):
                words[i, h] = keys[h]
        for first in range(0, panels.shape[0], TILE):
            last = min(first + TILE, panels.shape[0])
            csr_products(indptr, indices, scaled, panels, first, last, left, left + n, values)
            a, b = first * PANEL, min(last * PANEL, n_values)
            doubted = quantize(
                values, errors, vector_norms[a:b], scales, offsets[a:b], width, a, n, steps, rows, places
            )
            exact_dots_csr(indptr, indices, data, scales, vectors, rows, places, left, doubted, dots)
            fix_steps(rows, places, dots, scales, offsets, width, a, doubted, steps)
            absorb_steps(steps, b - a, a, n, words)
        reduce_words(words, n_buckets, n, out[left : left + n])
