"""64-bit words: bits are counted and found by one instruction each, words are mixed and reduced to ranges."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper
from .registers import intrinsic

__all__ = ["lowest_bit", "mix64", "mix_pair", "popcount", "reduce_word"]


@intrinsic
def popcount(typing_context, word):
    """Count the bits of a 64-bit word that are set, as uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def lowest_bit(typing_context, word):
    """Find the index of the lowest bit that is set, as int64; the word must not be 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@helper(inline="always")
def mix64(z):
    """Mix the bits of a word: Stafford's mix 13, the finaliser of SplitMix64, a bijection of 64-bit words."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@helper
def mix_pair(key, first, second):
    """Mix two words, the first below 2**32, into one random word."""
    return mix64(key ^ (first << np.uint64(32)) ^ second)


@helper
def reduce_word(word, n_buckets):
    """Reduce a random word to [0, n_buckets), n_buckets <= 2**32: the high half of the word decides."""
    return np.uint32(((word >> np.uint64(32)) * n_buckets) >> np.uint64(32))
