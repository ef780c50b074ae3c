"""Projections whose vectors are never stored: every entry is a hash of its feature and vector."""

from __future__ import annotations

import numpy as np

from .compiled import helper, kernel
from .products import longest_row, scale_rows_csr
from .words import mix64

__all__ = ["ENTRIES_A_WORD", "hashed_products", "hashed_signs"]

#: Entries drawn from one 64-bit hash, each by 12 bits of it.
ENTRIES_A_WORD = 5
_STEP = np.uint64(0x9E3779B97F4A7C15)
#: 64-bit lanes of an AVX-512 register; the words of a tile are a multiple of it.
_LANES = 8
#: Words of a tile times the features whose entries are kept for it: 1.25 MB.
_KEPT_WORDS = 1 << 16
#: Products of the rows of a block: 4 MB.
_PRODUCTS = 1 << 20


@helper
def _add_entries(feature, key, x, first, words, quantiles, sums):
    """Add x times a feature's entry of vector e of word first + g to ``sums[e * G + g]``, for g < G."""
    feature = mix64(feature ^ key)
    for g in range(words.size):
        words[g] = mix64(feature + np.uint64(first + g) * _STEP)
    for e in range(ENTRIES_A_WORD):
        shift = np.uint64(12 * e)
        part = sums[e * words.size : (e + 1) * words.size]
        for g in range(words.size):
            part[g] += x * quantiles[(words[g] >> shift) & np.uint64(4095)]


@helper
def _products(indptr, indices, data, begin, key, quantiles, start, stop, out):
    """Compute `hashed_products` of rows whose entries, from ``indptr``'s `begin` on, are scaled already.

    Notes
    -----
    A tile of vectors is computed for all rows before the next, so that entries of features that several rows
    have are hashed once, unless another feature has taken their place.
    """
    n_values = out.shape[1]
    n_words = (n_values + ENTRIES_A_WORD - 1) // ENTRIES_A_WORD
    # Where rows are longer, more features are kept, for fewer vectors.
    longest, n_kept = longest_row(indptr, start, stop), 1024
    while n_kept < longest and n_kept * _LANES < _KEPT_WORDS:
        n_kept *= 2
    # Tiles have even widths, so that the last is not left with few vectors.
    tiles = (n_words * n_kept + _KEPT_WORDS - 1) // _KEPT_WORDS
    width = ((n_words + tiles - 1) // tiles + _LANES - 1) // _LANES * _LANES
    words = np.empty(width, np.uint64)
    kept = np.empty((n_kept, ENTRIES_A_WORD * width), np.float32)
    names, is_kept = np.empty(n_kept, np.uint64), np.empty(n_kept, np.bool_)
    sums = np.empty(ENTRIES_A_WORD * width, np.float32)
    one = np.float32(1)
    for first in range(0, n_words, width):
        names[:] = np.uint64(0)
        for i in range(start, stop):
            sums[:] = 0
            for j in range(indptr[i], indptr[i + 1]):
                x, feature = data[j - begin], np.uint64(indices[j])
                # Neighbouring features have different places, and most features of equal low bits too.
                fold = feature ^ (feature >> np.uint64(10)) ^ (feature >> np.uint64(20))
                place, name = np.int64(fold & np.uint64(n_kept - 1)), feature + np.uint64(1)
                if names[place] != name:
                    # Entries are kept once they are needed again: most features of very sparse rows occur
                    # once.
                    names[place], is_kept[place] = name, False
                    _add_entries(feature, key, x, first, words, quantiles, sums)
                    continue
                entries = kept[place]
                if not is_kept[place]:
                    is_kept[place] = True
                    entries[:] = 0
                    _add_entries(feature, key, one, first, words, quantiles, entries)
                for v in range(sums.size):
                    sums[v] += x * entries[v]
            for e in range(ENTRIES_A_WORD):
                to = e * n_words + first
                for g in range(min(width, n_words - first, n_values - to)):
                    out[i - start, to + g] = sums[e * width + g]


@helper
def _scaled(indptr, data, start, stop):
    """Return the entries of the rows [start, stop), scaled."""
    entries = np.empty(indptr[stop] - indptr[start], np.float32)
    scale_rows_csr(indptr, data, start, stop, entries, np.empty(stop - start), np.empty(stop - start))
    return entries


@kernel
def hashed_products(indptr, indices, data, key, quantiles, start, stop, out):
    """Set ``out[i, v]`` to the product of sparse row start + i, whose indices rise, and the hashed vector v.

    The entry of feature f and vector v = e G + g (G words a feature) is the quantile that the e-th 12
    bits of ``mix64(mix64(f ^ key) + g * 0x9E3779B97F4A7C15)`` name. Rows are scaled by a power of two
    each and rounded to float32; products are added in float32, in the order of features.

    Parameters
    ----------
    data : ndarray, float32 or float64
    out : ndarray of shape (at least stop - start, n_values), float32
    """
    entries = _scaled(indptr, data, start, stop)
    _products(indptr, indices, entries, indptr[start], key, quantiles, start, stop, out)


@kernel
def hashed_signs(indptr, indices, data, key, quantiles, n_hashes, power, start, stop, out):
    """Write the codes of sparse rows: bit k of code h is the sign of product ``k n_hashes + h``."""
    begin, entries = indptr[start], _scaled(indptr, data, start, stop)
    block = max(1, min(stop - start, _PRODUCTS // (n_hashes * power)))
    products = np.empty((block, n_hashes * power), np.float32)
    for left in range(start, stop, block):
        right = min(left + block, stop)
        _products(indptr, indices, entries, begin, key, quantiles, left, right, products)
        for i in range(left, right):
            out[i] = 0
            for k in range(power):
                bit = np.uint32(k)
                for h in range(n_hashes):
                    out[i, h] |= np.uint32(products[i - left, k * n_hashes + h] >= 0) << bit
