"""Signs of pseudo-random rotations: three rounds of random signs and a Walsh-Hadamard transform.

Rows are taken one after another, so that the working memory is one row of coordinates: up to 8,192 of them
stay in the first-level cache. At most twice the coordinates that are asked for are computed.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .hadamard_registers import (
    RADIX,
    WIDTH,
    gather_bits,
    low_levels,
    radix_2,
    radix_4,
    radix_8,
    radix_16,
    sign_bits,
)
from .products import own_scale, power_of_two

__all__ = [
    "hadamard_products_csr",
    "hadamard_products_dense",
    "hadamard_signs_csr",
    "hadamard_signs_dense",
]

#: Coordinates that `low_levels` works on.
_GROUP = RADIX * WIDTH
#: Coordinates for which all levels are computed before the next ones: 16 KB.
_CHUNK = 4096


@helper
def _levels(block, left, right, span, top):
    """Compute the levels from `span` to below `top` of the transform of the coordinates [left, right)."""
    while span < top:
        radix = min(RADIX, top // span)
        for first in range(left, right, span * radix):
            if radix == 16:
                for j in range(first, first + span, WIDTH):
                    radix_16(block, j, span)
            elif radix == 8:
                for j in range(first, first + span, WIDTH):
                    radix_8(block, j, span)
            elif radix == 4:
                for j in range(first, first + span, WIDTH):
                    radix_4(block, j, span)
            else:
                for j in range(first, first + span, WIDTH):
                    radix_2(block, j, span)
        span *= radix


@kernel
def rotate(source, masks, block):
    """Compute ``block = H D3 H D2 H D1 source``; the bits of `masks` are the signs of the three rounds.

    Levels are computed in the order of their spans, so sums round alike, however levels are grouped.
    """
    size, at = block.size, 0
    chunk = min(size, _CHUNK)
    for turn in range(3):
        given = source if turn == 0 else block
        for left in range(0, size, chunk):
            for j in range(left, left + chunk, _GROUP):
                low_levels(given, j, masks, at + j // WIDTH, block, j)
            _levels(block, left, left + chunk, _GROUP, chunk)
        _levels(block, 0, size, chunk, size)
        at += size // WIDTH


@helper
def scale_dense(row, lanes, source):
    """Scale a row by the power of two that brings it into [-1, 1], and write it to `source` as float32."""
    # Sixteen running values are used, because the compiler may not reorder the operations of one.
    whole = row.size - row.size % WIDTH
    lanes[:] = 0
    for j in range(0, whole, WIDTH):
        for lane in range(WIDTH):
            lanes[lane] = max(lanes[lane], abs(row[j + lane]))
    for j in range(whole, row.size):
        lanes[0] = max(lanes[0], abs(row[j]))
    largest = 0.0
    for lane in range(WIDTH):
        largest = max(largest, np.float64(lanes[lane]))
    scale = power_of_two(largest)
    for j in range(row.size):
        source[j] = np.float64(row[j]) * scale


@helper
def _scatter(indices, data, source):
    """Scale a sparse row as `scale_dense` does; `source` is 0 elsewhere, and everywhere after `_clear`."""
    scale = own_scale(data)
    for j in range(data.size):
        source[indices[j]] = np.float64(data[j]) * scale


@helper
def _clear(indices, source):
    for j in range(indices.size):
        source[indices[j]] = 0


@helper
def _row_signs(source, masks, n_hashes, power, block, bits, codes, codes_at):
    """Write the codes of one row to ``codes[codes_at : codes_at + n_hashes]``."""
    size, n_values = block.size, n_hashes * power
    for b in range(masks.shape[0]):
        rotate(source, masks[b], block)
        for j in range(0, min(size, n_values - b * size), WIDTH):
            sign_bits(block, j, bits, (b * size + j) // WIDTH)
    if n_hashes >= WIDTH:
        for h in range(0, n_hashes, WIDTH):
            # The last 16 overlap those before them.
            first = min(h, n_hashes - WIDTH)
            gather_bits(bits, first, n_hashes, power, codes, codes_at + first)
        return
    for h in range(n_hashes):
        code = np.uint32(0)
        for k in range(power):
            place = k * n_hashes + h
            bit = np.uint32(bits[place // WIDTH]) >> np.uint32(place % WIDTH) & np.uint32(1)
            code |= bit << np.uint32(k)
        codes[codes_at + h] = code


@kernel
def hadamard_signs_dense(X, masks, n_hashes, power, start, stop, out):
    """Write the codes of rows: bit k of code h is the sign of rotated coordinate ``k * n_hashes + h``.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
    masks : ndarray of shape (blocks, 3 size / 16), uint16
        Random bits; size is a power of two, at least 256 and d, and ``blocks * size >= n_hashes * power``.
    out : ndarray of shape (n, n_hashes), uint32
        Rows [start, stop) are written.

    Notes
    -----
    A row and block takes 3 size log2(size) additions in 8 size bytes.
    """
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    bits = np.zeros(masks.shape[0] * size // WIDTH + 2, np.uint16)
    lanes, codes = np.empty(WIDTH, X.dtype), out.reshape(-1)
    for i in range(start, stop):
        scale_dense(X[i], lanes, source)
        _row_signs(source, masks, n_hashes, power, block, bits, codes, i * n_hashes)


@kernel
def hadamard_signs_csr(indptr, indices, data, masks, n_hashes, power, start, stop, out):
    """Write the codes of sparse rows as `hadamard_signs_dense` does, with one row at a time made dense."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    bits = np.zeros(masks.shape[0] * size // WIDTH + 2, np.uint16)
    codes = out.reshape(-1)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_signs(source, masks, n_hashes, power, block, bits, codes, i * n_hashes)
        _clear(indices[a:b], source)


@helper
def _row_products(source, masks, block, out):
    size = block.size
    for b in range(masks.shape[0]):
        rotate(source, masks[b], block)
        width = min(size, out.size - b * size)
        for i in range(width):
            out[b * size + i] = block[i]


@kernel
def hadamard_products_dense(X, masks, start, stop, out):
    """Write the coordinates whose signs are the bits, of the rows [start, stop)."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    lanes = np.empty(WIDTH, X.dtype)
    for i in range(start, stop):
        scale_dense(X[i], lanes, source)
        _row_products(source, masks, block, out[i - start])


@kernel
def hadamard_products_csr(indptr, indices, data, masks, start, stop, out):
    """Write the coordinates of sparse rows as `hadamard_products_dense` does."""
    size = masks.shape[1] // 3 * WIDTH
    source, block = np.zeros(size, np.float32), np.empty(size, np.float32)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _scatter(indices[a:b], data[a:b], source)
        _row_products(source, masks, block, out[i - start])
        _clear(indices[a:b], source)
