"""Code points in UTF-8, for kernels that read and write text."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types

from .compiled import helper
from .registers import intrinsic

__all__ = ["decode_utf8", "encode_utf8", "is_tail", "leading_ascii_bytes"]


@helper(forceinline=True)
def is_tail(byte):
    return (byte & 0xC0) == 0x80


@helper(forceinline=True)
def decode_utf8(data, at, stop):
    """Return the code point at `at` and its bytes; (0, 0) if they are not UTF-8 (Unicode, table 3-7)."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xC2 or lead > 0xF4:
        return 0, 0
    if at + 1 >= stop or not is_tail(data[at + 1]):
        return 0, 0
    code = np.int64(data[at + 1] & 0x3F)
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | code, 2
    if at + 2 >= stop or not is_tail(data[at + 2]):
        return 0, 0
    code = code << 6 | np.int64(data[at + 2] & 0x3F)
    if lead < 0xF0:
        code |= (lead & 0x0F) << 12
        if code < 0x800 or 0xD800 <= code <= 0xDFFF:  # overlong, or half of a surrogate pair
            return 0, 0
        return code, 3
    if at + 3 >= stop or not is_tail(data[at + 3]):
        return 0, 0
    code = (lead & 0x07) << 18 | code << 6 | np.int64(data[at + 3] & 0x3F)
    if code < 0x10000 or code > 0x10FFFF:
        return 0, 0
    return code, 4


@helper
def encode_utf8(code, text, at):
    """Write a code point as UTF-8 and return where the next byte goes."""
    if code < 0x80:
        text[at] = code
        return at + 1
    if code < 0x800:
        text[at] = 0xC0 | code >> 6
        text[at + 1] = 0x80 | code & 0x3F
        return at + 2
    if code < 0x10000:
        text[at] = 0xE0 | code >> 12
        text[at + 1] = 0x80 | code >> 6 & 0x3F
        text[at + 2] = 0x80 | code & 0x3F
        return at + 3
    text[at] = 0xF0 | code >> 18
    text[at + 1] = 0x80 | code >> 12 & 0x3F
    text[at + 2] = 0x80 | code >> 6 & 0x3F
    text[at + 3] = 0x80 | code & 0x3F
    return at + 4


@intrinsic
def leading_ascii_bytes(typing_context, word):
    """Count the bytes of `word`, eight from the lowest, before the first above 127."""

    def codegen(context, builder, signature, args):
        high = builder.and_(args[0], ir.Constant(ir.IntType(64), 0x8080808080808080))
        zeros = builder.cttz(high, ir.Constant(ir.IntType(1), 0))
        return builder.lshr(zeros, ir.Constant(ir.IntType(64), 3))

    return types.int64(types.uint64), codegen
