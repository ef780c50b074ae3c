"""Kernels that encode floats for `float_codes`: counts of their top bits, streams of code words, planes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from .float_codes import LONGEST, STREAM
from .unaligned import load_word_at, reverse_bytes, shift_down, shift_up, store_word_at

__all__ = ["count_tops", "encode_values", "varying_bits"]

_U, _I = np.uint64, np.int64
_BYTE = _U(255)
#: A one in each byte.
_ONES = _U(0x0101010101010101)
#: Bytes of scratch memory for a stream, the longest one and some more. Copies read a word beyond it.
_ROOM = STREAM * LONGEST // 8 + 16


@kernel
def varying_bits(values):
    """Return the bits in which any value differs from the first one."""
    found = values.dtype.type(0)
    first = values[0]
    for j in range(values.size):
        found |= values[j] ^ first
    return _U(found)


@kernel
def count_tops(values, down, counts):
    """Count how often each number of bits above the `down` lowest ones occurs, modulo ``counts.shape[1]``.

    Neighbours are counted in rows of their own: to raise one counter twice takes longer than two counters.
    """
    mask = counts.shape[1] - 1
    whole = values.size & ~3
    first, second, third, fourth = counts[0], counts[1], counts[2], counts[3]
    for j in range(0, whole, 4):
        first[_I(shift_down(values[j], down)) & mask] += np.uint32(1)
        second[_I(shift_down(values[j + 1], down)) & mask] += np.uint32(1)
        third[_I(shift_down(values[j + 2], down)) & mask] += np.uint32(1)
        fourth[_I(shift_down(values[j + 3], down)) & mask] += np.uint32(1)
    for j in range(whole, values.size):
        first[_I(shift_down(values[j], down)) & mask] += np.uint32(1)


@helper
def _top_words(words):
    """Return code words with their bits on top of 64, the first one lowest; their number is at the bottom."""
    table = np.zeros(words.size, np.uint64)
    for i in range(words.size):
        length = _U(words[i] >> 16)
        if length > 0:
            table[i] = (_U(words[i] & 0xFFFF) << (_U(64) - length)) | length
    return table


@helper
def _append(table, symbols, at, bits, used):
    """Append the words of four symbols on top of other bits, and their numbers of bits to those in use.

    Of `used` the lowest byte counts. Below the bits in use, up to 51, there may be others.
    """
    for k in range(4):
        entry = table[symbols[_U(at + k)]]
        bits = (bits >> (entry & _U(63))) | entry
        used += entry
    return bits, used & _BYTE


@helper
def _bottom(bits, used):
    """Return the bits in use alone, at the bottom; anything if there are none."""
    return bits >> ((_U(64) - used) & _U(63))


@helper
def _encode_stream(symbols, n, table, out, end):
    """Write the words of n symbols backwards from `end` if that is not 0; return the number of bytes."""
    bits, used = _U(0), _U(0)
    place: Any = 0
    for at in range(0, n, 4):
        if at + 4 <= n:
            bits, used = _append(table, symbols, at, bits, used)
        else:
            for k in range(at, n):
                entry = table[symbols[k]]
                bits = (bits >> (entry & _U(63))) | entry
                used += entry & _U(63)
        _put(out, place, end, _bottom(bits, used))
        place += _I(used >> _U(3))
        used &= _U(7)
    _put(out, place, end, _bottom(bits, used))
    return place + _I((used + _U(7)) >> _U(3))


@helper
def _put(out, place, end, bits):
    """Store a word at a place, or backwards at a place before the end, if that is not 0."""
    if end > 0:
        store_word_at(out, end - 8 - place, reverse_bytes(bits))
    else:
        store_word_at(out, place, bits)


@helper
def _encode_pair(first, second, table, out, scratch):
    """Write the words of two whole streams of symbols to an array each, those of the second one backwards."""
    bits_a, used_a, bits_b, used_b = _U(0), _U(0), _U(0), _U(0)
    place_a: Any = 0
    place_b: Any = _ROOM - 8
    for at in range(0, STREAM, 4):
        bits_a, used_a = _append(table, first, at, bits_a, used_a)
        bits_b, used_b = _append(table, second, at, bits_b, used_b)
        store_word_at(out, place_a, _bottom(bits_a, used_a))
        store_word_at(scratch, place_b, reverse_bytes(_bottom(bits_b, used_b)))
        place_a += _I(used_a >> _U(3))
        place_b -= _I(used_b >> _U(3))
        used_a &= _U(7)
        used_b &= _U(7)
    store_word_at(out, place_a, _bottom(bits_a, used_a))
    store_word_at(scratch, place_b, reverse_bytes(_bottom(bits_b, used_b)))
    return place_a + _I((used_a + _U(7)) >> _U(3)), _ROOM - 8 - place_b + _I((used_b + _U(7)) >> _U(3))


@helper
def _encode_streams(symbols, sizes, table, scratch, out):
    """Write a pair of streams to `out`, and up to 8 bytes more; return the number of bytes.

    The second stream is written backwards, before its place is known.
    """
    if sizes[1] == STREAM:
        first, second = _encode_pair(symbols[0], symbols[1], table, out, scratch)
    else:
        first = _encode_stream(symbols[0], sizes[0], table, out, 0)
        second = _encode_stream(symbols[1], sizes[1], table, scratch, _ROOM)
    for j in range(0, second, 8):
        store_word_at(out, first + j, load_word_at(scratch, _ROOM - second + j))
    return first + second


@helper
def _pack_plane(rest, size, shift, width, ones, out, place):
    """Pack `width` bits of values to `size` bytes, 8 bytes at a time; up to 7 bytes more are written."""
    for j in range(0, size, 8):
        word = _U(0)
        for part in range(8 // width):
            values = load_word_at(rest, part * size + j) >> shift
            word |= (values & ones) << _U(width * part)
        store_word_at(out, place + j, word)


@helper
def _pack_rest(rest, n, n_bits, out, place):
    """Pack the lowest `n_bits`, up to 7, of n values, a multiple of 8, for `unpack_rest`; return the end."""
    shift = _U(0)
    if n_bits & 4:
        _pack_plane(rest, n // 2, shift, 4, _ONES * _U(15), out, place)
        place, shift = place + n // 2, shift + _U(4)
    if n_bits & 2:
        _pack_plane(rest, n // 4, shift, 2, _ONES * _U(3), out, place)
        place, shift = place + n // 4, shift + _U(2)
    if n_bits & 1:
        _pack_plane(rest, n // 8, shift, 1, _ONES, out, place)
        place += n // 8
    return place


@helper
def _turn(values, plan, turned):
    """Copy values to `turned` with their signs where the plan says."""
    top, mantissa = 8 * values.itemsize - 1, plan[10]
    if plan[7] == 1:
        for j in range(values.size):
            turned[j] = shift_up(values[j], 1) | shift_down(values[j], top)
    elif plan[7] == 2:
        low = shift_up(values.dtype.type(1), mantissa) - values.dtype.type(1)
        exponent = shift_down(values.dtype.type(~low), 1) & ~low
        for j in range(values.size):
            sign = shift_up(shift_down(values[j], top), mantissa)
            turned[j] = shift_up(values[j] & exponent, 1) | sign | (values[j] & low)
    else:
        for j in range(values.size):
            turned[j] = values[j]


@kernel
def encode_values(values, plan, first, words, out, lengths):
    """Write the pairs of a chunk to `out`, and the bytes of each pair's streams to `lengths`.

    ``words[i]`` is the word of the symbol ``first + i``. Return the number of bytes, of which `out` needs 8
    more.
    """
    n, raw, constant = values.size, plan[5], plan[6]
    n_bytes, n_bits = raw >> 3, raw & 7
    symbols = np.zeros((2, STREAM), np.uint16)
    scratch = np.empty(_ROOM + 8, np.uint8)
    turned, rest = np.zeros(STREAM, values.dtype), np.empty(STREAM + 8, np.uint8)
    sizes, table = np.zeros(2, np.int64), _top_words(words)
    mask, base = np.uint16((1 << plan[3]) - 1), np.uint16(first)
    place: Any = 0
    for pair in range(lengths.size):
        at = pair * 2 * STREAM
        for i in range(2):
            begin = at + i * STREAM
            size = max(0, min(STREAM, n - begin))
            sizes[i] = size
            own, padded = values[begin : begin + size], (size + 7) & ~7
            _turn(own, plan, turned)
            turned[size:padded] = 0
            down, numbers = raw + constant, symbols[i]
            for j in range(size):
                numbers[j] = np.uint16(np.uint16(np.uint16(shift_down(turned[j], down)) & mask) - base)
            shift = constant
            for _ in range(n_bytes):
                plane = out[place : place + padded]
                for j in range(padded):
                    plane[j] = np.uint8(shift_down(turned[j], shift))
                place, shift = place + padded, shift + 8
            if n_bits > 0:
                for j in range(padded):
                    rest[j] = np.uint8(shift_down(turned[j], shift))
                place = _pack_rest(rest, padded, n_bits, out, place)
        lengths[pair] = _encode_streams(symbols, sizes, table, scratch, out[place:])
        place += _I(lengths[pair])
    return place
