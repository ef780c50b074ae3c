"""Kernels of streaming de-duplication: keys of bands, and filters that are asked and filled at once."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.prefetch import prefetch
from ...lsh.kernels.words import mix64
from .bloom import BLOCK_WORDS, mix_word, place_keys

__all__ = ["admit_keys", "document_bands"]

#: Keys that are hashed together, keys by which blocks are prefetched, and fields of 9 bits in a word.
_TILE, _AHEAD, _FIELDS = 1024, 24, 7

_EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
_U0, _U1, _U9, _U32, _U55, _U61, _U63 = (np.uint64(n) for n in (0, 1, 9, 32, 55, 61, 63))


@kernel
def document_bands(signatures, rows, seed, place, start, stop, out):
    """Set ``out[b, place + i]`` to a 64-bit key of columns [b rows, (b + 1) rows) of row i of `signatures`.

    out : uint64 (bands, n). Rows [start, stop) are computed. Equal columns have equal keys.
    """
    for i in range(start, stop):
        for b in range(out.shape[0]):
            word = seed ^ (np.uint64(b) << _U32)
            for k in range(b * rows, (b + 1) * rows):
                word = mix64(word ^ np.uint64(signatures[i, k]))
            out[b, place + i] = word


@kernel
def admit_keys(keys, n_bits, words, found):
    """Set ``found[i]`` to whether all bits of key i are set, and then set them, one key after another.

    keys : uint64, random 64-bit words, as hashes are.
    words : uint64 (8 n_blocks,), the blocks of a filter, as those of `BloomFilter`.
    """
    n_blocks = np.uint64(words.size // BLOCK_WORDS)
    mixed, bases = np.empty(_TILE, np.uint64), np.zeros(_TILE + _AHEAD, np.int64)
    for first in range(0, keys.size, _TILE):
        n = min(_TILE, keys.size - first)
        place_keys(keys, _U0, True, n_blocks, _U0, _EVERY, first, n, mixed, bases)
        for i in range(n):
            prefetch(words, bases[i + _AHEAD])
            base, w, left, hit = bases[i], mixed[i], n_bits, _U1
            # There is no branch on the bits found: it would be predicted wrongly for many keys.
            while left > _FIELDS:
                fields = w
                for _ in range(_FIELDS):
                    place, shift = base + np.int64(fields >> _U61), (fields >> _U55) & _U63
                    hit &= words[place] >> shift
                    words[place] |= _U1 << shift
                    fields <<= _U9
                w = mix_word(w)
                left -= _FIELDS
            for _ in range(left):
                place, shift = base + np.int64(w >> _U61), (w >> _U55) & _U63
                hit &= words[place] >> shift
                words[place] |= _U1 << shift
                w <<= _U9
            found[first + i] = hit != _U0
