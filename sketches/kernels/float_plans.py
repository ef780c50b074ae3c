"""Kernels that check chunks of entropy-coded floats before `float_codes` decodes them.

They have no GPU twin: chunks are few, and are checked on the CPU. They stay within their arrays for any
bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...lsh.kernels.compiled import kernel
from .float_codes import LONGEST, PAD, STREAM, TABLE
from .unaligned import shift_down, shift_up

__all__ = ["fill_plans", "unpack_lengths"]

#: The most values of all chunks, and the last way in which values are turned.
_MOST_VALUES, _TURNS = 1 << 60, 2

_U, _I = np.uint64, np.int64
_BYTE = _U(255)


@kernel
def fill_plans(chunks, lengths, limits, starts, places, spans, plans):
    """Describe chunks for the other kernels; return the chunk that breaks a rule, and the number of the rule.

    `limits` has the bytes of data, bits of a value, bits of an exponent, and the most values of a coded
    chunk. The number of the rule is 0 if none is broken; `float_chunks` has the texts. There is room for the
    starts and the places of all chunks and the end, and for a row of `plans` and a span for each chunk.
    """
    n_data, width, exponent, most = limits[0], limits[1], limits[2], limits[3]
    everything = shift_down(_U(0xFFFFFFFFFFFFFFFF), 64 - width)
    pair: Any = 0
    start: Any = 0
    place: Any = PAD
    for i in range(len(chunks)):
        common, packed = chunks[i, 1], chunks[i, 2]
        if chunks[i, 0] < _U(1) or chunks[i, 0] > _U(_MOST_VALUES - start):
            return i, 1
        n = _I(chunks[i, 0])
        bits, lead, constant, turn = (
            _I(packed & _BYTE),
            _I((packed >> _U(8)) & _BYTE),
            _I((packed >> _U(16)) & _BYTE),
            _I((packed >> _U(24)) & _BYTE),
        )
        first, span = _I((packed >> _U(32)) & _U(0xFFFF)), _I(packed >> _U(48)) + 1
        raw = width - bits - lead - constant
        table: Any = 0
        n_pairs: Any = 0
        if bits == 0:
            if packed != 0 or common != 0:
                return i, 2
            if n > (n_data - place) // (width // 8):
                return i, 3
            size = n * (width // 8)
        else:
            if n > most:
                return i, 4
            if bits > 16 or raw < 0:
                return i, 5
            if turn > (_TURNS if exponent > 0 else 0):
                return i, 6
            if first + span > 1 << bits:
                return i, 7
            # Neither the lowest bits that all values share nor the highest ones.
            own = shift_up(shift_down(everything, lead + constant), constant)
            if common & ~everything != 0 or common & own != 0:
                return i, 8
            n_pairs = (n + 2 * STREAM - 1) // (2 * STREAM)
            if n_pairs > lengths.size - pair:
                return i, 9
            # The last stream is padded to 8 values.
            table, size = (span + 1) // 2, (n + 7) // 8 * raw
            size += table
            for j in range(n_pairs):
                size += _I(lengths[pair + j])
            if size > n_data - PAD - place:
                return i, 3
        starts[i], places[i], spans[i] = start, place, span
        fields = (n, place + table, pair, bits, lead, raw, constant, turn, _I(common), first)
        for field in range(10):
            plans[i, field] = fields[field]
        plans[i, 10] = width - 1 - exponent
        start, place, pair = start + n, place + size, pair + n_pairs
    starts[len(chunks)], places[len(chunks)] = start, place
    if pair != lengths.size:
        return len(chunks), 9
    return len(chunks), 0 if place + PAD == n_data else 3


@kernel
def unpack_lengths(packed, lengths):
    """Unpack the lengths of code words, 4 bits each; return how many are not 0, or -1 if no code has them.

    The code must be complete, and of no word if there is one symbol alone.
    """
    present: Any = 0
    room: Any = 0
    for i in range(lengths.size):
        length = shift_down(packed[i >> 1], 4 * (i & 1)) & np.uint8(15)
        lengths[i] = length
        if length > LONGEST:
            return -1
        if length > 0:
            present += 1
            room += TABLE >> _I(length)
    if lengths.size == 1:
        return -1 if present > 0 else 0
    return present if room == TABLE else -1
