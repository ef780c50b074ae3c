"""Kernels of b-bit codes: packed into 64-bit words, and compared word by word."""

from __future__ import annotations

import numpy as np
from numba import njit

from .bit_kernels import _popcount

__all__ = ["count_equal_fields", "pack_fields"]


@njit(cache=True, nogil=True)
def pack_fields(codes, bits, start, stop, out):  # type: ignore[no-untyped-def]
    """Pack the codes of the rows [start, stop), below 2**bits: field v begins at bit ``v * bits`` of a row.

    `bits` divides 64; places beyond the last field are 0.
    """
    each = 64 // bits
    for i in range(start, stop):
        for w in range(out.shape[1]):
            word = np.uint64(0)
            for k in range(min(each, codes.shape[1] - w * each)):
                word |= np.uint64(codes[i, w * each + k]) << np.uint64(k * bits)
            out[i, w] = word


@njit(cache=True, nogil=True)
def count_equal_fields(A, B, bits, n_fields, start, stop, out):  # type: ignore[no-untyped-def]
    """``out[i]`` = how many of the n_fields fields of row i of A and of B are equal.

    The bits in which a field differs are folded onto its lowest one, and those are counted.
    """
    lowest = np.uint64(0)
    for k in range(64 // bits):
        lowest |= np.uint64(1) << np.uint64(k * bits)
    for i in range(start, stop):
        unlike = np.int64(0)
        for w in range(A.shape[1]):
            word = A[i, w] ^ B[i, w]
            shift = bits // 2
            while shift:
                # What comes over from the next field stays above the lowest bit.
                word |= word >> np.uint64(shift)
                shift //= 2
            unlike += np.int64(_popcount(word & lowest))
        out[i] = n_fields - unlike
