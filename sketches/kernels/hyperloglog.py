"""Kernels of distinct counts: registers of the largest values of hashes, as UltraLogLog stores them.

The first 26 bits of a hash, as a fraction of one, choose a register. For 2**p registers these are the first p
bits. The value of the hash is 1 and the number of zeros at the end of the other bits: k with probability
2**-k. A register is a byte. ``4 u + 2 a + b`` means that u is the largest value of its hashes, that a hash of
value u - 1 was seen if a is 1, and one of value u - 2 if b is 1. 0 is a register without hashes (Ertl 2024,
section 2).

A token is what a hash says about registers of up to 26 bits: ``64 f + k`` for its first 26 bits f and the
value k of the other bits, which is 39 if these are all zeros.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch
from ...lsh.kernels.words import lowest_bit
from ...lsh.kernels.xxh3 import xxh3_64_u64

__all__ = ["add_keys", "count_pairs", "count_registers", "drop_repeats", "find_tokens", "join_registers"]

#: Keys that are hashed together, and keys by which registers are prefetched.
_TILE, _AHEAD = 1024, 24
#: The last bit of the part of a hash that a token keeps.
_END = np.uint64(1 << 38)
#: 2**64 over the golden ratio, whose product's first bits differ for near numbers.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@helper(inline="always")
def _join(a, b):
    """Return the register of the hashes of two registers."""
    high, low = max(a, b), min(a, b)
    # The values that the lower register has seen, as bits: its largest one, and the two below it.
    seen = (low & 3) | (4 if low else 0)
    return high | ((seen >> min((high >> 2) - (low >> 2), 3)) & 3)


@helper(inline="always")
def _place(word, n):
    """Return the register of a hash, of n registers."""
    return ((word >> np.uint64(38)) * n) >> np.uint64(26)


@kernel
def add_keys(keys, seed, hashed, n_registers, first, start, stop, registers):
    """Add the keys [start, stop) to their registers, of which `registers` has those from `first` on.

    There are `n_registers` in all: a power of two up to 2**26, or a number up to 2**18.

    `keys` are integers that are hashed here, with `seed`, or hashes if `hashed` is true.
    """
    n, bits = np.uint64(n_registers), 3
    while 1 << bits < n_registers:
        bits += 1
    end = np.uint64(1) << np.uint64(64 - bits)
    begin, size = np.uint64(first), np.uint64(registers.size)
    hashes = np.zeros(_TILE + _AHEAD, np.uint64)
    for left in range(start, stop, _TILE):
        n_here = min(_TILE, stop - left)
        # A loop of its own, so that vector instructions hash several keys at once.
        if hashed:
            for i in range(n_here):
                hashes[i] = keys[left + i]
        else:
            for i in range(n_here):
                hashes[i] = xxh3_64_u64(keys[left + i], seed)
        for i in range(n_here):
            # A thread fetches only registers of its own: those of others would be taken from their caches.
            ahead = min(_place(hashes[i + _AHEAD], n) - begin, size - np.uint64(1))
            prefetch(registers, np.int64(ahead))
            place = _place(hashes[i], n) - begin
            if place < size:
                value = lowest_bit(hashes[i] | end) + 1
                register = np.int64(registers[place])
                # Most hashes of a full sketch are too small to change anything.
                if value + 2 >= register >> 2:
                    registers[place] = _join(register, 4 * value)


@kernel
def find_tokens(keys, seed, hashed, start, stop, tokens):
    """Write the tokens of the keys [start, stop) to `tokens`, from its start on.

    `keys` are integers that are hashed here, with `seed`, or hashes if `hashed` is true.
    """
    for i in range(start, stop):
        word = keys[i] if hashed else xxh3_64_u64(keys[i], seed)
        value = lowest_bit(word | _END) + 1
        tokens[i - start] = np.uint32((word >> np.uint64(38) << np.uint64(6)) | np.uint64(value))


@kernel
def drop_repeats(tokens, cache):
    """Move the tokens that are not in a cache to the front, and return their number.

    They enter the cache, where each may displace another one: so some tokens stay that were there before. It
    has 2**k places. A GPU sorts all tokens instead.
    """
    shift = np.uint64(64) - np.uint64(lowest_bit(np.uint64(cache.size)))
    n = 0
    for i in range(tokens.size):
        token = tokens[i]
        place = np.int64(np.uint64(token) * _MULTIPLIER >> shift)
        if cache[place] != token:
            cache[place] = tokens[n] = token
            n += 1
    return n


@kernel
def join_registers(others, start, stop, registers):
    """Add the hashes of other registers [start, stop) to ours."""
    for i in range(start, stop):
        registers[i] = _join(np.int64(registers[i]), np.int64(others[i]))


@kernel
def count_registers(registers, start, stop, counts):
    """Add the numbers of registers [start, stop) with each of the 256 values to `counts`."""
    for i in range(start, stop):
        counts[registers[i]] += 1


@kernel
def count_pairs(registers, others, start, stop, counts):
    """Add the numbers of registers [start, stop) with each pair of values to ``counts[ours, theirs]``."""
    for i in range(start, stop):
        counts[registers[i], others[i]] += 1
