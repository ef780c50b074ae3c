"""Samples that depend on what is sampled alone: keys of rows of codes, and the search among keys."""

from __future__ import annotations

import numpy as np
from numba import njit

from .minhash_kernels import mix64

__all__ = ["code_keys", "find_keys"]


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


@njit(cache=True, nogil=True)
def find_keys(keys, rising, start, stop, places):  # type: ignore[no-untyped-def]
    """``places[i]`` = where ``keys[i]`` is in `rising`, -1 if it is not there, for i in [start, stop).

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
    rising : ndarray of shape (m,), uint64
        Different keys in rising order. Where they are hashes, a key's place is guessed from its value, and
        a few guesses are enough; whatever they are, what is left is searched by halves.
    places : ndarray of shape (n,), int64
    """
    m = rising.size
    density = m / (float(rising[m - 1]) + 1.0) if m else 0.0
    for i in range(start, stop):
        key = keys[i]
        places[i] = -1
        if m == 0 or key > rising[m - 1]:
            continue
        low, high = 0, m - 1  # the first key that is not smaller is at one of these
        guess = min(int(float(key) * density), m - 1)
        for _ in range(4):
            if low == high:
                break
            there = rising[guess]
            if there < key:
                low = guess + 1
                guess = low + int(float(key - there) * density)
            else:
                high = guess
                guess = high - int(float(there - key) * density) - 1
            guess = min(max(guess, low), high)
        while low < high:
            middle = (low + high) // 2
            if rising[middle] < key:
                low = middle + 1
            else:
                high = middle
        if rising[low] == key:
            places[i] = low
