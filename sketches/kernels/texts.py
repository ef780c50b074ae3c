"""Kernels that write and read sorted texts, without the prefixes that they share, as words of a prefix code.

The layout is described in `sketches.coding.texts`. Bits are read from the highest of a word to the lowest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.compiled import helper, kernel
from .elias_fano import select

__all__ = [
    "BLOCK",
    "LONG",
    "LONGEST",
    "NUMBERS",
    "PADDING",
    "SKIP_BITS",
    "TABLE_BITS",
    "Code",
    "find_distinct",
    "number_words",
    "prefix_changes",
    "read_texts",
    "shared_prefixes",
    "write_texts",
]

#: Texts in a block; the first one has no prefix.
BLOCK = 8
#: Numbers below this have words of their own. Larger ones share a word by their bits, which follow it.
NUMBERS = 256
#: A text of at least this number of symbols is stored with the number of their bits, to skip it.
LONG, SKIP_BITS = 256, 48
#: Words behind the bits, so that windows can be read past the end.
PADDING = 2
#: Larger numbers are wrong ones of a damaged file.
_LARGEST = np.uint64(1 << 48)
#: Bits that index the table of a code.
TABLE_BITS = 10
#: A symbol stands for at most this number of bytes.
LONGEST = 256
_U = np.uint64
_I = np.int64
_ZERO, _ONE, _SIX, _SIXTY_THREE, _SIXTY_FOUR = _U(0), _U(1), _U(6), _U(63), _U(64)
_TABLE_SHIFT = _U(64 - TABLE_BITS)


class Code(NamedTuple):
    """A canonical prefix code; a window of 64 bits begins with a word, and is compared as a whole.

    Attributes
    ----------
    table : ndarray of shape (2**TABLE_BITS,), uint16
        For a code of numbers and by the first bits of a window: the number and, above its 8 bits, the bits of
        its word; 0 if either is larger. For the code of symbols: the least number of bits of a word.
    limits : ndarray of shape (64,), uint64
        For each number of bits the last window that begins with a word of at most that number of bits.
    offsets : ndarray of shape (64,), uint64
        The index of a word, in the order of the words, is the word plus the offset of its number of bits.
    last : uint64
        The largest index.
    least : uint64
        The least number of bits of a word.
    """

    table: NDArray[np.uint16]
    limits: NDArray[np.uint64]
    offsets: NDArray[np.uint64]
    last: np.uint64
    least: np.uint64


@kernel
def shared_prefixes(data, ends, out):
    """Write how many bytes each text shares with the one before; 0 for the first of a block."""
    for i in range(out.size):
        out[i] = 0
        if i % BLOCK == 0:
            continue
        start, before = ends[i], ends[i - 1]
        most = min(ends[i + 1] - start, start - before)
        n = 0
        while n < most and data[start + n] == data[before + n]:
            n += 1
        out[i] = n


@helper
def _put(words, at, bits, n):
    """Write the n lowest bits of a word at a bit of zeroed words, and return the bit behind; n <= 63."""
    if n > 0:
        word, free = at >> 6, 64 - (at & 63)
        if n <= free:
            words[word] |= bits << _U(free - n)
        else:
            words[word] |= bits >> _U(n - free)
            words[word + 1] |= bits << _U(64 - (n - free))
    return at + n


@helper
def _number_word(number):
    """Return the index of a number's word, and how many of its lowest bits follow."""
    if number < NUMBERS:
        return number, 0
    n = 8
    while number >> _I(n + 1) > 0:
        n += 1
    return NUMBERS + n - 8, n


@helper
def _put_number(words, at, number, codes, lengths):
    index, n = _number_word(number)
    at = _put(words, at, _U(codes[index]), _I(lengths[index]))
    return _put(words, at, _U(number) & ((_ONE << _U(n)) - _ONE), n)


@helper
def _signed_as_number(difference):
    return 2 * difference if difference >= 0 else -2 * difference - 1


@kernel
def number_words(numbers, counts):
    """Count the word of each number."""
    for i in range(numbers.size):
        counts[_number_word(numbers[i])[0]] += 1


@kernel
def prefix_changes(prefixes, out):
    """Write the change of the prefix at each text but the first of a block, and return how many there are."""
    n = 0
    for i in range(prefixes.size):
        if i % BLOCK > 0:
            out[n] = _signed_as_number(prefixes[i] - prefixes[i - 1])
            n += 1
    return n


@kernel
def write_texts(prefixes, sizes, symbols, codes, lengths, words, starts):
    """Write all texts into zeroed words, and where each block starts; return the number of bits.

    Parameters
    ----------
    prefixes, sizes : (n,) int64 arrays
        Bytes that each text shares with the one before, and its number of symbols.
    symbols : uint16 array
        The symbols of all texts, with one item more behind each text.
    codes, lengths : (3, ...) uint32 and uint8 arrays
        The word of each prefix, each number and each symbol.
    """
    at, s = 0, 0
    for i in range(prefixes.size):
        if i % BLOCK == 0:
            starts[i // BLOCK] = at
        else:
            change = _signed_as_number(prefixes[i] - prefixes[i - 1])
            at = _put_number(words, at, change, codes[0], lengths[0])
        at = _put_number(words, at, sizes[i], codes[1], lengths[1])
        if sizes[i] >= LONG:
            n_bits: Any = 0
            for k in range(sizes[i]):
                n_bits += _I(lengths[2, symbols[s + k]])
            at = _put(words, at, _U(n_bits), SKIP_BITS)
        for k in range(sizes[i]):
            symbol = symbols[s + k]
            at = _put(words, at, _U(codes[2, symbol]), _I(lengths[2, symbol]))
        s += sizes[i] + 1
    return at


@helper
def _window(words, at):
    """Return the 64 bits from a bit on."""
    word, shift = at >> _SIX, at & _SIXTY_THREE
    # A shift by 64 would be undefined: make two.
    return words[word] << shift | (words[word + _ONE] >> _ONE) >> (_SIXTY_THREE - shift)


@helper
def _length(code, window, n):
    """Return the number of bits of the word at the front of a window, which is n at least."""
    while window > code.limits[n]:
        n += _ONE
    return n


@helper
def _index(code, window, n):
    """Return the index of the word of n bits at the front of a window."""
    return min(((window >> _ONE) >> (_SIXTY_THREE - n)) + code.offsets[n], code.last)


@helper
def _number(words, at, n_bits, code, values):
    """Return the number at a bit, and the bit behind it."""
    if at > n_bits:
        return _ZERO, at
    window = _window(words, at)
    found = _U(code.table[window >> _TABLE_SHIFT])
    if found > _ZERO:
        return found & _U(255), at + (found >> _U(8))
    n = _length(code, window, code.least)
    at += n
    number = _U(values[_index(code, window, n)])
    if number < _U(NUMBERS):
        return number, at
    n = number - _U(NUMBERS - 8)
    if at > n_bits:
        return _ZERO, at
    return _ONE << n | _window(words, at) >> (_SIXTY_FOUR - n), at + n


@kernel
def read_texts(
    numbers, start, words, block_starts, layout, n_texts,
    change_code, changes, size_code, sizes, symbol_code, rules, buffer, ends,
):  # fmt: skip
    """Write texts into a buffer, from ``numbers[start]`` on until it is full; return how many.

    Parameters
    ----------
    numbers : uint64 array
    start : int
    words : uint64 array
        The bits, and PADDING words.
    block_starts : uint64
        The address of an Elias-Fano sequence: the bit where each block starts.
    layout : (3,) uint64 array
        The first three numbers of its layout.
    n_texts : uint64
    change_code, size_code, symbol_code : Code
    changes, sizes : uint16 arrays
        The numbers of the words of the first two codes.
    rules : uint32 array
        The two symbols of each symbol, the second one in the upper half; or a byte, and 0xFFFF.
    buffer : uint8 array
    ends : int64 array
        The end of each text in the buffer.

    No bits lead out of the bounds of the arrays, and every symbol takes a bit. So damaged bits give wrong
    texts, in a time that the bits bound.
    """
    n_bits = _U(words.size - PADDING) << _SIX
    block, end = _U(BLOCK), _U(buffer.size - LONGEST)
    prefixes = np.zeros(BLOCK, dtype=np.uint64)
    n_symbols = np.zeros(BLOCK, dtype=np.uint64)
    places = np.zeros(BLOCK, dtype=np.uint64)
    needed = np.zeros(BLOCK, dtype=np.uint64)
    stack = np.zeros(LONGEST, dtype=np.uint32)
    done, base = 0, _ZERO
    for k in range(start, numbers.size):
        last = numbers[k] % block
        at = n_bits + _ONE
        if numbers[k] < n_texts:
            at = select(block_starts, _ZERO, layout[0], layout[1], layout[2], numbers[k] // block)
        # Find where the symbols of each text of the block are.
        prefix, j = _ZERO, _ZERO
        while True:
            if j > _ZERO:
                change, at = _number(words, at, n_bits, change_code, changes)
                down = (change + _ONE) >> _ONE
                if change & _ONE == _ZERO:
                    prefix = min(prefix + (change >> _ONE), _LARGEST)
                else:
                    prefix -= min(down, prefix)
            prefixes[j] = prefix
            n, at = _number(words, at, n_bits, size_code, sizes)
            n_symbols[j], places[j] = n, at
            if n >= _U(LONG) and at <= n_bits:
                places[j] += _U(SKIP_BITS)
                at = places[j] + (_window(words, at) >> _U(64 - SKIP_BITS))
                n = _ZERO
            if j == last:
                break
            while n > _ZERO and at <= n_bits:
                window = _window(words, at)
                at += _length(symbol_code, window, _U(symbol_code.table[window >> _TABLE_SHIFT]))
                n -= _ONE
            j += _ONE
        # Text j gives the bytes before the shortest prefix of the texts behind it.
        needed[last] = _LARGEST
        while j > _ZERO:
            needed[j - _ONE] = min(needed[j], prefixes[j])
            j -= _ONE
        filled = _ZERO
        while j <= last:
            filled = min(filled, prefixes[j])
            n, at = n_symbols[j], places[j]
            while n > _ZERO and filled < needed[j] and at <= n_bits:
                if base + filled > end:
                    return done
                window = _window(words, at)
                n_word = _length(symbol_code, window, _U(symbol_code.table[window >> _TABLE_SHIFT]))
                rule = rules[_index(symbol_code, window, n_word)]
                at += n_word
                n -= _ONE
                depth = _ZERO
                while True:
                    right = _U(rule) >> _U(16)
                    if right != _U(0xFFFF):
                        stack[depth] = right
                        depth += _ONE
                        rule = rules[_U(rule) & _U(0xFFFF)]
                        continue
                    buffer[base + filled] = rule & 0xFF
                    filled += _ONE
                    if depth == _ZERO:
                        break
                    depth -= _ONE
                    rule = rules[stack[depth]]
            j += _ONE
        base += filled
        ends[done] = base
        done += 1
    return done


@kernel
def find_distinct(numbers, slots, distinct, inverse):
    """Write the distinct numbers in the order in which they occur, and the place of each number among them.

    `slots` is a hash table that is filled with -1, of a power of two of at least twice the numbers. The
    result is the number of distinct numbers.
    """
    shift = _SIXTY_FOUR - _U(_popcount_below(slots.size))
    mask, n = slots.size - 1, 0
    for i in range(numbers.size):
        number = numbers[i]
        at = _I((number * _U(0x9E3779B97F4A7C15)) >> shift)
        while slots[at] >= 0 and distinct[slots[at]] != number:
            at = (at + 1) & mask
        if slots[at] < 0:
            slots[at] = n
            distinct[n] = number
            n += 1
        inverse[i] = slots[at]
    return n


@helper
def _popcount_below(size):
    """Return the logarithm of a power of two."""
    n = 0
    while size > 1:
        size >>= 1
        n += 1
    return n
