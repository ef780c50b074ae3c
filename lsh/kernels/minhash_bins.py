"""Kernels of MinHash that throw tokens into bins: one permutation and Fast Similarity Sketching.

Both throw every token of a set into one of m bins, and keep in each bin the least value. A throw of
the finalised token h has the bin ``(h * multiplier mod 2**64) >> 32`` reduced to m by multiply-shift,
so m need not be a power of two, and a value made of the low half of h. The schemes differ in how they fill
the bins that stay empty.

Fast Similarity Sketching throws again, in rounds. A value of round r is r ones, a zero, and the leading
bits of the low half of h: earlier rounds win, values of two rounds never tie, and within round r two
tokens tie with probability 2**(r-31). From round 1 on the half is complemented, so that a token which
lost its bin of round 0, likely by a large value, is likely to win one now: more of a set's tokens
get a bin, and the error falls. Each bin still orders all tokens at random and independently of the set,
and P[equal] = Jaccard needs no more. After the last round an empty bin takes the least of all tokens under
a hash function of its own (an affine one, as in the permutations), marked by one 1 bit for each round.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper, kernel
from .minhash_permutations import CHUNK, EMPTY, affine_minimum, finalise
from .registers import element_of, intrinsic, register_at
from .words import lowest_bit, mix_pair, reduce_word

__all__ = ["minhash_fast_similarity", "minhash_one_permutation"]


@intrinsic
def _empty_mask(typingctx, values, start):
    """Return 64 bits that are set where ``values[start:start + 64]`` are EMPTY: one comparison a register."""
    signature = types.uint64(values, types.int64)

    def generate(context, builder, signature, arguments):
        lanes = ir.VectorType(ir.IntType(32), 64)
        place = register_at(builder, element_of(context, builder, signature, arguments, 0), lanes)
        empty = ir.Constant(lanes, [0xFFFFFFFF] * 64)
        mask = builder.icmp_unsigned("==", builder.load(place, align=4), empty)
        return builder.bitcast(mask, ir.IntType(64))

    return signature, generate


@helper
def _throw(words, n_words, multiplier, flip, shift, prefix, signature, bins, values):
    """Lower the bin of each word to the low half of the word ^ `flip`, shifted right and marked by `prefix`.

    `bins` and `values` are work space for CHUNK words: they are computed in registers, before the bins are
    lowered one after another.
    """
    m = np.uint64(signature.size)
    for i in range(n_words):
        bins[i] = reduce_word(words[i] * multiplier, m)
        values[i] = np.uint32(((np.uint32(words[i]) ^ flip) >> shift) | prefix)
    for i in range(n_words):
        bin_ = bins[i]
        signature[bin_] = min(signature[bin_], values[i])


@helper
def count_empty(signature):
    """Count the empty bins of a signature."""
    empty = np.uint32(0)
    for k in range(signature.size):
        empty = np.uint32(empty + np.uint32(signature[k] == EMPTY))  # else Numba counts in 64 bits
    return empty


@helper
def densify(attempts, walk_key, rank_key, signature, native, full):
    """Let every empty bin copy a full one; `native` and `full` are work space of the same length."""
    m = np.uint64(signature.size)
    n_full = 0
    for k in range(signature.size):
        native[k] = signature[k]
        full[n_full] = k
        n_full += native[k] != EMPTY
    for k in range(signature.size):
        if native[k] != EMPTY:
            continue
        value = EMPTY
        for attempt in range(attempts):
            value = native[reduce_word(mix_pair(walk_key, np.uint64(k), np.uint64(attempt)), m)]
            if value != EMPTY:
                break
        if value == EMPTY:
            least = np.uint64(0xFFFFFFFFFFFFFFFF)
            for i in range(n_full):
                rank = mix_pair(rank_key, np.uint64(k), np.uint64(full[i]))
                if rank < least:
                    least, value = rank, native[full[i]]
        signature[k] = value


@kernel
def minhash_one_permutation(tokens, offsets, key, multiplier, walk_key, rank_key, out):
    """Write the signatures of sets by one permutation, optimally densified.

    An empty bin copies the first bin, of those drawn by a hash of (bin, attempt), that is full. After
    about sqrt(m) attempts it takes the full bin of least hash of (bin, full bin) instead. Both visit the bins
    in a random order that is the empty bin's own, so either way the donor is uniform, and the same for two
    sets where it should be. With f full bins a walk takes m / f attempts and a search f, so together they
    cost an empty bin no more than about sqrt(m).
    """
    m = out.shape[1]
    words = np.empty(CHUNK, np.uint64)
    bins, thrown = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.uint32)
    native, full = np.empty(m, np.uint32), np.empty(m, np.uint32)
    attempts = 1 + np.int64(np.sqrt(m))
    for row in range(offsets.size - 1):
        signature = out[row]
        signature[:] = EMPTY
        if offsets[row] == offsets[row + 1]:
            continue
        for left in range(offsets[row], offsets[row + 1], CHUNK):
            right = min(left + CHUNK, offsets[row + 1])
            n_words = finalise(tokens, left, right, key, words)
            _throw(
                words, n_words, multiplier, np.uint32(0), np.uint32(1), np.uint32(0), signature, bins, thrown
            )
        if count_empty(signature):
            densify(attempts, walk_key, rank_key, signature, native, full)


@helper
def _empty_slots(values, m, a, b, slots, a_of, b_of):
    """List the empty ones of the first m bins, with their parameters; return their number."""
    n_empty = 0
    for block in range(0, m, 64):
        mask = _empty_mask(values, block)
        while mask:
            k = block + lowest_bit(mask)
            slots[n_empty], a_of[n_empty], b_of[n_empty] = k, a[k], b[k]
            n_empty += 1
            mask &= mask - np.uint64(1)
    return n_empty


@helper
def _least_of_all(tokens, left, right, key, words, n_words, a, b, least):
    """Set ``least[k]`` to the least value of hash function k over all of the tokens [left, right)."""
    least[:] = EMPTY
    if right - left <= CHUNK:  # the words still hold the whole set
        affine_minimum(words, n_words, a, b, least)
        return
    for begin in range(left, right, CHUNK):
        n_words = finalise(tokens, begin, min(begin + CHUNK, right), key, words)
        affine_minimum(words, n_words, a, b, least)


@kernel
def minhash_fast_similarity(tokens, offsets, key, multipliers, a, b, out):
    """Write the signatures of sets by rounds of throws.

    The parameters a and b of the bins' own hash functions are read only where a bin stays empty.
    """
    m = out.shape[1]
    rounds = np.uint32(multipliers.size)
    prefixes, flips = np.empty(rounds + 1, np.uint32), np.empty(rounds + 1, np.uint32)
    for r in range(rounds + 1):
        prefixes[r] = ~(EMPTY >> np.uint32(r))
        flips[r] = EMPTY if r else np.uint32(0)
    words = np.empty(CHUNK, np.uint64)
    bins, thrown = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.uint32)
    padded = (m + 63) & -64
    values = np.zeros(padded, np.uint32)
    slots = np.empty(padded, np.int64)
    a_of, b_of, least = np.zeros(padded, np.uint32), np.zeros(padded, np.uint32), np.empty(padded, np.uint32)
    signature = values[:m]
    for row in range(offsets.size - 1):
        signature[:] = EMPTY
        left, right = offsets[row], offsets[row + 1]
        n_words, n_empty = 0, np.uint32(m)
        for begin in range(left, right, CHUNK):
            n_words = finalise(tokens, begin, min(begin + CHUNK, right), key, words)
            _throw(
                words,
                n_words,
                multipliers[0],
                np.uint32(0),
                np.uint32(1),
                np.uint32(0),
                signature,
                bins,
                thrown,
            )
        n_empty = count_empty(signature)
        for r in range(1, rounds):
            if n_empty == 0:
                break
            for begin in range(left, right, CHUNK):
                if right - left > CHUNK:
                    n_words = finalise(tokens, begin, min(begin + CHUNK, right), key, words)
                _throw(
                    words,
                    n_words,
                    multipliers[r],
                    EMPTY,
                    np.uint32(r + 1),
                    prefixes[r],
                    signature,
                    bins,
                    thrown,
                )
            n_empty = count_empty(signature)
        if left == right or n_empty == 0:
            for k in range(m):
                out[row, k] = signature[k]
        elif 2 * n_empty > m:  # short sets: all bins in order cost less than gathering most of them
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
            for k in range(m):
                out[row, k] = signature[k]
