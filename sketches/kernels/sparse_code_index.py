"""Kernels of items with one bucket in each chunk: their codes, and queries by scores of buckets."""

from __future__ import annotations

import numpy as np

from ...lsh.kernels.compiled import helper, kernel
from ...lsh.kernels.words import mix64, reduce_word
from .heaps import keep_best, sort_best

__all__ = ["best_buckets", "best_items", "count_candidates", "item_codes", "list_candidates"]


@kernel
def item_codes(ids, keys, n_buckets, start, stop, out):
    """Set ``out[i, c]`` to the bucket of item ``ids[i]`` in chunk c.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
    keys : ndarray of shape (n_chunks,), uint64
    n_buckets : uint64
    out : ndarray of shape (n, n_chunks), uint16
    """
    for i in range(start, stop):
        word = mix64(np.uint64(ids[i]))
        for c in range(keys.size):
            out[i, c] = reduce_word(mix64(word ^ keys[c]), n_buckets)


@kernel
def best_buckets(scores, n_buckets, start, stop, out):
    """Write the buckets with the largest scores of each chunk, the best first and at equal scores the lower.

    Parameters
    ----------
    scores : ndarray of shape (n, at least n_chunks * n_buckets), float32
    out : ndarray of shape (n, n_chunks, n_probes), int64
    """
    n_probes = out.shape[2]
    keys = np.empty(n_probes)
    for t in range(start, stop):
        for c in range(out.shape[1]):
            numbers, size = out[t, c], 0
            for b in range(n_buckets):
                key = -np.float64(scores[t, c * n_buckets + b])
                size = keep_best(b, key, n_probes, 0, size, numbers, keys)
            sort_best(0, size, numbers, keys)


@helper
def _touch(buckets, members, places, counts, touched):
    """Count in how many chunks each item is in a probed bucket; return the number of items."""
    size = 0
    for c in range(buckets.shape[0]):
        for p in range(buckets.shape[1]):
            for at in range(places[c, buckets[c, p]], places[c, buckets[c, p] + 1]):
                item = members[c, at]
                if counts[item] == 0:
                    touched[size] = item
                    size += 1
                counts[item] += 1
    return size


@kernel
def count_candidates(buckets, members, places, least, start, stop, counts, touched, sizes):
    """Count the items that are in probed buckets of at least `least` chunks.

    Parameters
    ----------
    buckets : ndarray of shape (n, n_chunks, n_probes), int64
        Distinct buckets.
    members : ndarray of shape (n_chunks, n_items), int32
        Items by chunk, in the order of their buckets.
    places : ndarray of shape (n_chunks, n_buckets + 1), int64
        The place in `members` where each bucket begins.
    counts, touched : ndarray of shape (n_items,), int32
        Scratch; `counts` is 0 before and afterwards.
    sizes : ndarray of shape (n,), int64
    """
    for t in range(start, stop):
        size = _touch(buckets[t], members, places, counts, touched)
        sizes[t] = 0
        for i in range(size):
            sizes[t] += counts[touched[i]] >= least
            counts[touched[i]] = 0


@kernel
def list_candidates(buckets, members, places, least, bounds, start, stop, counts, touched, found):
    """Write the items that `count_candidates` counts, those of query t from ``found[bounds[t]]`` on.

    Parameters
    ----------
    bounds : ndarray of shape (n + 1,), int64
    found : ndarray of int64
        Rising within a query.
    """
    for t in range(start, stop):
        size, at = _touch(buckets[t], members, places, counts, touched), bounds[t]
        for i in range(size):
            if counts[touched[i]] >= least:
                found[at] = touched[i]
                at += 1
            counts[touched[i]] = 0
        found[bounds[t] : at].sort()


@kernel
def best_items(
    scores, buckets, members, places, codes, n_buckets, least, start, stop, counts, touched, numbers, keys
):
    """Find the items with the largest sums of the scores of their buckets, among the candidates.

    Parameters
    ----------
    scores : ndarray of shape (n, at least n_chunks * n_buckets), float32
    buckets, members, places, least, counts, touched
        As for `count_candidates`.
    codes : ndarray of shape (n_items, n_chunks), uint16
    numbers : ndarray of shape (n, k), int64
        The best items, the best first and at equal sums the lower number; -1 where there are fewer.
    keys : ndarray of shape (n, k), float64
        Their sums times -1, infinite where there are fewer.
    """
    k = numbers.shape[1]
    for t in range(start, stop):
        n_touched = _touch(buckets[t], members, places, counts, touched)
        size = 0
        for i in range(n_touched):
            item = touched[i]
            if counts[item] >= least:
                key = 0.0
                for c in range(codes.shape[1]):
                    key -= np.float64(scores[t, c * n_buckets + codes[item, c]])
                size = keep_best(np.int64(item), key, k, 0, size, numbers[t], keys[t])
            counts[item] = 0
        sort_best(0, size, numbers[t], keys[t])
        numbers[t, size:] = -1
        keys[t, size:] = np.inf
