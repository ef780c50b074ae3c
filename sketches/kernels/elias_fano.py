"""Kernels that read, write and check Elias-Fano sequences in place; see `sketches.coding.elias_fano`."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.registers import intrinsic
from ...lsh.kernels.words import lowest_bit, popcount

__all__ = [
    "OUT_OF_RANGE",
    "SAMPLE",
    "TOO_LARGE",
    "VALID",
    "WRONG_NUMBER",
    "WRONG_SAMPLE",
    "address_of",
    "elias_fano_check",
    "elias_fano_encode",
    "elias_fano_take",
    "load_word",
    "select",
]

#: Results of `elias_fano_check`: a sequence is valid, or its high parts have another number of bits than n, a
#: bit out of range, a sample in the wrong place, or a value above the largest.
VALID, WRONG_NUMBER, OUT_OF_RANGE, WRONG_SAMPLE, TOO_LARGE = range(5)
#: Values for each select sample.
SAMPLE = 128
_BLOCK_SHIFT = np.uint64(7)

_U = np.uint64
_ONE, _SIX, _SIXTY_THREE, _ALL = _U(1), _U(6), _U(63), _U(2**64 - 1)
_EACH_BYTE, _EACH_HIGH_BIT = _U(0x0101010101010101), _U(0x8080808080808080)


@intrinsic
def load_word(typingctx, address, index):
    """Return the `index`-th word from an address.

    Tuples have addresses as fields, because references to arrays in them would be counted at every call: 50
    ns on one thread, and more where threads share the counter.
    """

    def generate(context, builder, signature, arguments):
        word = ir.IntType(64)
        start = builder.inttoptr(arguments[0], word.as_pointer())
        return builder.load(builder.gep(start, [arguments[1]]), align=8)

    return types.uint64(types.uint64, types.uint64), generate


@helper
def _select_bit(word, rank):
    """Find the bit that has `rank` set bits below it, without branches, which could not be predicted."""
    # Each byte gets the number of bits in it and in those below it.
    sums = word - ((word >> _ONE) & _U(0x5555555555555555))
    sums = (sums & _U(0x3333333333333333)) + ((sums >> _U(2)) & _U(0x3333333333333333))
    sums = ((sums + (sums >> _U(4))) & _U(0x0F0F0F0F0F0F0F0F)) * _EACH_BYTE
    passed = (((rank * _EACH_BYTE) | _EACH_HIGH_BIT) - sums) & _EACH_HIGH_BIT
    place = popcount(passed) << _U(3)
    rank -= ((sums << _U(8)) >> place) & _U(255)
    word >>= place
    # A search by halves finds the bit within its byte.
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
    """Return the i-th value of the sequence at the address `words`; all arguments are uint64.

    `low_at`, `high_at` and `samples_at` say at which word from there its parts begin.

    It takes constant time where values spread evenly, and at worst a scan over a gap between high parts. It
    stays in bounds for every i < n of words that `check` has passed.
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
    # The next word exists, for the high parts follow the low bits. A shift by 64 would be undefined: make
    # two.
    low = (load_word(words, k) >> shift) | ((load_word(words, k + _ONE) << _ONE) << (_SIXTY_THREE - shift))
    return (high << low_bits) | (low & ((_ONE << low_bits) - _ONE))


@kernel
def elias_fano_encode(values, low_bits, high_at, samples_at, words):
    """Write `values` into zeroed words; return the index of the first that falls, or their number."""
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
    """Write the values at some indices of the sequence at an address."""
    for k in range(indices.size):
        out[k] = select(address, _U(0), low_bits, high_at, samples_at, _U(indices[k]))


@kernel
def elias_fano_check(words, address, n, largest, low_bits, high_at, samples_at):
    """Check the words of a sequence; return VALID, or the reason why they are no sequence."""
    found = _U(0)
    for k in range(high_at, samples_at):
        word = words[k]
        count = popcount(word)
        # A word has at most one sampled bit, for there are 128 bits from one to the next.
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
                return WRONG_SAMPLE
        found += count
    if found != n:
        return WRONG_NUMBER
    top = largest >> low_bits
    # With all n bits among the first n + top, no high part exceeds top.
    end = n + top
    if end & _SIXTY_THREE > _U(0) and words[high_at + (end >> _SIX)] >> (end & _SIXTY_THREE) != _U(0):
        return OUT_OF_RANGE
    i = n
    while i > _U(0):
        value = select(address, _U(0), low_bits, high_at, samples_at, i - _ONE)
        if value > largest:
            return TOO_LARGE
        if value >> low_bits < top:
            break
        i -= _ONE
    return VALID


def address_of(array: NDArray[np.uint64]) -> np.uint64:
    """Return the address of an array for `load_word`; it is valid while the array lives."""
    return _U(array.ctypes.data)
