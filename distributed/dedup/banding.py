"""Pair documents with equal keys of bands by exchanging the keys between ranks."""

from __future__ import annotations

import numpy as np

from ...lsh.support.backend import backend_of
from ...sketches.sets.band_parameters import band_parameters, candidate_probability
from ..kernels import banding
from ..ranks.comm import Communicator
from .places import Rows, Words

__all__ = [
    "BUCKET_LIMIT",
    "band_parameters",
    "bucket_bounds",
    "candidate_probability",
    "matching_pairs",
    "order_shared",
    "owner_of",
]

#: The largest bucket whose pairs are listed. In a larger bucket, which is crowded, each document is paired
#: with the first one here, and `crowded_pairs` finds the other similar pairs.
BUCKET_LIMIT = 64


def owner_of(words: Words, size: int) -> Rows:
    """Return the rank that owns each 64-bit word; ranks own equal shares whatever pattern the words have."""
    mixed = words * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)).astype(np.int64)


def matching_pairs(
    keys: Words, ids: Words, places: Words, comm: Communicator, *, only_first: bool = False
) -> tuple[Words, Words, Words]:
    """Pair documents with equal keys on the rank that owns the key; a collective call.

    Parameters
    ----------
    keys, ids, places : ndarray of shape (n,), uint64
        This rank's documents: a key, the id and the place of each.
    only_first : bool
        If True, each document of a bucket is paired with the bucket's first document only.

    Returns
    -------
    ids, places : ndarray of shape (m, 2), uint64
        Each pair's ids, the smaller id first, and places. The rank that has a pair depends on the number of
        ranks; the pairs of all ranks together do not.
    crowded : ndarray of uint64
        Places of the documents in buckets of which not all pairs are there.
    """
    owners = comm.local(owner_of, keys, comm.size)
    keys, ids, places = comm.exchange((keys, ids, places), owners)
    return comm.local(_pair_equal, keys, ids, places, 0 if only_first else BUCKET_LIMIT)


def order_shared(keys: Words, ids: Words) -> tuple[Words, Rows]:
    """Return the keys that more than one document has, in order, and the rows of their documents.

    The documents of a key are in the order of ids.
    """
    order = np.argsort(keys)
    keys = keys[order]
    shared = np.zeros(keys.size, dtype=bool)
    np.equal(keys[1:], keys[:-1], out=shared[1:])
    shared[:-1] |= shared[1:]
    keys, order = keys[shared], order[shared]
    inner = np.lexsort((ids[order], keys))
    return keys[inner], order[inner]


def bucket_bounds(keys: Words) -> Rows:
    """Return where each bucket begins in keys that are in order, and the end of the last one."""
    return np.flatnonzero(np.diff(keys, prepend=~keys[:1], append=~keys[-1:]))


def _pair_equal(keys: Words, ids: Words, places: Words, limit: int) -> tuple[Words, Words, Words]:
    keys, order = order_shared(keys, ids)
    find_pairs = backend_of(keys).kernels(banding).bucket_pairs
    nothing = np.empty(0, dtype=np.int64)
    n = find_pairs(keys, limit, nothing, nothing)
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    if n:
        find_pairs(keys, limit, left, right)
    sizes = np.diff(bucket_bounds(keys))
    crowded = places[order[np.repeat(sizes > max(limit, 2), sizes)]]
    left, right = order[left], order[right]
    return np.stack([ids[left], ids[right]], axis=1), np.stack([places[left], places[right]], axis=1), crowded
