"""Elias-Fano sequences, read, written and checked in place; `sketches.coding.elias_fano` describes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import lowest_bit, popcount

__all__ = [
    "SAMPLE",
    "address_of",
    "elias_fano_check",
    "elias_fano_encode",
    "elias_fano_take",
    "load_word",
    "select",
]


#: Values per select sample.
SAMPLE = 128


_BLOCK_SHIFT = np.uint64(7)


_U = np.uint64


_ONE, _SIX, _SIXTY_THREE, _ALL = _U(1), _U(6), _U(63), _U(2**64 - 1)


_EACH_BYTE, _EACH_HIGH_BIT = _U(0x0101010101010101), _U(0x8080808080808080)


def _load_code(typingctx, address, index):
    """The `index`-th word from an address.

    An array among a tuple's fields would be counted as in use, and as no longer, at every call: 50 ns on
    one thread, and more where threads share the counter.
    """

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        start = builder.inttoptr(arguments[0], word.as_pointer())
        return builder.load(builder.gep(start, [arguments[1]]), align=8)

    return types.uint64(types.uint64, types.uint64), generate


load_word: Any = intrinsic(_load_code)


@helper
def _select_bit(word, rank):
    """Place of the bit that `rank` others lie below; without branches, which could not be predicted."""
    # In each byte, the number of bits in it and those below it.
    sums = word - ((word >> _ONE) & _U(0x5555555555555555))
    sums = (sums & _U(0x3333333333333333)) + ((sums >> _U(2)) & _U(0x3333333333333333))
    sums = ((sums + (sums >> _U(4))) & _U(0x0F0F0F0F0F0F0F0F)) * _EACH_BYTE
    passed = (((rank * _EACH_BYTE) | _EACH_HIGH_BIT) - sums) & _EACH_HIGH_BIT
    place = popcount(passed) << _U(3)
    rank -= ((sums << _U(8)) >> place) & _U(255)
    word >>= place
    # Then by halves.
    low = popcount(word & _U(15))
    beyond = _U(rank >= low)
    rank -= low * beyond
    word >>= beyond << _U(2)
    place += beyond << _U(2)
    low = popcount(word & _U(3))
    beyond = _U(rank >= low)
    rank -= low * beyond
    word >>= beyond << _U(1)
    place += beyond << _U(1)
    return place + _U(rank >= (word & _ONE))


@kernel
def select(words, low_at, low_bits, high_at, samples_at, i):
    """The i-th value of the sequence at the address `words`; all arguments are uint64.

    `low_at`, `high_at` and `samples_at` say at which word from there its parts begin.

    Constant time where values spread evenly; at worst, in a gap, a scan over its length in high parts.
    In bounds for every i < n of words that `check` has passed.
    """
    block = i >> _BLOCK_SHIFT
    rest = i & _U(SAMPLE - 1)
    start = _U(0)
    if block > _U(0):
        s = block - _ONE
        start = (load_word(words, samples_at + (s >> _ONE)) >> ((s & _ONE) << _U(5))) & _U(0xFFFFFFFF)
    k = high_at + (start >> _SIX)
    word = load_word(words, k) & (_ALL << (start & _SIXTY_THREE))
    count = popcount(word)
    while rest >= count:
        rest -= count
        k += _ONE
        word = load_word(words, k)
        count = popcount(word)
    high = ((k - high_at) << _SIX) + _select_bit(word, rest) - i
    if low_bits == _U(0):
        return high
    bit = i * low_bits
    k = low_at + (bit >> _SIX)
    shift = bit & _SIXTY_THREE
    # The next word exists: the high parts follow the low bits. Two shifts, for one by 64 is undefined.
    low = (load_word(words, k) >> shift) | ((load_word(words, k + _ONE) << _ONE) << (_SIXTY_THREE - shift))
    return (high << low_bits) | (low & ((_ONE << low_bits) - _ONE))


@kernel
def elias_fano_encode(values, low_bits, high_at, samples_at, words):
    """Write `values` into zeroed words; the index of the first that is less than the one before, or n."""
    mask = (_ONE << low_bits) - _ONE
    before = _U(0)
    for k in range(values.size):
        i, value = _U(k), values[k]
        if value < before:
            return k
        before = value
        if low_bits > _U(0):
            low, bit = value & mask, i * low_bits
            at, shift = bit >> _SIX, bit & _SIXTY_THREE
            words[at] |= low << shift
            if shift + low_bits > _U(64):
                words[at + _ONE] |= low >> (_U(64) - shift)
        place = (value >> low_bits) + i
        words[high_at + (place >> _SIX)] |= _ONE << (place & _SIXTY_THREE)
        if k > 0 and k % SAMPLE == 0:
            s = (i >> _BLOCK_SHIFT) - _ONE
            words[samples_at + (s >> _ONE)] |= place << ((s & _ONE) << _U(5))
    return values.size


@kernel
def elias_fano_take(address, low_bits, high_at, samples_at, indices, out):
    for k in range(indices.size):
        out[k] = select(address, _U(0), low_bits, high_at, samples_at, _U(indices[k]))


@kernel
def elias_fano_check(words, address, n, largest, low_bits, high_at, samples_at):
    """0, or which promise of the words is broken: 1 number of bits, 2 their range, 3 samples, 4 size."""
    found = _U(0)
    for k in range(high_at, samples_at):
        word = words[k]
        count = popcount(word)
        # At most one sampled bit in a word: there are 128 from one to the next.
        block = (found + count - _ONE) >> _BLOCK_SHIFT
        if (
            count > _U(0)
            and block > _U(0)
            and (block << _BLOCK_SHIFT) >= found
            and (block << _BLOCK_SHIFT) < n
        ):
            for _ in range((block << _BLOCK_SHIFT) - found):
                word &= word - _ONE
            s = block - _ONE
            sample = (words[samples_at + (s >> _ONE)] >> ((s & _ONE) << _U(5))) & _U(0xFFFFFFFF)
            if sample != ((k - high_at) << _SIX) + _U(lowest_bit(word)):
                return 3
        found += count
    if found != n:
        return 1
    top = largest >> low_bits
    # With all n bits among the first n + top, no high part is over top.
    end = n + top
    if end & _SIXTY_THREE > _U(0) and words[high_at + (end >> _SIX)] >> (end & _SIXTY_THREE) != _U(0):
        return 2
    i = n
    while i > _U(0):
        value = select(address, _U(0), low_bits, high_at, samples_at, i - _ONE)
        if value > largest:
            return 4
        if value >> low_bits < top:
            break
        i -= _ONE
    return 0


def address_of(array: NDArray[np.uint64]) -> np.uint64:
    """Where an array lies, for `load_word`; good as long as the array lives."""
    return _U(array.ctypes.data)
