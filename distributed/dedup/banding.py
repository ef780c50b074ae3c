"""Pair documents with equal keys of bands by exchanging the keys between ranks."""

from __future__ import annotations

import numpy as np

from ...lsh.support.backend import backend_of
from ...sketches.sets.band_parameters import band_parameters, candidate_probability
from ..kernels import banding
from ..ranks.comm import Communicator
from .places import Rows, Words

__all__ = ["band_parameters", "candidate_probability", "matching_pairs", "owner_of"]

#: The largest bucket in which all pairs of documents are compared. In a larger bucket each document is
#: compared with the first one and with the `NEAR` documents that follow it, so that the work is linear in the
#: number of documents.
BUCKET_LIMIT = 64
NEAR = 16


def owner_of(words: Words, size: int) -> Rows:
    """Return the rank that owns each 64-bit word; ranks own equal shares whatever pattern the words have."""
    mixed = words * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)).astype(np.int64)


def matching_pairs(
    keys: Words, ids: Words, places: Words, comm: Communicator, *, only_first: bool = False
) -> tuple[Words, Words, int]:
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
    n_left_out : int
        The number of pairs of documents with equal keys that were left out on this rank.
    """
    owners = comm.local(owner_of, keys, comm.size)
    keys, ids, places = comm.exchange((keys, ids, places), owners)
    return comm.local(_pair_equal, keys, ids, places, only_first)


def _pair_equal(keys: Words, ids: Words, places: Words, only_first: bool) -> tuple[Words, Words, int]:
    order = np.argsort(keys)
    keys = keys[order]
    shared = np.zeros(keys.size, dtype=bool)
    np.equal(keys[1:], keys[:-1], out=shared[1:])
    shared[:-1] |= shared[1:]
    # Documents that share a key are sorted by id, because the pairs of a large bucket depend on their order.
    keys, order = keys[shared], order[shared]
    inner = np.lexsort((ids[order], keys))
    keys, order = keys[inner], order[inner]
    find_pairs = backend_of(keys).kernels(banding).bucket_pairs
    limit, near = (0, 0) if only_first else (BUCKET_LIMIT, NEAR)
    nothing = np.empty(0, dtype=np.int64)
    n = find_pairs(keys, limit, near, nothing, nothing)
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    if n:
        find_pairs(keys, limit, near, left, right)
    sizes = np.diff(np.flatnonzero(np.diff(keys, prepend=~keys[:1], append=~keys[-1:])))
    n_left_out = int((sizes * (sizes - 1) // 2).sum()) - n
    left, right = order[left], order[right]
    return (
        np.stack([ids[left], ids[right]], axis=1),
        np.stack([places[left], places[right]], axis=1),
        n_left_out,
    )
