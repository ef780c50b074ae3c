"""Cut text into keys: whole lines, words of lines, and fields of CSV.

The kernels get whole lines, the last one with its end, and write the keys one after another into `out`, which
has as many bytes as the lines. Key i ends at ``ends[i]``. A line without the requested word or field gives an
empty key, as an empty field does; the kernels count such lines unless they are blank. A carriage return
before the end of a line belongs to the end.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel

__all__ = ["take_fields", "take_lines", "take_words"]

_NEWLINE, _RETURN, _SPACE, _TAB = 10, 13, 32, 9
#: Places within a field of CSV: before its first byte, in it, between quotes, and after a quote that either
#: ends the quoted part or is the first of two that stand for one.
_BEFORE, _INSIDE, _QUOTED, _AFTER_QUOTE = 0, 1, 2, 3


@kernel
def take_lines(data, out, ends):
    """Write every line as a key, and return the number of lines."""
    n, written = 0, 0
    for i in range(data.size):
        byte = data[i]
        if byte != _NEWLINE:
            out[written] = byte
            written += 1
            continue
        if i > 0 and data[i - 1] == _RETURN:
            written -= 1
        ends[n] = written
        n += 1
    return n


@helper
def _is_space(byte):
    return byte in (_SPACE, _TAB, _RETURN)


@kernel
def take_words(data, column, out, ends):
    """Write word number `column` of every line as a key; return the numbers of lines and of shorter lines.

    Words are separated by spaces and tabs.
    """
    n, n_short, written = 0, 0, 0
    word, in_word = np.int64(-1), False
    for i in range(data.size):
        byte = data[i]
        if byte == _NEWLINE:
            n_short += 0 <= word < column
            ends[n] = written
            n += 1
            word, in_word = np.int64(-1), False
        elif _is_space(byte):
            in_word = False
        else:
            if not in_word:
                word += 1
                in_word = True
            if word == column:
                out[written] = byte
                written += 1
    return n, n_short


@kernel
def take_fields(data, column, delimiter, quote, out, ends):
    """Write field number `column` of every record as a key.

    Fields may stand between quotes, as in RFC 4180. They may have delimiters and ends of lines then, and two
    quotes stand for one. A quote within a field that does not begin with one is a byte like any other.

    Returns the number of complete records, the number of those that have too few fields, and the place in
    `data` after the last complete record, which is not the end of `data` if a quote is open there.
    """
    n, n_short, written, kept = 0, 0, 0, 0
    field, place, start = np.int64(0), _BEFORE, 0
    for i in range(data.size):
        byte = data[i]
        if place == _QUOTED:
            if byte == quote:
                place = _AFTER_QUOTE
            elif field == column:
                out[written] = byte
                written += 1
        elif byte == _NEWLINE:
            if field == column and place != _BEFORE and data[i - 1] == _RETURN:
                written -= 1
            is_blank = i == start or (i == start + 1 and data[start] == _RETURN)
            n_short += field < column and not is_blank
            ends[n] = written
            n += 1
            kept = i + 1
            field, place, start = np.int64(0), _BEFORE, i + 1
        elif byte == delimiter:
            field += 1
            place = _BEFORE
        elif byte == quote and place == _BEFORE:
            place = _QUOTED
        else:
            # A second quote stands for one, and the quoted part goes on. Other bytes after a quote follow it.
            place = _QUOTED if byte == quote and place == _AFTER_QUOTE else _INSIDE
            if field == column:
                out[written] = byte
                written += 1
    return n, n_short, kept
