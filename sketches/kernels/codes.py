"""Kernels that decode and encode the words of a canonical prefix code, and read its packed parts in place.

Values are ``base + step * q``. The q of the values whose words have one length form a class: an Elias-Fano
sequence of ``q - index``, which does not fall because they ascend strictly. Words ascend by (length, value);
the escape's word is the last of its length. A window has a word's bits from its bit 63 downwards, followed by
other bits. All comparisons are of its `longest` highest bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.compiled import helper, kernel
from .elias_fano import load_word, select

__all__ = ["CLASS_FIELDS", "NO_CODE", "Decoder", "Encoder", "decode", "encode_values", "raw_value"]

_U = np.uint64
_ZERO, _ONE = _U(0), _U(1)

#: Numbers that describe a class of long words: the word after its last, its first word, the shift from a word
#: of the longest length, and the four numbers of `select`. They fill 64 bytes, a cache line.
CLASS_FIELDS = 8
#: Length that `encode_value` returns for a value that cannot be encoded.
NO_CODE = _U(255)


class Decoder(NamedTuple):
    """Numbers that `decode` reads, and addresses of arrays that its codebook keeps alive.

    All words are compared as if they had the longest length.
    """

    shift: np.uint64  # shift of a window to the bits of a longest word
    escape_first: np.uint64
    escape_span: np.uint64  # 0 without an escape
    table_end: np.uint64  # first word that is too long for the table
    table_shift: np.uint64
    table: np.uint64  # address of the values by the first bits
    classes: np.uint64  # address of (classes of words too long for the table, CLASS_FIELDS)
    words: np.uint64  # address
    base: np.uint64
    step: np.uint64
    raw_base: np.uint64
    raw_bits: np.uint64


class Encoder(NamedTuple):
    """Coded values in ascending order, and a directory to find one by; `encode_value` reads both."""

    values: NDArray[np.uint64]
    codes: NDArray[np.uint32]
    lengths: NDArray[np.uint8]
    directory: NDArray[np.uint32]  # first value of each range of 2**directory_shift
    directory_shift: np.uint64
    escape_code: np.uint64
    escape_length: np.uint64
    has_escape: np.uint64
    step: np.uint64
    raw_base: np.uint64
    raw_largest: np.uint64


@helper
def _decode_long(dec, word):
    """Return the value of a word that is too long for the table."""
    at = _ZERO
    while word >= load_word(dec.classes, at):
        at += _U(CLASS_FIELDS)
    i = (word - load_word(dec.classes, at + _U(1))) >> load_word(dec.classes, at + _U(2))
    q = i + select(
        dec.words,
        load_word(dec.classes, at + _U(3)),
        load_word(dec.classes, at + _U(4)),
        load_word(dec.classes, at + _U(5)),
        load_word(dec.classes, at + _U(6)),
        i,
    )
    return dec.base + dec.step * q


@kernel
def decode(dec, window):
    """Return ``(value, is_escape)`` of the word at the window's front; every window has an answer.

    After an escape `raw_value` finds the value from the raw bits.
    """
    word = window >> dec.shift
    if word - dec.escape_first < dec.escape_span:
        return dec.raw_base, True
    if word < dec.table_end:
        return load_word(dec.table, word >> dec.table_shift), False
    return _decode_long(dec, word), False


@kernel
def raw_value(dec, raw):
    """Return the value of an escaped key, from its `raw_bits` raw bits."""
    return dec.raw_base + dec.step * raw


@kernel
def encode_value(enc, value):
    """Return ``(code, length, is_escape, raw)``; the length is NO_CODE if the value cannot be encoded."""
    n = _U(enc.values.size)
    if n > _ZERO and value >= enc.values[0] and value <= enc.values[n - _ONE]:
        slot = (value - enc.values[0]) >> enc.directory_shift
        low, high = _U(enc.directory[slot]), _U(enc.directory[slot + _ONE])
        while low < high:
            middle = (low + high) >> _ONE
            if enc.values[middle] < value:
                low = middle + _ONE
            else:
                high = middle
        if low < n and enc.values[low] == value:
            return _U(enc.codes[low]), _U(enc.lengths[low]), False, _ZERO
    if enc.has_escape > _ZERO and value >= enc.raw_base:
        raw = (value - enc.raw_base) // enc.step
        if raw <= enc.raw_largest and raw * enc.step == value - enc.raw_base:
            return enc.escape_code, enc.escape_length, True, raw
    return _ZERO, NO_CODE, False, _ZERO


@kernel
def encode_values(enc, values, codes, lengths, escaped, raw):
    """Encode all values; return the index of the first that cannot be encoded, or their number."""
    for k in range(values.size):
        code, length, is_escape, bits = encode_value(enc, values[k])
        if length == NO_CODE:
            return k
        codes[k] = code
        lengths[k] = length
        if is_escape:
            escaped[k] = True
            raw[k] = bits
    return values.size
