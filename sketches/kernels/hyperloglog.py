"""Kernels of distinct counts: registers of the largest values of hashes, as UltraLogLog stores them.

The first `precision` bits of a hash choose a register. The value of the hash is 1 and the number of zeros at
the end of the other bits: k with probability 2**-k. A register is a byte. ``4 u + 2 a + b`` means that u is
the largest value of its hashes, that a hash of value u - 1 was seen if a is 1, and one of value u - 2 if b is
1. 0 is a register without hashes (Ertl 2024, section 2).
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch
from ...lsh.kernels.words import lowest_bit
from ...lsh.kernels.xxh3 import xxh3_64_u64

__all__ = ["add_keys", "count_pairs", "count_registers", "join_registers"]

#: Keys that are hashed together, and keys by which registers are prefetched.
_TILE, _AHEAD = 1024, 24


@helper(inline="always")
def _join(a, b):
    """Return the register of the hashes of two registers."""
    high, low = max(a, b), min(a, b)
    # The values that the lower register has seen, as bits: its largest one, and the two below it.
    seen = (low & 3) | (4 if low else 0)
    return high | ((seen >> min((high >> 2) - (low >> 2), 3)) & 3)


@kernel
def add_keys(keys, seed, hashed, precision, first, start, stop, registers):
    """Add the keys [start, stop) to their registers, of which `registers` has those from `first` on.

    `keys` are integers that are hashed here, with `seed`, or hashes if `hashed` is true.
    """
    shift = np.uint64(64 - precision)
    end = np.uint64(1) << shift
    begin, size = np.uint64(first), np.uint64(registers.size)
    hashes = np.zeros(_TILE + _AHEAD, np.uint64)
    for left in range(start, stop, _TILE):
        n = min(_TILE, stop - left)
        # A loop of its own, so that vector instructions hash several keys at once.
        if hashed:
            for i in range(n):
                hashes[i] = keys[left + i]
        else:
            for i in range(n):
                hashes[i] = xxh3_64_u64(keys[left + i], seed)
        for i in range(n):
            # A thread fetches only registers of its own: those of others would be taken from their caches.
            ahead = min((hashes[i + _AHEAD] >> shift) - begin, size - np.uint64(1))
            prefetch(registers, np.int64(ahead))
            place = (hashes[i] >> shift) - begin
            if place < size:
                value = lowest_bit(hashes[i] | end) + 1
                register = np.int64(registers[place])
                # Most hashes of a full sketch are too small to change anything.
                if value + 2 >= register >> 2:
                    registers[place] = _join(register, 4 * value)


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
