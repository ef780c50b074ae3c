"""Kernels of MinHash that throw tokens into bins: one permutation and Fast Similarity Sketching.

Both throw every token of a set into one of m bins, and keep in each bin the least value. A *throw* of
the finalised token h is ``w = h * multiplier mod 2**64``, ``w ^= w >> 32``: the upper half picks the
bin (multiply-shift, so m need not be a power of two) and the lower half is the value. What is done
about bins that stay empty is where the schemes differ.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .minhash_kernels import CHUNK, EMPTY, affine_minimum, finalise, mix64

__all__ = ["minhash_fast_similarity", "minhash_one_permutation"]


@intrinsic
def _empty_mask(typingctx, values, start):  # type: ignore[no-untyped-def]
    """64 bits that tell which of ``values[start:start + 64]`` are EMPTY: one comparison a register."""
    signature = types.uint64(values, types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        lanes = ir.VectorType(ir.IntType(32), 64)
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), lanes.as_pointer())
        empty = ir.Constant(lanes, [0xFFFFFFFF] * 64)
        mask = builder.icmp_unsigned("==", builder.load(place, align=4), empty)
        return builder.bitcast(mask, ir.IntType(64))

    return signature, generate


@intrinsic
def _lowest_bit(typingctx, mask):  # type: ignore[no-untyped-def]
    """Index of the lowest bit that is set."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@njit(cache=True, nogil=True)
def _throw(words, n_words, multiplier, shift, prefix, signature):  # type: ignore[no-untyped-def]
    """Lower each word's bin to its value, shifted right by `shift` and marked by `prefix`."""
    m = np.uint64(signature.size)
    for i in range(n_words):
        w = words[i] * multiplier
        w ^= w >> np.uint64(32)
        bin_ = ((w >> np.uint64(32)) * m) >> np.uint64(32)
        value = np.uint32((np.uint32(w) >> shift) | prefix)
        signature[bin_] = min(signature[bin_], value)


@njit(cache=True, nogil=True)
def _count_empty(signature):  # type: ignore[no-untyped-def]
    empty = np.uint32(0)
    for k in range(signature.size):
        empty += np.uint32(signature[k] == EMPTY)
    return empty


@njit(cache=True, nogil=True)
def minhash_one_permutation(tokens, offsets, key, multiplier, donor_key, out):  # type: ignore[no-untyped-def]
    """Signatures of sets by one permutation, optimally densified, into ``out``.

    An empty bin copies the first bin, of those drawn by a hash of (bin, attempt), that is not empty.
    """
    m = out.shape[1]
    words = np.empty(CHUNK, np.uint64)
    native = np.empty(m, np.uint32)
    for row in range(offsets.size - 1):
        signature = out[row]
        signature[:] = EMPTY
        if offsets[row] == offsets[row + 1]:
            continue
        for left in range(offsets[row], offsets[row + 1], CHUNK):
            right = min(left + CHUNK, offsets[row + 1])
            n_words = finalise(tokens, left, right, key, words)
            _throw(words, n_words, multiplier, np.uint32(1), np.uint32(0), signature)
        empty = _count_empty(signature)
        if empty == 0:
            continue
        native[:] = signature
        if empty == m - 1:  # every walk ends in the one full bin, after m attempts on average
            signature[:] = native.min()
            continue
        for k in range(m):
            if native[k] == EMPTY:
                draw = donor_key ^ (np.uint64(k) << np.uint64(32))
                value = EMPTY
                while value == EMPTY:
                    value = native[((mix64(draw) >> np.uint64(32)) * np.uint64(m)) >> np.uint64(32)]
                    draw += np.uint64(1)
                signature[k] = value


@njit(cache=True, nogil=True)
def _empty_slots(values, m, a, b, slots, a_of, b_of):  # type: ignore[no-untyped-def]
    """Which of the first m bins are empty, with their parameters; returns their number."""
    n_empty = 0
    for block in range(0, m, 64):
        mask = _empty_mask(values, block)
        while mask:
            k = block + _lowest_bit(mask)
            slots[n_empty], a_of[n_empty], b_of[n_empty] = k, a[k], b[k]
            n_empty += 1
            mask &= mask - np.uint64(1)
    return n_empty


@njit(cache=True, nogil=True)
def _least_of_all(tokens, left, right, key, words, n_words, a, b, least):  # type: ignore[no-untyped-def]
    """``least[k]`` = the least value of hash function k over all of the tokens [left, right)."""
    least[:] = EMPTY
    if right - left <= CHUNK:  # the words still hold the whole set
        affine_minimum(words, n_words, a, b, least)
        return
    for begin in range(left, right, CHUNK):
        n_words = finalise(tokens, begin, min(begin + CHUNK, right), key, words)
        affine_minimum(words, n_words, a, b, least)


@njit(cache=True, nogil=True)
def minhash_fast_similarity(tokens, offsets, key, multipliers, a, b, out):  # type: ignore[no-untyped-def]
    """Signatures of sets by rounds of throws, into ``out``.

    A value of round r starts with r ones and a zero, and one of a bin that no round filled with as
    many ones as there are rounds; so earlier rounds win, and values of two rounds never tie.
    """
    m = out.shape[1]
    rounds = np.uint32(multipliers.size)
    prefixes = np.empty(rounds + 1, np.uint32)
    for r in range(rounds + 1):
        prefixes[r] = ~(EMPTY >> np.uint32(r))
    words = np.empty(CHUNK, np.uint64)
    padded = (m + 63) & -64
    values = np.zeros(padded, np.uint32)
    slots = np.empty(padded, np.int64)
    a_of, b_of, least = np.zeros(padded, np.uint32), np.zeros(padded, np.uint32), np.empty(padded, np.uint32)
    for row in range(offsets.size - 1):
        signature = values[:m]
        signature[:] = EMPTY
        left, right = offsets[row], offsets[row + 1]
        n_words, n_empty = 0, np.uint32(m)
        for r in range(rounds):
            for begin in range(left, right, CHUNK):
                if r == 0 or right - left > CHUNK:
                    n_words = finalise(tokens, begin, min(begin + CHUNK, right), key, words)
                _throw(words, n_words, multipliers[r], np.uint32(r + 1), prefixes[r], signature)
            n_empty = _count_empty(signature)
            if n_empty == 0:
                break
        if left == right or n_empty == 0:
            out[row] = signature
        elif 2 * n_empty > m:  # short sets: all bins in their order cost less than gathering most
            _least_of_all(tokens, left, right, key, words, n_words, a, b, least[:m])
            for k in range(m):
                value = min(np.uint32((least[k] >> rounds) | prefixes[rounds]), np.uint32(0xFFFFFFFE))
                out[row, k] = value if signature[k] == EMPTY else signature[k]
        else:
            n = _empty_slots(values, m, a, b, slots, a_of, b_of)
            lanes = (n + 15) & -16
            _least_of_all(tokens, left, right, key, words, n_words, a_of[:lanes], b_of[:lanes], least[:lanes])
            for i in range(n):
                signature[slots[i]] = min(
                    np.uint32((least[i] >> rounds) | prefixes[rounds]), np.uint32(0xFFFFFFFE)
                )
            out[row] = signature
