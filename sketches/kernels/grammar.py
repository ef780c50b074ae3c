"""Kernels that find frequent pairs of symbols in texts, and replace them by new symbols."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = [
    "END",
    "bits_saved",
    "choose_pairs",
    "count_pairs",
    "fill_stream",
    "mark_bytes",
    "pair_table",
    "replace_pairs",
]

#: Stands behind the last symbol of each text, and is no symbol.
END = 0xFFFF
_U = np.uint64
_SPREAD = _U(0x9E3779B97F4A7C15)


@helper
def _slot(pair, shift):
    """Return the first slot of a pair in a table of ``2**(64 - shift)`` slots."""
    return np.int64((_U(pair) * _SPREAD) >> shift)


@kernel
def mark_bytes(data, seen):
    """Set `seen` at every byte that occurs."""
    for i in range(data.size):
        seen[data[i]] = True


@kernel
def fill_stream(data, ends, prefixes, symbols, start, stop, out):
    """Write the symbols of the bytes behind the prefix of texts [start, stop), and END behind each text.

    Text i is ``data[ends[i] : ends[i + 1]]``. The result is the number of items written.
    """
    n = 0
    for i in range(start, stop):
        for k in range(ends[i] + prefixes[i], ends[i + 1]):
            out[n] = symbols[data[k]]
            n += 1
        out[n] = END
        n += 1
    return n


@kernel
def count_pairs(stream, shift, pairs, counts, singles):
    """Count the neighbours in a stream: pairs in a zeroed hash table, and single symbols.

    `pairs` has ``2**(64 - shift)`` slots, more than there are distinct pairs; a free slot has the count 0.
    A pair of equal symbols does not overlap the one before.
    """
    mask = pairs.size - 1
    before: Any = END
    overlaps = False
    for i in range(stream.size):
        symbol = np.int64(stream[i])
        if symbol != END:
            singles[symbol] += 1
            overlaps = symbol == before and not overlaps and i > 1 and stream[i - 2] == symbol
            if before != END and not overlaps:
                pair = before << 16 | symbol
                at = _slot(pair, shift)
                while counts[at] != 0 and pairs[at] != pair:
                    at = (at + 1) & mask
                pairs[at] = pair
                counts[at] += 1
        before = symbol


@kernel
def bits_saved(pairs, counts, singles, n_symbols, out):
    """Write about how many bits each pair saves as a symbol of its own, apart from those of its rule.

    It is the count times the logarithm of the pair's count over the one expected of independent symbols. The
    logarithm is linear between powers of two, so that all processors find the same number.
    """
    for k in range(pairs.size):
        left, right = pairs[k] >> 16, pairs[k] & 0xFFFF
        expected = np.float64(singles[left]) * np.float64(singles[right]) / np.float64(n_symbols)
        mantissa, exponent = math.frexp(np.float64(counts[k]) / expected)
        out[k] = np.float64(counts[k]) * (np.float64(exponent) - 2.0 + 2.0 * mantissa)


@kernel
def choose_pairs(pairs, lengths, longest, most, is_left, is_right, out):
    """Write up to `most` of the pairs, in their order, which do not overlap each other in a stream.

    The second symbol of no chosen pair is the first symbol of another one. `lengths` has the bytes of each
    symbol; a pair has `longest` bytes at most. The result is the number of pairs.
    """
    n = 0
    for k in range(pairs.size):
        if n == most:
            break
        left, right = pairs[k] >> 16, pairs[k] & 0xFFFF
        if is_right[left] or is_left[right] or lengths[left] + lengths[right] > longest:
            continue
        is_left[left] = True
        is_right[right] = True
        out[n] = pairs[k]
        n += 1
    return n


@kernel
def pair_table(pairs, first, shift, keys, symbols):
    """Fill a hash table, of zeroed `keys`, with the symbols ``first, first + 1, ...`` of pairs."""
    mask = keys.size - 1
    for k in range(pairs.size):
        at = _slot(pairs[k], shift)
        while keys[at] != 0:
            at = (at + 1) & mask
        keys[at] = pairs[k] + 1
        symbols[at] = first + k


@kernel
def replace_pairs(stream, n, shift, keys, symbols):
    """Replace pairs by their symbols in the first n items, from left to right; return the new number."""
    mask = keys.size - 1
    i, out = 0, 0
    while i < n:
        symbol = np.int64(stream[i])
        i += 1
        if symbol != END and i < n and stream[i] != END:
            pair = symbol << 16 | np.int64(stream[i])
            at = _slot(pair, shift)
            while keys[at] != 0:
                if keys[at] == pair + 1:
                    symbol = symbols[at]
                    i += 1
                    break
                at = (at + 1) & mask
        stream[out] = symbol
        out += 1
    return out
