"""Compute keys of bands and documents, pairs of documents in buckets, and overlaps of sets of shingles."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import kernel
from ...lsh.kernels.words import mix64

__all__ = ["band_keys", "bucket_pairs", "document_keys", "sorted_overlap"]


@kernel
def band_keys(signatures, first, last, key, start, stop, out):
    """Compute 64-bit keys of columns [first, last) of rows [start, stop); equal columns have equal keys."""
    for i in range(start, stop):
        word = key
        for k in range(first, last):
            word = mix64(word ^ np.uint64(signatures[i, k]))
        out[i] = word


@kernel
def document_keys(tokens, offsets, key, start, stop, out):
    """Compute 64-bit keys of the rows [start, stop); the order of a row's tokens does not change its key."""
    for i in range(start, stop):
        word = np.uint64(0)
        for k in range(offsets[i], offsets[i + 1]):
            word += mix64(tokens[k] ^ key)
        out[i] = mix64(word ^ key)


@kernel
def bucket_pairs(keys, limit, left, right):
    """Find pairs of places with equal keys, for keys in order, and return the number of pairs.

    A bucket of up to `limit` places gives all its pairs. A larger bucket joins each place to its first place.
    With empty `left` and `right` the kernel only counts the pairs.
    """
    fill = left.size > 0
    n = np.int64(0)
    start = 0
    while start < keys.size:
        stop = start + 1
        while stop < keys.size and keys[stop] == keys[start]:
            stop += 1
        last = stop if stop - start <= limit else start + 1
        for i in range(start, last):
            for j in range(i + 1, stop):
                if fill:
                    left[n] = i
                    right[n] = j
                n += 1
        start = stop
    return n


@kernel
def sorted_overlap(a, a_offsets, a_rows, b, b_offsets, b_rows, start, stop, out):
    """Compute the Jaccard similarity of set ``a_rows[i]`` of a and ``b_rows[i]`` of b; sets rise strictly."""
    for i in range(start, stop):
        p, p_end = a_offsets[a_rows[i]], a_offsets[a_rows[i] + 1]
        q, q_end = b_offsets[b_rows[i]], b_offsets[b_rows[i] + 1]
        union = (p_end - p) + (q_end - q)
        common = 0
        while p < p_end and q < q_end:
            x, y = a[p], b[q]
            common += x == y
            p += x <= y
            q += y <= x
        out[i] = common / (union - common) if union else 1.0
