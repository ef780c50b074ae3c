"""Codes of cross-polytope hashes: the nearest of the signed axes after a pseudo-random rotation.

A rotation of `size` coordinates serves ``size // dimension`` elementary hashes, each of its own `dimension`
coordinates. Rotations are those of `hadamard`, one row at a time; the smallest stay in registers throughout.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .cross_polytope_registers import GROUP, MAGNITUDE, largest_place, rotate_group
from .hadamard import rotate, scale_dense
from .hadamard_registers import RADIX, WIDTH
from .products import longest_row, own_scale
from .words import mix64, reduce_word

__all__ = ["cross_polytope_codes_csr", "cross_polytope_codes_dense"]

_MAGNITUDE = np.uint32(MAGNITUDE)


@helper
def nearest_axis(words, first, dimension):
    """Find the axis nearest to one hash's coordinates.

    It is twice the place of the largest magnitude, the first of equal ones, plus one if that coordinate is
    negative. `words` are the bits of the coordinates.
    """
    if dimension < WIDTH:
        best = first
        for j in range(first + 1, first + dimension):
            if words[j] & _MAGNITUDE > words[best] & _MAGNITUDE:
                best = j
    else:
        best = first + largest_place(words, first, dimension)
    return 2 * (best - first) + np.int64(words[best] >> np.uint32(31))


@kernel
def scatter(indices, entries, key, source):
    """Add each entry, with a random sign, to a coordinate of `source` that its feature and the key choose."""
    source[:] = 0
    # The upper bits of a word are the place. The size is at least 2, so the shift is below 64.
    shift = np.uint64(64)
    size = source.size
    while size > 1:
        shift -= np.uint64(1)
        size //= 2
    for j in range(indices.size):
        word = mix64(np.uint64(indices[j]) ^ key)
        place = np.int64(word >> shift)
        if word & np.uint64(1):
            source[place] -= entries[j]
        else:
            source[place] += entries[j]


@helper
def scale_entries(data, entries):
    """Scale the entries of a row, as float32, by the power of two that brings them into [-1, 1]."""
    scale = own_scale(data)
    for j in range(data.size):
        entries[j] = np.float64(data[j]) * scale
    return entries[: data.size]


@helper
def place_entries(indices, entries, scatter_keys, source):
    """Write a sparse row to `source`, which is 0 elsewhere; a row that is scattered later is left out."""
    if scatter_keys.size == 0:
        for j in range(indices.size):
            source[indices[j]] = entries[j]


@helper
def clear_entries(indices, scatter_keys, source):
    """Set to 0 again what `place_entries` has written."""
    if scatter_keys.size == 0:
        for j in range(indices.size):
            source[indices[j]] = 0


@kernel
def absorb(word, value, base, mixed):
    """Take one more value into a hash's word: mix it in, or append it as the next digit."""
    value = np.uint64(value)
    return mix64(word ^ value) if mixed else word * base + value


@helper
def code_of(word, n_buckets, mixed):
    """Return the code of a hash whose word has absorbed all values."""
    return reduce_word(word, n_buckets) if mixed else np.uint32(word)


@helper
def _row_codes(
    source, indices, entries, scatter_keys, masks, dimension, power, keys, n_buckets,
    block, words, values, codes, codes_at,
):  # fmt: skip
    """Write the codes of one row; elementary hash ``h * power + k`` is the k-th of hash h."""
    mixed, base = keys.size > 0, np.uint64(2 * dimension)
    value, turn, round_size = 0, -1, block.size // WIDTH
    while value < values.size:
        turn += 1
        if scatter_keys.size:
            scatter(indices, entries, scatter_keys[turn], source)
        # This is no function of its own: it has branches, so Numba would count references to its arrays.
        if block.size == GROUP:
            rotate_group(source, masks, turn * 3 * RADIX, block)
        else:
            rotate(source, masks[turn * round_size * 3 : (turn + 1) * round_size * 3], block)
        for first in range(0, min(block.size, (values.size - value) * dimension), dimension):
            values[value] = nearest_axis(words, first, dimension)
            value += 1
    for h in range(values.size // power):
        word = keys[h] if mixed else np.uint64(0)
        for k in range(power):
            word = absorb(word, values[h * power + k], base, mixed)
        codes[codes_at + h] = code_of(word, n_buckets, mixed)


@kernel
def cross_polytope_codes_dense(X, masks, dimension, power, keys, n_buckets, start, stop, out):
    """Write the codes of the rows [start, stop).

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    masks : ndarray of shape (rotations, 3 size / 16), uint16
        Random signs, as for `hadamard_signs_dense`; ``rotations * (size // dimension)`` is at least
        the number of elementary hashes, ``power * out.shape[1]``, and size at least d.
    dimension : int
        Coordinates of an elementary hash, a power of two up to size.
    keys : ndarray of shape (n_hashes,), uint64
        Keys that mix codes into n_buckets; empty if a code is made of its values as digits.
    out : ndarray of shape (n, n_hashes), uint32
    """
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    words, flips, codes = block.view(np.uint32), masks.reshape(-1), out.reshape(-1)
    lanes = np.empty(WIDTH, X.dtype)
    values = np.empty(power * out.shape[1], np.int64)
    no_indices, no_entries = np.empty(0, np.int32), np.empty(0, np.float32)
    no_keys = np.empty(0, np.uint64)
    for i in range(start, stop):
        scale_dense(X[i], lanes, source)
        _row_codes(
            source, no_indices, no_entries, no_keys, flips, dimension, power, keys, n_buckets,
            block, words, values, codes, i * out.shape[1],
        )  # fmt: skip


@kernel
def cross_polytope_codes_csr(
    indptr, indices, data, scatter_keys, masks, dimension, power, keys, n_buckets, start, stop, out
):
    """Write the codes of sparse rows as `cross_polytope_codes_dense` does, with one row at a time made dense.

    scatter_keys : ndarray of shape (rotations,), uint64
        If not empty, rows are scattered to `size` coordinates before each rotation, and features may
        have any numbers.
    """
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    words, flips, codes = block.view(np.uint32), masks.reshape(-1), out.reshape(-1)
    values = np.empty(power * out.shape[1], np.int64)
    scaled = np.empty(longest_row(indptr, start, stop), np.float32)
    for i in range(start, stop):
        features = indices[indptr[i] : indptr[i + 1]]
        entries = scale_entries(data[indptr[i] : indptr[i + 1]], scaled)
        place_entries(features, entries, scatter_keys, source)
        _row_codes(
            source, features, entries, scatter_keys, flips, dimension, power, keys, n_buckets,
            block, words, values, codes, i * out.shape[1],
        )  # fmt: skip
        clear_entries(features, scatter_keys, source)
