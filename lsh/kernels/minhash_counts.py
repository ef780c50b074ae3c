"""Codes of several hashes made one, and equal codes counted: for every scheme of MinHash."""

from __future__ import annotations

import numpy as np

from .compiled import kernel
from .words import mix64

__all__ = ["concatenate_codes", "count_equal"]


@kernel
def concatenate_codes(signatures, keys, n_buckets, out):
    """One code in [0, n_buckets) of every ``power`` consecutive values, mixed with the code's own key."""
    power = signatures.shape[1] // keys.size
    for row in range(signatures.shape[0]):
        for j in range(keys.size):
            z = keys[j]
            for i in range(j * power, (j + 1) * power):
                z = mix64(z ^ np.uint64(signatures[row, i]))
            out[row, j] = np.uint32(((z >> np.uint64(32)) * n_buckets) >> np.uint64(32))


@kernel
def count_equal(A, B, start, stop, out):
    """``out[i]`` = number of columns in which row i of A and of B agree."""
    for row in range(start, stop):
        left, right = A[row], B[row]
        same = np.uint32(0)
        for k in range(left.size):
            same += np.uint32(left[k] == right[k])
        out[row] = same
