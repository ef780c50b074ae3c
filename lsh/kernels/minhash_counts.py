"""Kernels of all schemes of MinHash: they make one code of several hashes, and count equal codes."""

from __future__ import annotations

import numpy as np

from .compiled import kernel
from .words import mix64, reduce_word

__all__ = ["concatenate_codes", "count_equal"]


@kernel
def concatenate_codes(signatures, keys, n_buckets, out):
    """Make one code in [0, n_buckets) of every ``power`` consecutive values, mixed with a key of its own."""
    power = signatures.shape[1] // keys.size
    for row in range(signatures.shape[0]):
        for j in range(keys.size):
            z = keys[j]
            for i in range(j * power, (j + 1) * power):
                z = mix64(z ^ np.uint64(signatures[row, i]))
            out[row, j] = reduce_word(z, n_buckets)


@kernel
def count_equal(A, B, start, stop, out):
    """Count the columns in which row i of A and of B agree, to ``out[i]``."""
    for row in range(start, stop):
        left, right = A[row], B[row]
        same = np.uint32(0)
        for k in range(left.size):
            same += np.uint32(left[k] == right[k])
        out[row] = same
