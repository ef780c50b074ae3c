"""Kernels of b-bit codes: they pack codes into 64-bit words and compare them word by word."""

from __future__ import annotations

import numpy as np

from .compiled import kernel
from .words import popcount

__all__ = ["count_equal_fields", "pack_fields"]


@kernel
def pack_fields(codes, bits, start, stop, out):
    """Pack the codes of the rows [start, stop), below 2**bits; code v begins at bit ``v * bits`` of its row.

    `bits` divides 64; places beyond the last field are 0.
    """
    each = 64 // bits
    for i in range(start, stop):
        for w in range(out.shape[1]):
            word = np.uint64(0)
            for k in range(min(each, codes.shape[1] - w * each)):
                word |= np.uint64(codes[i, w * each + k]) << np.uint64(k * bits)
            out[i, w] = word


@kernel
def count_equal_fields(A, B, bits, n_fields, start, stop, out):
    """Count the fields that are equal in row i of A and of B, of n_fields each, to ``out[i]``.

    Fields are equal where their XOR is 0. A field of the XOR is not 0 if its highest bit is set, or if adding
    the largest number to its other bits carries into that bit. No carry leaves a field, so all fields of a
    word are tested at once.
    """
    highest = np.uint64(0)
    for k in range(64 // bits):
        highest |= np.uint64(1) << np.uint64(k * bits + bits - 1)
    others = ~highest
    for i in range(start, stop):
        left, right = A[i], B[i]
        unlike = np.uint64(0)
        for w in range(left.size):
            word = left[w] ^ right[w]
            unlike += popcount((((word & others) + others) | word) & highest)
        out[i] = n_fields - np.int64(unlike)
