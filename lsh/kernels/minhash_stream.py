"""Kernels of streamed MinHash: they throw tokens into the bins of many sets, and fill empty bins later."""

from __future__ import annotations

import numpy as np

from .compiled import kernel
from .minhash_bins import count_empty, densify
from .minhash_permutations import EMPTY
from .prefetch import prefetch
from .words import mix64, reduce_word

__all__ = ["compare_bins", "densify_signatures", "throw_tokens"]

#: Tokens whose bins are prefetched together.
_CHUNK = 256


@kernel
def throw_tokens(tokens, sets, key, multiplier, first_set, last_set, start, stop, minima):
    """Lower the bin of each token [start, stop) of the sets [first_set, last_set) to its value.

    Parameters
    ----------
    tokens : ndarray of shape (n,), uint64
    sets : ndarray of shape (n,) or (0,), int64
        The set of each token; empty if all belong to set 0.
    key, multiplier : uint64
        Those of MinHash's first throw, so bins hold what `minhash_one_permutation` puts there.
    minima : ndarray of shape (last_set - first_set, m), uint32

    Notes
    -----
    A token takes one random access. Bins are prefetched for a chunk of tokens, so that accesses overlap.
    """
    m = np.uint64(minima.shape[1])
    flat = minima.reshape(-1)
    places, values = np.empty(_CHUNK, np.int64), np.empty(_CHUNK, np.uint32)
    for left in range(start, stop, _CHUNK):
        n = 0
        for i in range(left, min(left + _CHUNK, stop)):
            row = np.int64(sets[i]) if sets.size else np.int64(0)
            if row < first_set or row >= last_set:
                continue
            word = mix64(tokens[i] ^ key)
            bin_ = reduce_word(word * multiplier, m)
            places[n] = (row - first_set) * np.int64(m) + np.int64(bin_)
            values[n] = np.uint32(word) >> np.uint32(1)
            prefetch(flat, places[n])
            n += 1
        for j in range(n):
            flat[places[j]] = min(flat[places[j]], values[j])


@kernel
def densify_signatures(minima, walk_key, rank_key, start, stop, out):
    """Write row i of `minima` to ``out[i]``, its empty bins filled as by `minhash_one_permutation`."""
    m = minima.shape[1]
    native, full = np.empty(m, np.uint32), np.empty(m, np.uint32)
    attempts = 1 + np.int64(np.sqrt(m))
    for i in range(start, stop):
        signature = out[i]
        for k in range(m):
            signature[k] = minima[i, k]
        empty = count_empty(signature)
        if 0 < empty < m:
            densify(attempts, walk_key, rank_key, signature, native, full)


@kernel
def compare_bins(minima, left, right, start, stop, full, equal, total):
    """Compare the bins of the sets ``left[p]`` and ``right[p]``, for the pairs p in [start, stop).

    ``full[p]`` bins are full in one of the two or both, and ``equal[p]`` of them hold the same value.
    ``total[p]`` is the sum over the bins of the union of the two sets, which hold the lesser values, of
    the values as shares of their range; 1 for an empty one.
    """
    m = minima.shape[1]
    for p in range(start, stop):
        a, b = minima[left[p]], minima[right[p]]
        n_equal, n_full, total_value = np.int64(0), np.int64(0), np.uint64(0)
        for k in range(m):
            least = min(a[k], b[k])
            is_full = least != EMPTY
            n_full += is_full
            n_equal += is_full and a[k] == b[k]
            # Values lie in [0, 2**31); a value plus 1/2 is the middle of its cell.
            total_value += np.uint64(2) * np.uint64(least) + np.uint64(1) if is_full else np.uint64(1 << 32)
        full[p], equal[p] = n_full, n_equal
        total[p] = np.float64(total_value) * 2.0**-32
