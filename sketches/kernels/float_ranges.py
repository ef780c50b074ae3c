"""Kernels that decode many ranges of entropy-coded floats in one call, as GPUs need it.

On the CPU a call of `float_codes.decode_values` for each range is as fast, and each thread makes its own.
"""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from .float_codes import MOST_SYMBOLS, PLAN, TABLE, decode_values, lookup_table

__all__ = ["decode_ranges"]


@kernel
def decode_ranges(data, lengths, ends, plans, word_lengths, symbols, ranges, out):
    """Write ranges of values of chunks to `out`.

    Parameters
    ----------
    data : array of uint8
    lengths : array of uint16
        The bytes of the code words of each pair of streams.
    ends : array of int64
        The sums of the lengths before each pair, and all.
    plans : array of int64, shape (chunks, PLAN)
        The plan of each chunk; those with symbols of 0 bits are stored as they are.
    word_lengths : array of uint8, shape (chunks, 256)
        The lengths of the code words of up to 256 symbols.
    symbols : array of int64, shape (chunks, 256)
        These symbols.
    ranges : array of int64, shape (ranges, 4)
        The chunk, the first value and the end in it, and the place in `out`.
    out : array of unsigned integers
    """
    table, plan = np.empty(TABLE, np.uint64), np.empty(PLAN + MOST_SYMBOLS, np.int64)
    size = out.itemsize
    for i in range(len(ranges)):
        chunk, first, last, at = ranges[i]
        part = out[at : at + last - first]
        if plans[chunk, 3] > 0:
            lookup_table(word_lengths[chunk], table)
            plan[:PLAN], plan[PLAN:] = plans[chunk], symbols[chunk]
            plan[9] = -1
            decode_values(data, lengths, table, plan, first, last, part)
            continue
        place = plans[chunk, 1] + first * size
        for j in range(part.size):
            value = np.uint64(0)
            for k in range(size):
                value |= np.uint64(data[place + j * size + k]) << np.uint64(8 * k)
            part[j] = out.dtype.type(value)
