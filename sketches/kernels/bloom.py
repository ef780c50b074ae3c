"""Kernels of the blocked Bloom filter: every key has its bits in one block of 512, a cache line.

A key's 64-bit hash h picks the block ``h * n_blocks >> 64`` by its high bits, so blocks go up with
hashes. Its bits are the 9-bit fields, from the top, of the words w_1, w_2, ..., seven of each:

    w_1 = mix(h),  w_(j+1) = mix(w_j),  mix(x) = y ^ (y >> 32), y = x * 0x9E3779B97F4A7C15 mod 2**64.

Field f is the bit ``f % 64`` of word ``f // 64`` of the block. Fields may repeat.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch, prefetch_read
from ...lsh.kernels.registers import intrinsic
from ...lsh.kernels.words import popcount
from ...lsh.kernels.xxh3 import xxh3_64_u64

__all__ = [
    "BLOCK_BITS",
    "BLOCK_WORDS",
    "bloom_add",
    "bloom_add_groups",
    "bloom_contains",
    "bloom_contains_groups",
    "bloom_errors",
    "bloom_fills",
    "bloom_group",
    "bloom_regroup",
]

#: Bits and 64-bit words of a block.
BLOCK_BITS, BLOCK_WORDS = 512, 8
#: Fields of 9 bits in a word.
_FIELDS = 7
#: Keys that are hashed together, and keys by which blocks are prefetched.
_TILE = 1024
_AHEAD = 24

_EVERY = np.uint64(0xFFFFFFFFFFFFFFFF)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U9, _U32, _U55, _U61, _U63 = (np.uint64(n) for n in (0, 1, 9, 32, 55, 61, 63))


@intrinsic
def _multiply_high(typing_context, a, b):
    """Return the high half of the 128-bit product of two uint64."""

    def generate(context, builder, signature, arguments):
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@helper(forceinline=True)
def mix_word(x):
    x *= _ODD
    return x ^ (x >> _U32)


@helper
def place_keys(keys, seed, hashed, n_blocks, low, width, first, n, mixed, bases):
    """Compute w_1 and the block of those of n keys whose hash is in [low, low + width]; return how many."""
    if hashed:
        for i in range(n):
            mixed[i] = keys[first + i]
    else:
        for i in range(n):
            mixed[i] = xxh3_64_u64(keys[first + i], seed)
    if width != _EVERY:
        kept = np.int64(0)
        for i in range(n):
            h = mixed[i]
            mixed[kept] = h
            kept += np.int64(h - low <= width)
        n = kept
    for i in range(n):
        bases[i] = np.int64(_multiply_high(mixed[i], n_blocks)) * BLOCK_WORDS
    for i in range(n):
        mixed[i] = mix_word(mixed[i])
    return n


# The loops over bits are written out twice: an array that is passed to a function within the loop over keys
# would have its references counted, in one place for all threads.
@helper
def _add(keys, seed, hashed, n_hashes, low, width, start, stop, words, mixed, bases):
    n_blocks = np.uint64(words.size // BLOCK_WORDS)
    for first in range(start, stop, _TILE):
        n = min(_TILE, stop - first)
        n = place_keys(keys, seed, hashed, n_blocks, low, width, first, n, mixed, bases)
        for i in range(n):
            prefetch(words, bases[i + _AHEAD])
            base, w, left = bases[i], mixed[i], n_hashes
            while left > _FIELDS:
                fields = w
                for _ in range(_FIELDS):
                    words[base + np.int64(fields >> _U61)] |= _U1 << ((fields >> _U55) & _U63)
                    fields <<= _U9
                w = mix_word(w)
                left -= _FIELDS
            for _ in range(left):
                words[base + np.int64(w >> _U61)] |= _U1 << ((w >> _U55) & _U63)
                w <<= _U9


@helper
def _contains(words, keys, seed, hashed, n_hashes, start, stop, out, mixed, bases):
    n_blocks = np.uint64(words.size // BLOCK_WORDS)
    for first in range(start, stop, _TILE):
        n = min(_TILE, stop - first)
        place_keys(keys, seed, hashed, n_blocks, _U0, _EVERY, first, n, mixed, bases)
        for i in range(n):
            prefetch_read(words, bases[i + _AHEAD])
            base, w, left, found = bases[i], mixed[i], n_hashes, _U1
            # There is no branch on the bits found: it would be predicted wrongly for many absent keys.
            while left > _FIELDS:
                fields = w
                for _ in range(_FIELDS):
                    found &= words[base + np.int64(fields >> _U61)] >> ((fields >> _U55) & _U63)
                    fields <<= _U9
                w = mix_word(w)
                left -= _FIELDS
            for _ in range(left):
                found &= words[base + np.int64(w >> _U61)] >> ((w >> _U55) & _U63)
                w <<= _U9
            out[first + i] = found != _U0


@kernel
def bloom_add(keys, seed, hashed, n_hashes, low, width, words):
    """Set the bits of those keys whose hash is in [low, low + width].

    words : uint64 (8 n_blocks,), the blocks.
    keys : uint64; hashes or, without `hashed`, integers to hash with `seed`.
    """
    mixed, bases = np.empty(_TILE, np.uint64), np.zeros(_TILE + _AHEAD, np.int64)
    _add(keys, seed, hashed, n_hashes, low, width, 0, keys.size, words, mixed, bases)


@kernel
def bloom_contains(words, keys, seed, hashed, n_hashes, start, stop, out):
    """Set ``out[i]`` to whether all bits of key i are set, for i in [start, stop)."""
    mixed, bases = np.empty(_TILE, np.uint64), np.zeros(_TILE + _AHEAD, np.int64)
    _contains(words, keys, seed, hashed, n_hashes, start, stop, out, mixed, bases)


@kernel
def bloom_group(keys, seed, hashed, n_blocks, shift, start, stop, ordered, ends):
    """Write the hashes of the keys [start, stop) to ``ordered[start:stop]``, grouped by ``block >> shift``.

    ends : int64 (groups + 1,), zeros at first; the result: where each group begins, and where the last ends.
    """
    for i in range(start, stop):
        h = keys[i] if hashed else xxh3_64_u64(keys[i], seed)
        ends[(_multiply_high(h, n_blocks) >> shift) + _U1] += 1
    ends[0] = start
    for g in range(1, ends.size):
        ends[g] += ends[g - 1]
    cursors = ends[:-1].copy()
    for i in range(start, stop):
        h = keys[i] if hashed else xxh3_64_u64(keys[i], seed)
        group = _multiply_high(h, n_blocks) >> shift
        ordered[cursors[group]] = h
        cursors[group] += 1


@kernel
def bloom_add_groups(ordered, ends, n_hashes, first_group, last_group, words):
    """Set the bits of the hashes of groups [first_group, last_group), whose blocks no other group shares.

    ends : int64 (parts, groups + 1), of each part that `bloom_group` grouped.
    """
    mixed, bases = np.empty(_TILE, np.uint64), np.zeros(_TILE + _AHEAD, np.int64)
    for g in range(first_group, last_group):
        for p in range(ends.shape[0]):
            part = ends[p, g], ends[p, g + 1]
            _add(ordered, _U0, True, n_hashes, _U0, _EVERY, *part, words, mixed, bases)


@kernel
def bloom_contains_groups(words, ordered, ends, n_hashes, first_group, last_group, found):
    """Set ``found[i]`` to whether all bits of grouped hash i are set, for the given range of groups."""
    mixed, bases = np.empty(_TILE, np.uint64), np.zeros(_TILE + _AHEAD, np.int64)
    for g in range(first_group, last_group):
        for p in range(ends.shape[0]):
            _contains(words, ordered, _U0, True, n_hashes, ends[p, g], ends[p, g + 1], found, mixed, bases)


@kernel
def bloom_regroup(keys, ends, found, seed, hashed, n_blocks, shift, start, stop, out):
    """Write the answers for grouped hashes to ``out[start:stop]``, in the order of the keys."""
    cursors = ends[:-1].copy()
    for i in range(start, stop):
        h = keys[i] if hashed else xxh3_64_u64(keys[i], seed)
        group = _multiply_high(h, n_blocks) >> shift
        out[i] = found[cursors[group]]
        cursors[group] += 1


@kernel
def bloom_fills(words, others, start, stop, fills):
    """Add to ``fills[b]`` the number of blocks [start, stop) that have b bits set in `words` or `others`."""
    for block in range(start, stop):
        n = _U0
        for i in range(BLOCK_WORDS * block, BLOCK_WORDS * (block + 1)):
            n += popcount(words[i] | others[i])
        fills[n] += 1


@kernel
def bloom_errors(n_hashes, errors):
    """Set ``errors[n]`` to the exact chance that a block of n keys passes a key that is not one of them.

    The distribution of the number of set bits of a block is advanced by one bit of a key at a time.
    """
    chances, following = np.empty(BLOCK_BITS + 1, np.float64), np.empty(BLOCK_BITS + 1, np.float64)
    passes = np.empty(BLOCK_BITS + 1, np.float64)
    for b in range(BLOCK_BITS + 1):
        chances[b] = 0.0
        passes[b] = math.pow(b / BLOCK_BITS, n_hashes)
    chances[0] = 1.0
    for n in range(errors.size):
        errors[n] = 0.0
        for b in range(BLOCK_BITS + 1):
            errors[n] += chances[b] * passes[b]
        for _ in range(n_hashes):
            following[0] = 0.0
            for b in range(1, BLOCK_BITS + 1):
                following[b] = (chances[b] * b + chances[b - 1] * (BLOCK_BITS + 1 - b)) * (1.0 / BLOCK_BITS)
            # Chances close to 0 are set to 0: subnormal numbers are slow.
            for b in range(BLOCK_BITS + 1):
                chances[b] = following[b] if following[b] > 1e-200 else 0.0
