"""Kernels of ProductQuantizer: nearest centroids, codes in few bits, and scores by look-ups.

The centroids of a group lie channel by channel: ``centroids[g, j, k]`` is channel j of centroid k. So the
distances to all centroids grow together, some of them in one register. Sums run over the channels in their
order, and the lowest of equally near centroids is taken: all processors find the same codes.

Codes are kept in rows of bytes. The code of group g takes the `bits` bits from ``g * bits`` on, the lowest
bit first.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .lookups import MOST_BYTES, TILE, add_lookups, load_tile

__all__ = ["decode_codes", "encode_groups", "nearest_centroid", "score_codes"]

#: Rows whose codes are unpacked together, and then scored for all queries.
_ROWS = 64


@helper
def _code_at(packed, row, first_bit, mask):
    """Return the code of a row that begins at a bit."""
    byte, shift = first_bit >> 3, first_bit & 7
    word = np.int64(packed[row, byte])
    if shift and byte + 1 < packed.shape[1]:
        word |= np.int64(packed[row, byte + 1]) << 8
    return (word >> shift) & mask


@helper
def nearest_centroid(X, i, weights, centroids, g, distances):
    """Return the number of the centroid of group g that is nearest to row i, and its squared distance.

    `distances` is memory for a number for each centroid.
    """
    width, n_codes = centroids.shape[1], centroids.shape[2]
    for k in range(n_codes):
        distances[k] = 0.0
    for j in range(width):
        x, weight = X[i, g * width + j], weights[g * width + j]
        for k in range(n_codes):
            difference = x - centroids[g, j, k]
            distances[k] += weight * (difference * difference)
    best, least = 0, distances[0]
    for k in range(1, n_codes):
        if distances[k] < least:
            best, least = k, distances[k]
    return best, least


@kernel
def encode_groups(X, weights, centroids, bits, start, stop, packed):
    """Write the codes of the rows [start, stop); `packed` is zero there before.

    X (n, G c) and weights (G c) are float64, centroids (G, c, K) float64, packed (n, bytes) uint8.
    """
    n_groups = len(centroids)
    distances = np.empty(centroids.shape[2])
    for i in range(start, stop):
        for g in range(n_groups):
            best, _ = nearest_centroid(X, i, weights, centroids, g, distances)
            byte, shift = (g * bits) >> 3, (g * bits) & 7
            packed[i, byte] |= np.uint8((best << shift) & 255)
            if shift + bits > 8:
                packed[i, byte + 1] |= np.uint8(best >> (8 - shift))


@kernel
def decode_codes(packed, centroids, bits, start, stop, out):
    """Write the centroids of the codes of the rows [start, stop) to out (n, G c), float64."""
    n_groups, width, n_codes = centroids.shape
    for i in range(start, stop):
        for g in range(n_groups):
            code = _code_at(packed, i, g * bits, n_codes - 1)
            for j in range(width):
                out[i, g * width + j] = centroids[g, j, code]


def score_codes(packed, tables, lows, steps, bits, start, stop, out):
    """Write to out (Q, n) each query's low plus its step times a sum of entries of its tables (G, K).

    The entries are those that the codes of a row point to. Tables of uint8 have sums of integers; tables of
    float64 are added in the order of groups.
    """
    if tables.dtype != np.uint8 or bits > 4:
        _score_rows(packed, tables, lows, steps, bits, start, stop, out)
        return
    n_queries, n_groups, n_codes = tables.shape
    padded = np.zeros((n_queries, n_groups + n_groups % 2, 16), np.uint8)
    padded[:, :n_groups, :n_codes] = tables
    _score_tiles(packed, padded.reshape(n_queries, -1), lows, steps, n_groups, bits, start, stop, out)


@kernel
def _score_rows(packed, tables, lows, steps, bits, start, stop, out):
    n_queries, n_groups, _ = tables.shape
    # Sums of bytes are integers.
    codes, nothing = np.empty((_ROWS, n_groups), np.uint8), tables[0, 0, 0] * 0
    for first in range(start, stop, _ROWS):
        size = min(_ROWS, stop - first)
        for i in range(size):
            _unpack(packed, first + i, bits, codes[i])
        for q in range(n_queries):
            table = tables[q]
            for i in range(size):
                total = nothing
                for g in range(n_groups):
                    total += table[g, codes[i, g]]
                out[q, first + i] = lows[q] + steps[q] * total


@kernel
def _score_tiles(packed, tables, lows, steps, n_groups, bits, start, stop, out):
    """Do the same for tables of 16 bytes, those of a query one after the other."""
    n_bytes = (n_groups + 1) // 2
    tile, sums = np.zeros(TILE * n_bytes, np.uint8), np.empty(TILE, np.int32)
    flat = tables.reshape(tables.size)
    for first in range(start, stop, TILE):
        size = min(TILE, stop - first)
        if bits == 4:
            load_tile(packed, first, size, tile)
        else:
            _load_pairs(packed, first, size, bits, n_groups, tile)
        for q in range(tables.shape[0]):
            sums[:] = 0
            for b in range(0, n_bytes, MOST_BYTES):
                at = q * tables.shape[1] + 32 * b
                add_lookups(tile, TILE * b, min(MOST_BYTES, n_bytes - b), flat, at, sums)
            for i in range(size):
                out[q, first + i] = lows[q] + steps[q] * sums[i]


@helper
def _load_pairs(packed, first, size, bits, n_groups, tile):
    """Write the codes of pairs of groups, which have fewer than 4 bits, to the bytes of a tile."""
    mask = (1 << bits) - 1
    for i in range(size):
        for g in range(0, n_groups, 2):
            code = _code_at(packed, first + i, g * bits, mask)
            if g + 1 < n_groups:
                code |= _code_at(packed, first + i, (g + 1) * bits, mask) << 4
            tile[TILE * (g // 2) + i] = code


@helper
def _unpack(packed, row, bits, codes):
    """Write the codes of a row."""
    if bits == 8:
        for g in range(codes.size):
            codes[g] = packed[row, g]
        return
    word, n_bits, byte, mask = np.int64(0), 0, 0, (1 << bits) - 1
    for g in range(codes.size):
        if n_bits < bits:
            word |= np.int64(packed[row, byte]) << n_bits
            n_bits += 8
            byte += 1
        codes[g] = word & mask
        word >>= bits
        n_bits -= bits
