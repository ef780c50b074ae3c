"""Kernels of packed bit vectors: they gather sampled bits into codes, and count the bits that differ.

Bits of 64 rows are gathered together, from a transposed copy of the bytes that contain them: a SIMD register
of 64 bytes then has one byte of every row, and a bit of 64 rows takes one test and one masked OR.
"""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .words import mix64, popcount, reduce_word

__all__ = ["hamming_distances", "mix_words", "sample_bits"]

#: Rows whose bits are gathered together.
LANES = 64
#: Hashes of 64 rows that are transposed into rows together.
_TILE = 16


@helper
def _gather_bytes(X, columns, left, right, block):
    """Set ``block[u, i]`` to byte ``columns[u]`` of row ``left + i``."""
    for i in range(right - left):
        row = X[left + i]
        for u in range(columns.size):
            block[u, i] = row[columns[u]]


@helper
def _gather_word(block, places, masks, first, last, octet, word):
    """Write bits [first, last), at most 32 of them, of 64 rows to `word`, the first as the lowest bit."""
    word[:] = 0
    for begin in range(first, last, 8):
        octet[:] = 0
        for k in range(begin, min(begin + 8, last)):
            source, mask, bit = block[places[k]], masks[k], np.uint8(1 << (k - begin))
            for i in range(LANES):
                octet[i] = np.uint8(octet[i] | (bit if source[i] & mask else np.uint8(0)))
        shift = np.uint32(begin - first)
        for i in range(LANES):
            word[i] |= np.uint32(octet[i]) << shift


@kernel
def sample_bits(X, columns, places, masks, first, start, stop, out):
    """Sample bits of the rows [start, stop): bit k of ``out[:, (first + h) * W:]`` is the k-th of hash h.

    X : uint8 (n, bytes), packed rows.
    columns : int64 (distinct bytes,), the bytes that contain a sampled bit.
    places, masks : int64 and uint8 (hashes, power); ``X[:, columns[places]] & masks`` is the sampled bit.
    out : uint32 (stop - start, n_hashes * W), W words of 32 bits for each hash.
    """
    n_hashes, power = places.shape
    n_words = (power + 31) // 32
    block = np.zeros((columns.size, LANES), np.uint8)
    octet = np.empty(LANES, np.uint8)
    tile = np.empty((_TILE, LANES), np.uint32)
    for left in range(start, stop, LANES):
        right = min(left + LANES, stop)
        _gather_bytes(X, columns, left, right, block)
        for begin in range(0, n_hashes * n_words, _TILE):
            n = min(_TILE, n_hashes * n_words - begin)
            for j in range(n):
                h, w = (begin + j) // n_words, (begin + j) % n_words
                _gather_word(block, places[h], masks[h], 32 * w, min(32 * w + 32, power), octet, tile[j])
            target = first * n_words + begin
            for i in range(right - left):
                row = out[left - start + i, target : target + n]
                for j in range(n):
                    row[j] = tile[j, i]


@kernel
def mix_words(words, flips, keys, n_buckets, out):
    """Mix words into codes, once for each of some flips of bits.

    words : uint32 (n, n_hashes, W).
    flips : uint32 (n_hashes, probes, W); the words are XORed with them.
    n_buckets : uint64; 0 where a code is its only word itself.
    out : uint32 (n, n_hashes, probes); ``mix64(... mix64(keys[h] ^ word 0) ^ word 1 ...)``, reduced to
    n_buckets by `reduce_word`.
    """
    for i in range(words.shape[0]):
        for h in range(keys.size):
            word = words[i, h]
            for t in range(flips.shape[1]):
                if n_buckets == 0:
                    out[i, h, t] = word[0] ^ flips[h, t, 0]
                    continue
                z = keys[h]
                for w in range(word.size):
                    z = mix64(z ^ np.uint64(word[w] ^ flips[h, t, w]))
                out[i, h, t] = reduce_word(z, n_buckets)


@kernel
def hamming_distances(A, B, start, stop, out):
    """Count the bits in which row i of A, for i in [start, stop), differs from row j of B, to ``out[i, j]``.

    A, B : uint64 (n, words).
    out : int64 (len(A), len(B)).
    """
    for first in range(0, B.shape[0], 256):  # these rows of B stay in the cache for every row of A
        last = min(first + 256, B.shape[0])
        for i in range(start, stop):
            left = A[i]
            for j in range(first, last):
                right = B[j]
                total = np.uint64(0)
                for w in range(left.size):
                    total += popcount(left[w] ^ right[w])
                out[i, j] = np.int64(total)
