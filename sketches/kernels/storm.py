"""Kernels of STORM: they make directions orthonormal, and add up products of signs of projections."""

from __future__ import annotations

import math

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import popcount

__all__ = ["add_sign_products", "orthonormalise"]


@kernel
def orthonormalise(start, stop, frames):
    """Make the rows of ``frames[b]``, b in [start, stop), orthonormal, one after another.

    This is Gram and Schmidt's method, twice, in one fixed order of additions. So it gives the same on every
    machine, unlike a library's.
    """
    n, d = frames.shape[1], frames.shape[2]
    for b in range(start, stop):
        for i in range(n):
            for _ in range(2):
                for k in range(i):
                    dot = 0.0
                    for j in range(d):
                        dot += frames[b, i, j] * frames[b, k, j]
                    for j in range(d):
                        frames[b, i, j] -= dot * frames[b, k, j]
                total = 0.0
                for j in range(d):
                    total += frames[b, i, j] * frames[b, i, j]
                length = math.sqrt(total)
                for j in range(d):
                    frames[b, i, j] /= length


@kernel
def add_sign_products(codes, n_signs, start, stop, counts):
    """Add to ``counts[b, p]`` the sum over rows of sign i times sign j, p being the number of the pair i < j.

    Parameters
    ----------
    codes : ndarray of shape (n, B), uint32
        Bit i of ``codes[r, b]`` is set where projection i of frame b is at least 0.
    n_signs : int
        Projections of a frame, at most 32.
    start, stop : int
        Frames that this call owns.

    Notes
    -----
    Signs of 64 rows make a word, and a product is counted by its bits: a pair takes one exclusive or and one
    count of bits for 64 rows.
    """
    words = np.empty(n_signs, np.uint64)
    for b in range(start, stop):
        for left in range(0, codes.shape[0], 64):
            size = min(64, codes.shape[0] - left)
            words[:] = 0
            for r in range(size):
                code = np.uint64(codes[left + r, b])
                for i in range(n_signs):
                    words[i] |= (code >> np.uint64(i) & np.uint64(1)) << np.uint64(r)
            p = 0
            for i in range(n_signs):
                for j in range(i + 1, n_signs):
                    counts[b, p] += size - 2 * np.int64(popcount(words[i] ^ words[j]))
                    p += 1
