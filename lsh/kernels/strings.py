"""Kernels of strings: their offsets in a buffer of bytes, and fields of a fixed number of bytes."""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .utf8 import decode_utf8

__all__ = ["byte_offsets", "first_bad_offset", "first_binary", "never_falls", "strip_fields"]


@kernel
def byte_offsets(data, lengths, offsets):
    """Write the offsets in UTF-8 bytes of consecutive strings whose lengths are given in code points."""
    at = 0
    for i in range(lengths.size):
        offsets[i] = at
        for _ in range(lengths[i]):
            at += 1
            while at < data.size and data[at] & 0xC0 == 0x80:
                at += 1
    offsets[lengths.size] = at


@kernel
def never_falls(offsets):
    """Tell whether no offset is below the one before it."""
    falls = 0
    for i in range(offsets.size - 1):
        falls += offsets[i + 1] < offsets[i]
    return falls == 0


@kernel
def first_bad_offset(offsets, n_bytes):
    """Return the first i for which offsets[i] is out of bounds or below offsets[i - 1], or else -1."""
    before = np.int64(0)
    for i in range(offsets.size):
        if offsets[i] < before or offsets[i] > n_bytes:
            return i
        before = offsets[i]
    return -1


@kernel
def strip_fields(data, width, out, offsets):
    """Copy fields of `width` bytes, without their trailing NUL bytes, one after another."""
    at = 0
    for i in range(offsets.size - 1):
        offsets[i] = at
        length = width
        while length > 0 and data[i * width + length - 1] == 0:
            length -= 1
        for j in range(length):
            out[at + j] = data[i * width + j]
        at += length
    offsets[offsets.size - 1] = at


@helper
def _is_plain(part, width):
    """Tell whether fields are printable ASCII followed by NUL bytes, in loops over bytes that vectorise."""
    odd, rises = np.uint8(0), 0
    for j in range(part.size):
        odd |= np.uint8((part[j] - np.uint8(32) > np.uint8(94)) & (part[j] != 0))
    if odd:
        return False
    for j in range(part.size - 1):
        rises += (part[j] == 0) & (part[j + 1] != 0)
    # A byte may follow a NUL byte where a field begins, but not within a field.
    for j in range(width - 1, part.size - 1, width):
        rises -= (part[j] == 0) & (part[j + 1] != 0)
    return rises == 0


@kernel
def first_binary(data, width, start, stop):
    """Return the first field in [start, stop) that is not text, or -1 if there is none.

    Text is UTF-8 without control characters but white space, followed by NUL bytes.
    """
    if _is_plain(data[start * width : stop * width], width):
        return -1
    for i in range(start, stop):
        at, end = i * width, (i + 1) * width
        while end > at and data[end - 1] == 0:
            end -= 1
        while at < end:
            code, size = decode_utf8(data, at, end)
            if size == 0 or code == 127 or (code < 32 and (code < 9 or code > 13)):
                return i
            at += size
    return -1
