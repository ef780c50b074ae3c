"""Find the text under a field in lines of JSON, and leave every line that is unusual to Python's own parser.

A line is taken only if all of it is one valid object, with white space around it at most, that has a string
under the field at its top level. As in Python, the last of equal keys counts. Lines with an escaped key, with
NaN or Infinity, with half a surrogate pair in the text or with deep nesting are left too. The caller has
checked that the lines are UTF-8.

Most bytes of a corpus lie in strings, which are read eight bytes at a time.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.registers import intrinsic
from ...lsh.kernels.utf8 import decode_utf8, encode_utf8, leading_ascii_bytes
from ...lsh.kernels.words import lowest_bit
from ...lsh.kernels.xxh3 import address_of, load_u64

__all__ = ["LEFT", "is_utf8", "take_texts"]

#: What `take_texts` writes as the length of a text that it has not taken.
LEFT = -1

_QUOTE, _BACKSLASH, _SPACE = 34, 92, 32
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = 123, 125, 91, 93
_COMMA, _COLON, _U = 44, 58, 117
#: What may come next in a line.
_FIRST_KEY, _KEY, _FIRST_VALUE, _VALUE, _AFTER_VALUE = 0, 1, 2, 3, 4
#: Each level of nesting is a bit of a word.
_MAX_DEPTH = 63

_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _SPACES = _ONES * np.uint64(34), _ONES * np.uint64(92), _ONES * np.uint64(32)
_NEWLINES = _ONES * np.uint64(10)


def _escapes() -> np.ndarray:
    """Map the byte after a backslash to the byte that both stand for, and all others to 0."""
    table = np.zeros(256, dtype=np.uint8)
    for letter, byte in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True):
        table[ord(letter)] = ord(byte)
    return table


_ESCAPES = _escapes()


@intrinsic
def _store_u64(typing_context, address, word):
    """Write eight bytes to an address."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.uint64), generate


@helper(forceinline=True)
def _zero_bytes(word):
    """Set the highest bit of the lowest byte that is zero; higher bits are set only behind it."""
    return (word - _ONES) & ~word & _HIGH


@helper(forceinline=True)
def _special_bytes(word):
    """Set the highest bit of the lowest quote, backslash or control character, as `_zero_bytes` does."""
    control = (word - _SPACES) & ~word & _HIGH
    return _zero_bytes(word ^ _QUOTES) | _zero_bytes(word ^ _BACKSLASHES) | control


@helper(forceinline=True)
def _end_of_line(data, at):
    first = address_of(data)
    while at + 8 <= data.size:
        found = _zero_bytes(load_u64(first + at) ^ _NEWLINES)
        if found:
            return at + (lowest_bit(found) >> 3)
        at += 8
    while at < data.size and data[at] != 10:
        at += 1
    return at


@helper
def _code_of(data, at, stop):
    """Return the number that four hexadecimal digits stand for, or -1."""
    if at + 4 > stop:
        return -1
    code = np.int64(0)
    for i in range(at, at + 4):
        byte = np.int64(data[i])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= (byte | 32) <= 102:
            digit = (byte | 32) - 87
        else:
            return -1
        code = code << 4 | digit
    return code


@helper
def _skip_string(data, at, stop, escapes):
    """Return the place of the quote that ends a string, or -1; without `escapes`, a backslash is an error."""
    first = address_of(data)
    while at < stop:
        if at + 8 <= stop:
            found = _special_bytes(load_u64(first + at))
            if not found:
                at += 8
                continue
            at += lowest_bit(found) >> 3
        byte = data[at]
        if byte == _QUOTE:
            return at
        if byte < _SPACE:
            return -1
        if byte != _BACKSLASH:
            at += 1
        elif not escapes or at + 1 >= stop:
            return -1
        elif data[at + 1] == _U:
            if _code_of(data, at + 2, stop) < 0:
                return -1
            at += 6
        elif _ESCAPES[data[at + 1]]:
            at += 2
        else:
            return -1
    return -1


@helper
def _copy_string(data, at, stop, out, used):
    """Write a string to ``out[used:]``; return the place of its quote, or -1, and the end of what is written.

    There is room, because an escape is longer than what it stands for.
    """
    first, target = address_of(data), address_of(out)
    while at < stop:
        if at + 8 <= stop:
            word = load_u64(first + at)
            _store_u64(target + used, word)
            found = _special_bytes(word)
            if not found:
                at += 8
                used += 8
                continue
            n = lowest_bit(found) >> 3
            at += n
            used += n
        byte = data[at]
        if byte == _QUOTE:
            return at, used
        if byte < _SPACE:
            return -1, used
        if byte != _BACKSLASH:
            out[used] = byte
            at += 1
            used += 1
            continue
        if at + 1 >= stop:
            return -1, used
        escaped = data[at + 1]
        if escaped != _U:
            if not _ESCAPES[escaped]:
                return -1, used
            out[used] = _ESCAPES[escaped]
            at += 2
            used += 1
            continue
        code = _code_of(data, at + 2, stop)
        at += 6
        if 0xD800 <= code < 0xDC00 and at + 1 < stop and data[at] == _BACKSLASH and data[at + 1] == _U:
            low = _code_of(data, at + 2, stop)
            at += 6
            if not 0xDC00 <= low < 0xE000:
                return -1, used
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        if code < 0 or 0xD800 <= code < 0xE000:
            return -1, used
        used = encode_utf8(code, out, used)
    return -1, used


@helper
def _skip_digits(data, at, stop):
    while at < stop and 48 <= data[at] <= 57:
        at += 1
    return at


@helper
def _skip_number(data, at, stop):
    """Return the end of a number, or -1."""
    if data[at] == 45:
        at += 1
    start = at
    at = _skip_digits(data, at, stop)
    if at == start or (data[start] == 48 and at > start + 1):
        return -1
    if at < stop and data[at] == 46:
        start = at + 1
        at = _skip_digits(data, start, stop)
        if at == start:
            return -1
    if at < stop and data[at] | 32 == 101:
        at += 1
        if at < stop and (data[at] == 43 or data[at] == 45):
            at += 1
        start = at
        at = _skip_digits(data, start, stop)
        if at == start:
            return -1
    return at


@helper
def _skip_plain(data, at, stop):
    """Return the end of a number, or of true, false or null, or -1."""
    byte = data[at]
    if byte == 45 or 48 <= byte <= 57:
        return _skip_number(data, at, stop)
    word = np.int64(0)
    n = 5 if byte == 102 else 4
    if at + n > stop:
        return -1
    for i in range(at, at + n):
        word = word << 8 | np.int64(data[i])
    # The bytes of "true", "null" and "false".
    return at + n if word in (0x74727565, 0x6E756C6C, 0x66616C7365) else -1


@helper
def _is_name(data, start, stop, name):
    same = stop - start == name.size
    k = 0
    while same and k < name.size:
        same = data[start + k] == name[k]
        k += 1
    return same


@helper
def _take_text(data, at, stop, name, out, begin):
    """Write the text in the line data[at:stop] to ``out[begin:]``; return its end, or -1."""
    end = -1
    depth, objects = 0, np.uint64(0)
    expected = _VALUE
    is_text = False
    while True:
        while at < stop and (data[at] == _SPACE or data[at] == 9 or data[at] == 13):
            at += 1
        if at >= stop:
            return end if depth == 0 and expected == _AFTER_VALUE else -1
        byte = data[at]
        if expected == _AFTER_VALUE:
            if depth == 0:
                return -1
            in_object = objects & np.uint64(1)
            if byte == _COMMA:
                expected = _KEY if in_object else _VALUE
            elif byte == (_CLOSE_OBJECT if in_object else _CLOSE_ARRAY):
                objects >>= np.uint64(1)
                depth -= 1
            else:
                return -1
            at += 1
        elif expected <= _KEY:
            if byte == _QUOTE:
                start = at + 1
                at = _skip_string(data, start, stop, False)
                if at < 0:
                    return -1
                is_text = depth == 1 and _is_name(data, start, at, name)
                at += 1
                while at < stop and (data[at] == _SPACE or data[at] == 9 or data[at] == 13):
                    at += 1
                if at >= stop or data[at] != _COLON:
                    return -1
                expected = _VALUE
            elif byte == _CLOSE_OBJECT and expected == _FIRST_KEY:
                objects >>= np.uint64(1)
                depth -= 1
                expected = _AFTER_VALUE
            else:
                return -1
            at += 1
        elif is_text:
            if byte != _QUOTE:
                return -1
            at, end = _copy_string(data, at + 1, stop, out, begin)
            if at < 0:
                return -1
            is_text = False
            at += 1
            expected = _AFTER_VALUE
        elif byte == _OPEN_OBJECT or (byte == _OPEN_ARRAY and depth > 0):
            if depth == _MAX_DEPTH:
                return -1
            is_object = byte == _OPEN_OBJECT
            objects = objects << np.uint64(1) | np.uint64(is_object)
            depth += 1
            expected = _FIRST_KEY if is_object else _FIRST_VALUE
            at += 1
        elif depth == 0:
            return -1
        elif byte == _QUOTE:
            at = _skip_string(data, at + 1, stop, True)
            if at < 0:
                return -1
            at += 1
            expected = _AFTER_VALUE
        elif byte == _CLOSE_ARRAY and expected == _FIRST_VALUE:
            objects >>= np.uint64(1)
            depth -= 1
            expected = _AFTER_VALUE
            at += 1
        else:
            at = _skip_plain(data, at, stop)
            if at < 0:
                return -1
            expected = _AFTER_VALUE


@kernel
def is_utf8(data):
    """Return True if all bytes are UTF-8."""
    first, at = address_of(data), 0
    while at < data.size:
        if at + 8 <= data.size:
            n = leading_ascii_bytes(load_u64(first + at))
            at += n
            if n == 8:
                continue
        n = decode_utf8(data, at, data.size)[1]
        if n == 0:
            return False
        at += n
    return True


@kernel
def take_texts(data, name, starts, lengths, out):
    """Write the texts under `name` in lines of JSON to `out`, one after another.

    `data` has ``lengths.size`` lines, the last one without an end. Line i is written to begin at
    ``starts[i]``, and ``starts[lengths.size]`` is one more than the size of `data`. The text of line i has
    ``lengths[i]`` bytes, or `LEFT` if the line is left to another parser. `out` has as many bytes as `data`.
    """
    at, used = 0, 0
    for i in range(lengths.size):
        stop = _end_of_line(data, at)
        end = _take_text(data, at, stop, name, out, used)
        starts[i] = at
        lengths[i] = LEFT if end < 0 else end - used
        used = max(used, end)
        at = stop + 1
    starts[lengths.size] = at
