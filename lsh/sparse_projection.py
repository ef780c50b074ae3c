"""Signs of projections whose vectors are never stored: every entry is a hash of feature and vector."""

from __future__ import annotations

import numpy as np
from numba import njit

from .minhash_kernels import mix64

__all__ = ["ENTRIES_A_WORD", "hashed_products", "hashed_signs"]

#: Entries drawn from one 64-bit hash, each by 12 bits of it.
ENTRIES_A_WORD = 5
_STEP = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _add_products(indices, data, key, quantiles, words, sums):  # type: ignore[no-untyped-def]
    """``sums[v]``: the product of a sparse row, whose indices rise, and the hashed vector v.

    The entry of feature f and vector v = e G + g (G words a feature) is the quantile that the e-th 12
    bits of ``mix64(mix64(f ^ key) + g * 0x9E3779B97F4A7C15)`` name. Products are added in float32, in
    the order of features.
    """
    n_words = words.size
    sums[:] = 0
    for j in range(indices.size):
        feature = mix64(np.uint64(indices[j]) ^ key)
        for g in range(n_words):
            words[g] = mix64(feature + np.uint64(g) * _STEP)
        x = data[j]
        for e in range(ENTRIES_A_WORD):
            shift = np.uint64(12 * e)
            part = sums[e * n_words : (e + 1) * n_words]
            for g in range(n_words):
                part[g] += x * quantiles[(words[g] >> shift) & np.uint64(4095)]


@njit(cache=True, nogil=True)
def hashed_products(indptr, indices, data, key, quantiles, start, stop, out):  # type: ignore[no-untyped-def]
    """Products of the sparse rows [start, stop) and hashed vectors, shape (stop - start, n_values)."""
    n_words = (out.shape[1] + ENTRIES_A_WORD - 1) // ENTRIES_A_WORD
    words = np.empty(n_words, np.uint64)
    sums = np.empty(n_words * ENTRIES_A_WORD, np.float32)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _add_products(indices[a:b], data[a:b], key, quantiles, words, sums)
        out[i - start] = sums[: out.shape[1]]


@njit(cache=True, nogil=True)
def hashed_signs(indptr, indices, data, key, quantiles, n_hashes, power, start, stop, out):  # type: ignore[no-untyped-def]
    """Codes of the sparse rows [start, stop): bit k of code h is the sign of product ``k n_hashes + h``."""
    n_words = (n_hashes * power + ENTRIES_A_WORD - 1) // ENTRIES_A_WORD
    words = np.empty(n_words, np.uint64)
    sums = np.empty(n_words * ENTRIES_A_WORD, np.float32)
    for i in range(start, stop):
        a, b = indptr[i], indptr[i + 1]
        _add_products(indices[a:b], data[a:b], key, quantiles, words, sums)
        out[i] = 0
        for k in range(power):
            bit = np.uint32(k)
            for h in range(n_hashes):
                out[i, h] |= np.uint32(sums[k * n_hashes + h] >= 0) << bit
