"""Kernels that decode entropy-coded floats; `sketches.coding.float_chunks` describes the format.

`float_ranges` has the kernel that GPUs have a twin of. They stay within their arrays for any bytes: what they
are given besides the bytes, the plan of a chunk and the lengths of its pairs, must be as `float_chunks` has
checked it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.prefetch import prefetch, prefetch_once
from .unaligned import load_word_at, reverse_bytes, shift_down, shift_up, store_word_at

__all__ = [
    "LONGEST",
    "MOST_SYMBOLS",
    "PAD",
    "PLAN",
    "STREAM",
    "TABLE",
    "code_words",
    "decode_values",
    "lookup_table",
]

#: Bits of the longest code word, and entries of a look-up table.
LONGEST = 11
TABLE = 1 << LONGEST
#: Values of a stream. Two streams are a pair, which shares a range of bytes.
STREAM = 1024
#: Bytes before the first chunk and after the last one, which loads of words may touch.
PAD = 8
#: The most symbols of a code: look-ups find them as bytes.
MOST_SYMBOLS = 256
#: Fields of a plan: number of values, place of the first pair in the data, number of the first pair among
#: all lengths, bits of a symbol, bits above the symbol, bits below it that are stored as they are, bits below
#: these that are the same in all values, how values are turned, the bits that all values share, the first
#: symbol, and bits of the mantissa. With a first symbol of -1, all symbols follow.
PLAN = 11

_U, _I = np.uint64, np.int64
_MASK = _U(TABLE - 1)
#: Look-ups for each load of a word: they use up to 55 of at least 57 bits.
_LOOKUPS = 5
#: Symbols of a look-up, and from one stream to the next in the scratch memory. A stream may end with up to 31
#: symbols too many.
_FOUND, _STRIDE = 6, STREAM + 64
_ALL_SIX, _BYTE = _U(63), _U(255)


@kernel
def code_words(lengths, words):
    """Write the canonical code words of symbols: the bits in reverse order, and their number times 2**16.

    ``lengths[i]`` is the number of bits of symbol i, 0 if it has no word. If no symbol has a word, there is
    only one symbol, and it takes no bits.
    """
    start = np.zeros(LONGEST + 2, np.int64)
    for i in range(lengths.size):
        if lengths[i] > 0:
            start[lengths[i] + 1] += 1
    for size in range(1, LONGEST + 1):
        start[size + 1] = (start[size] + start[size + 1]) << 1
    for i in range(lengths.size):
        length = _I(lengths[i])
        word: Any = start[length]
        turned: Any = 0
        start[length] += 1
        for _ in range(length):
            turned = (turned << 1) | (word & 1)
            word >>= 1
        words[i] = np.uint32(turned | (length << 16))


@kernel
def lookup_table(lengths, table):
    """Fill a table whose entry for 11 bits has the symbols that they begin with, up to six.

    An entry has the number of bits of these symbols in its lowest byte, their number in the next one, and the
    symbols in a byte each. ``lengths[i]`` is the length of the word of symbol i, or 0 if it has none; the
    words must be those of a complete code. Words are read from their lowest bit on.
    """
    words = np.empty(lengths.size, np.uint32)
    code_words(lengths, words)
    # Symbol 0 alone, if there is no other.
    alone = np.zeros(TABLE, np.uint64)
    for i in range(lengths.size):
        length = _I(words[i] >> 16)
        if length > 0:
            for place in range(_I(words[i] & 0xFFFF), TABLE, 1 << length):
                alone[place] = _U(i) | (_U(length) << _U(32))
    for place in range(TABLE):
        entry, total, count, bits = _U(0), _U(0), _U(0), _U(place)
        while count < _U(_FOUND):
            found = alone[bits]
            length = found >> _U(32)
            if total + length > _U(LONGEST):
                break
            entry |= (found & _BYTE) << (_U(16) + (count << _U(3)))
            total += length
            count += _U(1)
            bits >>= length
        table[place] = entry | (count << _U(8)) | total


@helper
def _forward(data, start, used):
    """Return at least 57 bits of the stream that begins at a byte, of which some bits are used."""
    return load_word_at(data, min(start + (used >> 3), data.size - 8)) >> (_U(used) & _U(7))


@helper
def _backward(data, end, used):
    """Return at least 57 bits of the stream that ends at a byte and is read from there backwards."""
    return reverse_bytes(load_word_at(data, max(end - 8 - (used >> 3), 0))) >> (_U(used) & _U(7))


@helper
def _five(table, bits, symbols, at):
    """Decode by five look-ups; return the place after the symbols, and the number of used bits."""
    used = _U(0)
    for _ in range(_LOOKUPS):
        entry = table[bits & _MASK]
        store_word_at(symbols, at, entry >> _U(16))
        at += _I((entry >> _U(8)) & _BYTE)
        bits >>= entry & _ALL_SIX
        used += entry
    return at, _I(used & _BYTE)


@helper
def _finish_forward(data, start, used, table, symbols, at, end):
    while at < end:
        at, more = _five(table, _forward(data, start, used), symbols, at)
        used += more


@helper
def _finish_backward(data, start, used, table, symbols, at, end):
    while at < end:
        at, more = _five(table, _backward(data, start, used), symbols, at)
        used += more


@helper
def _decode_pairs(data, table, first, first_end, second, second_end, symbols, ahead, out, at):
    """Decode two whole pairs, of four streams, whose chains of look-ups the processor overlaps.

    Meanwhile it fetches the bytes from `ahead` on, which are decoded next, and the values from `at` on, which
    are written next: of each as many cache lines a turn as a value has bytes.
    """
    a, b, c, d = 0, _STRIDE, 2 * _STRIDE, 3 * _STRIDE
    used_a = used_b = used_c = used_d = 0
    while a < STREAM and b < _STRIDE + STREAM and c < 2 * _STRIDE + STREAM and d < 3 * _STRIDE + STREAM:
        bits_a, bits_b = _forward(data, first, used_a), _backward(data, first_end, used_b)
        bits_c, bits_d = _forward(data, second, used_c), _backward(data, second_end, used_d)
        a, more_a = _five(table, bits_a, symbols, a)
        b, more_b = _five(table, bits_b, symbols, b)
        c, more_c = _five(table, bits_c, symbols, c)
        d, more_d = _five(table, bits_d, symbols, d)
        for _ in range(out.itemsize):
            prefetch_once(data, ahead)
            prefetch(out, at)
            ahead += 64
            at += 64 // out.itemsize
        used_a += more_a
        used_b += more_b
        used_c += more_c
        used_d += more_d
    _finish_forward(data, first, used_a, table, symbols, a, STREAM)
    _finish_backward(data, first_end, used_b, table, symbols, b, _STRIDE + STREAM)
    _finish_forward(data, second, used_c, table, symbols, c, 2 * _STRIDE + STREAM)
    _finish_backward(data, second_end, used_d, table, symbols, d, 3 * _STRIDE + STREAM)


@helper
def _decode_pair(data, table, start, end, first, second, symbols):
    """Decode the first symbols of the streams of a pair: `first` of the one and `second` of the other."""
    a, b, used_a, used_b = 0, _STRIDE, 0, 0
    second += _STRIDE
    while a < first and b < second:
        bits_a, bits_b = _forward(data, start, used_a), _backward(data, end, used_b)
        a, more_a = _five(table, bits_a, symbols, a)
        b, more_b = _five(table, bits_b, symbols, b)
        used_a += more_a
        used_b += more_b
    _finish_forward(data, start, used_a, table, symbols, a, first)
    _finish_backward(data, end, used_b, table, symbols, b, second)


@helper
def _unpack_rest(packed, n_bits, rest):
    """Unpack the lowest `n_bits`, up to 7, of values whose number is a multiple of 8.

    They are in planes of 4, 2 and 1 bits. Byte j of a plane has the bits of the values j, j + size, ... where
    size is the number of bytes of the plane.
    """
    at, shift = 0, 0
    rest[:] = 0
    for width in (4, 2, 1):
        if n_bits & width == 0:
            continue
        size = rest.size * width // 8
        plane = packed[at : at + size]
        mask = np.uint8((1 << width) - 1)
        for part in range(8 // width):
            out = rest[part * size : (part + 1) * size]
            down = width * part
            for j in range(size):
                out[j] |= shift_up(np.uint8(shift_down(plane[j], down) & mask), shift)
        at, shift = at + size, shift + width


@helper
def _join(symbols, data, place, n, plan, rest, values):
    """Put n values together from their symbols and their stored bits, which begin at byte `place`.

    Each pass over the values joins as many parts as it can, up to three.
    """
    one = values.dtype.type
    padded = (n + 7) & ~7
    raw, shift = plan[5], plan[6]
    fill = one(plan[8])
    n_bytes, n_bits = raw >> 3, raw & 7
    up, high = raw + shift, shift + (raw & ~7)
    if n_bits > 0:
        start = place + n_bytes * padded
        _unpack_rest(data[start : start + padded * n_bits // 8], n_bits, rest[:padded])
    done = 0
    if plan[9] < 0:
        for j in range(n):
            values[j] = shift_up(one(plan[PLAN + _I(symbols[j])]), up) | fill
    else:
        fill |= shift_up(one(plan[9]), up)
        if n_bytes > 0:
            plane = data[place : place + n]
            if n_bytes == 1 and n_bits > 0:
                for j in range(n):
                    low = shift_up(one(plane[j]), shift) | shift_up(one(rest[j]), high)
                    values[j] = (shift_up(one(symbols[j]), up) + fill) | low
                n_bits = 0
            else:
                for j in range(n):
                    values[j] = (shift_up(one(symbols[j]), up) + fill) | shift_up(one(plane[j]), shift)
            done = 1
        else:
            if n_bits == 0:
                rest[:n] = 0
            for j in range(n):
                values[j] = (shift_up(one(symbols[j]), up) + fill) | shift_up(one(rest[j]), high)
            n_bits = 0
    while done + 2 <= n_bytes:
        plane = data[place + done * padded : place + done * padded + n]
        other = data[place + (done + 1) * padded : place + (done + 1) * padded + n]
        down = shift + 8 * done
        for j in range(n):
            values[j] |= shift_up(one(plane[j]), down) | shift_up(one(other[j]), down + 8)
        done += 2
    if done < n_bytes:
        plane = data[place + done * padded : place + done * padded + n]
        down = shift + 8 * done
        for j in range(n):
            values[j] |= shift_up(one(plane[j]), down)
    if n_bits > 0:
        for j in range(n):
            values[j] |= shift_up(one(rest[j]), high)


@helper
def _turn_back(values, first, last, plan, out):
    """Copy values [first, last) to `out` with their signs on top."""
    top, mantissa = 8 * values.itemsize - 1, plan[10]
    if plan[7] == 1:
        for j in range(last - first):
            value = values[first + j]
            out[j] = shift_down(value, 1) | shift_up(value, top)
    elif plan[7] == 2:
        low = shift_up(values.dtype.type(1), mantissa) - values.dtype.type(1)
        exponent = shift_down(values.dtype.type(~low), 1) & ~low
        for j in range(last - first):
            value = values[first + j]
            sign = shift_up(shift_down(value, mantissa), top)
            out[j] = (shift_down(value, 1) & exponent) | sign | (value & low)
    else:
        for j in range(last - first):
            out[j] = values[first + j]


@kernel
def decode_values(data, lengths, table, plan, start, stop, out):
    """Write the values [start, stop) of a chunk to `out`, and no others are decoded but in their streams."""
    n, pair, raw = plan[0], plan[2], plan[5]
    place: Any = plan[1]
    symbols = np.empty(4 * _STRIDE, np.uint8)
    values = np.empty(STREAM, out.dtype)
    rest = np.empty(STREAM, np.uint8)
    whole = STREAM // 8 * raw
    # The pairs before the first one that is wanted are skipped.
    skipped = start // (2 * STREAM)
    before: Any = 0
    for i in range(skipped):
        before += _I(lengths[pair + i])
    place += before + 2 * whole * skipped
    pair += skipped
    at = skipped * 2 * STREAM
    while at < stop:
        if start <= at and at + 4 * STREAM <= n and at + 2 * STREAM < stop:
            first = place + 2 * whole
            middle = first + _I(lengths[pair])
            second = middle + 2 * whole
            last = second + _I(lengths[pair + 1])
            _decode_pairs(data, table, first, middle, second, last, symbols, last, out, at - start)
            for i in range(4):
                own = place + i * whole if i < 2 else middle + (i - 2) * whole
                _join(symbols[i * _STRIDE : i * _STRIDE + STREAM], data, own, STREAM, plan, rest, values)
                begin = at + i * STREAM
                size = max(0, min(STREAM, stop - begin))
                _turn_back(values, 0, size, plan, out[begin - start : begin - start + size])
            at += 4 * STREAM
            pair += 2
            place = last
            continue
        # One pair, and of it only the streams that are wanted.
        first, second = min(STREAM, n - at), max(0, min(STREAM, n - at - STREAM))
        own = place + (first + 7) // 8 * raw
        begin = own + (second + 7) // 8 * raw
        end = begin + _I(lengths[pair])
        middle = at + STREAM
        wanted = (min(stop, middle) - at if start < middle else 0, max(0, min(stop - middle, second)))
        _decode_pair(data, table, begin, end, wanted[0], wanted[1], symbols)
        if wanted[0] > 0:
            _join(symbols, data, place, first, plan, rest, values)
            low = max(start - at, 0)
            _turn_back(values, low, wanted[0], plan, out[at + low - start : at + wanted[0] - start])
        if wanted[1] > 0:
            _join(symbols[_STRIDE:], data, own, second, plan, rest, values)
            low = max(start - middle, 0)
            _turn_back(values, low, wanted[1], plan, out[middle + low - start : middle + wanted[1] - start])
        at += 2 * STREAM
        pair += 1
        place = end
