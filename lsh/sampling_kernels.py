"""Keys of rows of codes, by which a sample of rows is drawn that depends on the rows alone."""

from __future__ import annotations

import numpy as np
from numba import njit

from .minhash_kernels import mix64

__all__ = ["code_keys"]


@njit(cache=True, nogil=True)
def code_keys(codes, key, start, stop, out):  # type: ignore[no-untyped-def]
    """``out[i]`` = a 64-bit hash of the codes of row i, for i in [start, stop).

    Four chains of `mix64`, each over every fourth code, so that the mixing of one does not wait for that
    of another; then one over the four words.
    """
    n_codes = codes.shape[1]
    whole = n_codes - n_codes % 4
    for i in range(start, stop):
        a = key ^ np.uint64(1)
        b = key ^ np.uint64(2)
        c = key ^ np.uint64(3)
        d = key ^ np.uint64(4)
        for j in range(0, whole, 4):
            a = mix64(a ^ np.uint64(codes[i, j]))
            b = mix64(b ^ np.uint64(codes[i, j + 1]))
            c = mix64(c ^ np.uint64(codes[i, j + 2]))
            d = mix64(d ^ np.uint64(codes[i, j + 3]))
        for j in range(whole, n_codes):
            a = mix64(a ^ np.uint64(codes[i, j]))
        # One after the other, for the words must not be exchangeable.
        out[i] = mix64(mix64(mix64(a ^ np.uint64(5)) ^ b) ^ mix64(mix64(c ^ np.uint64(6)) ^ d))
