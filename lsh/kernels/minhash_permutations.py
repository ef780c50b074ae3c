"""Kernels of MinHash by independent permutations, and what all schemes share.

A token is finalised by a 64-bit mixer keyed by the seed. Its two 32-bit halves x and y then give every
hash function k the 32-bit value ``(a_k x + (y ^ b_k)) mod 2**32`` with a_k odd: one multiplication, so
that sixteen values fit an AVX-512 step, yet all 64 bits of the token enter, and the values of two hash
functions are close to independent.

Sixteen hash functions are taken at a time, whose parameters and least values stay in registers while all
tokens pass by.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .compiled import helper, kernel
from .registers import first_element_of, intrinsic, register_at, spread
from .words import mix64

__all__ = ["minhash_permutations"]

#: Every value of an empty set; values of other sets are below it.
EMPTY = np.uint32(0xFFFFFFFF)
#: Hash functions in a register: 32 bits each.
LANES = 16
#: Tokens that are finalised at once: 8 KiB, which stay in the first-level cache.
CHUNK = 4096


@intrinsic
def _affine(typingctx, a, x, y, b):
    """Compute ``a * x + (y ^ b)`` in 32 bits; Numba would widen the product to 64, which halves the lanes."""
    signature = types.uint32(types.uint32, types.uint32, types.uint32, types.uint32)

    def generate(context, builder, signature, arguments):
        a, x, y, b = arguments
        return builder.add(builder.mul(a, x), builder.xor(y, b))

    return signature, generate


@intrinsic
def _affine_minimum_lanes(typingctx, words, n_words, a, b, least, first):
    """Do what `affine_minimum` does for LANES hash functions from `first` on, kept in registers."""
    signature = types.void(words, types.intp, a, b, least, types.intp)
    vector = ir.VectorType(ir.IntType(32), LANES)

    def generate(context, builder, signature, arguments):
        def register(place):
            first = first_element_of(context, builder, signature, arguments, place)
            return register_at(builder, builder.gep(first, [arguments[5]]), vector)

        multipliers, offsets = builder.load(register(2), align=4), builder.load(register(3), align=4)
        least = cgutils.alloca_once_value(builder, builder.load(register(4), align=4))
        halves = first_element_of(context, builder, signature, arguments, 0)
        halves = builder.bitcast(halves, ir.IntType(32).as_pointer())
        two = arguments[1].type(2)
        with cgutils.for_range(builder, arguments[1]) as loop:
            # Little-endian: the low half of a word comes first.
            low = builder.mul(loop.index, two)
            x = builder.load(builder.gep(halves, [low]))
            y = builder.load(builder.gep(halves, [builder.add(low, low.type(1))]))
            x, y = spread(builder, x, vector), spread(builder, y, vector)
            value = builder.add(builder.mul(multipliers, x), builder.xor(offsets, y))
            held = builder.load(least)
            builder.store(builder.select(builder.icmp_unsigned("<", value, held), value, held), least)
        builder.store(builder.load(least), register(4), align=4)
        return context.get_dummy_value()

    return signature, generate


@helper
def finalise(tokens, start, stop, key, words):
    """Set ``words[i] = mix64(tokens[start + i] ^ key)``; return their number, padded to a multiple of 4.

    The padding repeats the last word, which changes no minimum.
    """
    n = stop - start
    part = tokens[start:stop]
    for i in range(n):
        words[i] = mix64(np.uint64(part[i]) ^ key)
    while n & 3:
        words[n] = words[n - 1]
        n += 1
    return n


@helper
def affine_minimum(words, n_words, a, b, least):
    """Lower ``least[k]`` to the least value of hash function k over `n_words` words."""
    whole = least.size - least.size % LANES
    for k in range(0, whole, LANES):
        _affine_minimum_lanes(words, n_words, a, b, least, k)
    for i in range(n_words if whole < least.size else 0):
        x, y = np.uint32(words[i]), np.uint32(words[i] >> np.uint64(32))
        for k in range(whole, least.size):
            least[k] = min(least[k], _affine(a[k], x, y, b[k]))


@kernel
def minhash_permutations(tokens, offsets, key, a, b, out):
    """Write the signatures of sets under independent hash functions."""
    words = np.empty(CHUNK, np.uint64)
    for row in range(offsets.size - 1):
        signature = out[row]
        signature[:] = EMPTY
        if offsets[row] == offsets[row + 1]:
            continue
        for left in range(offsets[row], offsets[row + 1], CHUNK):
            right = min(left + CHUNK, offsets[row + 1])
            affine_minimum(words, finalise(tokens, left, right, key, words), a, b, signature)
        for k in range(signature.size):
            signature[k] = min(signature[k], np.uint32(0xFFFFFFFE))
