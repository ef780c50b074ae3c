"""Kernels of KLLSketch: levels of values, the lowest full one of which is halved when there is no room.

The levels lie one after the other in one array, the highest one first. So values are appended to the lowest
level at the end, and the half of a level that is promoted follows the level above, where it belongs.

Inside a kernel, values are integers in the order of the numbers, which processors compare in fewer cycles
than floats. Most of the time goes into merges, whose steps wait for one another. So each merge runs from both
of its ends at once, on indices without a sign, for which Numba checks nothing.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64

__all__ = ["add_blocks", "compress_levels"]

_ONE, _LEVEL_SHIFT = np.uint64(1), np.uint64(56)
_SIGN_BIT, _MAGNITUDE = np.int64(63), np.int64(0x7FFFFFFFFFFFFFFF)
#: Integers below and above those of all finite values.
_LEAST, _LARGEST = np.int64(-(2**63)), np.int64(2**63 - 1)


@helper
def _reorder(words, begin, end):
    """Turn bits of floats into integers in the order of the numbers, or such integers into bits of floats."""
    for i in range(begin, end):
        words[i] ^= (words[i] >> _SIGN_BIT) & _MAGNITUDE


@helper
def _merge(words, left, middle, first, step, n_right, scratch):
    """Merge words [left, middle) with `n_right` words, each step-th from `first` on; set those from `left`.

    Both are sorted. In `scratch`, each of them stands between words that come before and after all others,
    so that no step asks whether one of them has ended.
    """
    n_left = middle - left
    scratch[0] = _LEAST
    for place in range(n_left):
        scratch[1 + place] = words[left + place]
    scratch[n_left + 1], scratch[n_left + 2] = _LARGEST, _LEAST
    for place in range(n_right):
        scratch[n_left + 3 + place] = words[first + step * place]
    n = n_left + n_right
    scratch[n + 3] = _LARGEST
    i, j, low = _ONE, np.uint64(n_left + 3), np.uint64(left)
    p, q, high = np.uint64(n_left), np.uint64(n + 2), np.uint64(left + n - 1)
    for _ in range(n // 2):
        one, other = scratch[i], scratch[j]
        words[low] = min(one, other)
        is_one = np.uint64(one <= other)
        i, j, low = i + is_one, j + (_ONE - is_one), low + _ONE
        one, other = scratch[p], scratch[q]
        words[high] = max(one, other)
        is_one = np.uint64(one > other)
        p, q, high = p - is_one, q - (_ONE - is_one), high - _ONE
    if n % 2:
        words[low] = min(scratch[i], scratch[j])


@helper
def _merge_blocks(words, begin, end, block, scratch):
    """Sort words [begin, end), of which each block is sorted."""
    width = block
    while width < end - begin:
        for left in range(begin, end - width, 2 * width):
            middle = left + width
            _merge(words, left, middle, middle, 1, min(width, end - middle), scratch)
        width *= 2


@helper
def _compress(words, scratch, block, capacities, seed, total, n_levels, sizes, compactions, salt):
    """Halve the lowest full level, as long as there are as many values as all levels have room for.

    The values of a block that is not yet complete do not count. All levels are sorted, and stay so; of the
    lowest one, each block is sorted before.
    Return the numbers of values and of levels.
    """
    room = capacities[:n_levels].sum()
    while total - sizes[0] % block >= room:
        h, end = 0, total
        while sizes[h] < capacities[n_levels - 1 - h]:
            end -= sizes[h]
            h += 1
        size = sizes[h]
        begin, half = end - size, size // 2
        if h == 0:
            _merge_blocks(words, begin, end, block, scratch)
        if salt[0] == 0:
            mixed = np.uint64(0)
            for i in range(begin, end):
                word = words[i]
                mixed = mix64(mixed ^ np.uint64(word ^ ((word >> _SIGN_BIT) & _MAGNITUDE)))
            salt[0] = mixed | _ONE
        # Of two halvings of a level, the second one drops what the first one would have kept.
        number = np.uint64(compactions[h])
        mixed = mix64(mix64(salt[0] ^ seed) + (np.uint64(h) << _LEVEL_SHIFT) + (number >> _ONE))
        coin, last = np.int64((mixed ^ number) & _ONE), words[end - 1]
        _merge(words, begin - sizes[h + 1], begin, begin + coin, 2, half, scratch)
        if size % 2:
            words[begin + half] = last
        for i in range(end, total):
            words[i - half] = words[i]
        total -= half
        sizes[h] = size % 2
        sizes[h + 1] += half
        compactions[h] += 1
        if h + 1 == n_levels:
            room += capacities[n_levels]
            n_levels += 1
    return total, n_levels


@helper
def _count(sizes):
    """Return the numbers of values and of levels."""
    total, n_levels = np.int64(0), np.int64(1)
    for h in range(sizes.size):
        total += sizes[h]
        if sizes[h] > 0:
            n_levels = np.int64(h + 1)
    return total, n_levels


@kernel
def add_blocks(values, block, capacities, seed, scratch, items, sizes, compactions, salt):
    """Add sorted blocks of `block` values each, one after the other. The lowest level is empty before.

    The other levels are sorted before and afterwards, and the blocks of the lowest one are afterwards.
    """
    seed, words = np.uint64(seed), items.view(np.int64)
    total, n_levels = _count(sizes)
    _reorder(words, 0, total)
    for start in range(0, values.size, block):
        for i in range(block):
            items[total + i] = values[start + i] + 0.0  # which makes a zero of a negative zero
        _reorder(words, total, total + block)
        total += block
        sizes[0] += block
        total, n_levels = _compress(
            words, scratch, block, capacities, seed, total, n_levels, sizes, compactions, salt
        )
    _reorder(words, 0, total)


@kernel
def compress_levels(block, capacities, seed, scratch, items, sizes, compactions, salt):
    """Halve levels until the values have room. Levels may have any sizes before, and are sorted."""
    seed, words = np.uint64(seed), items.view(np.int64)
    total, n_levels = _count(sizes)
    _reorder(words, 0, total)
    total = _compress(words, scratch, block, capacities, seed, total, n_levels, sizes, compactions, salt)[0]
    _reorder(words, 0, total)
