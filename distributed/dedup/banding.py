"""Choose bands of signatures, and pair documents with equal keys by exchanging the keys between ranks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of
from ...lsh.support.checks import check_int, check_real
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
#: Points of the numerical integration in `band_parameters`.
_POINTS = 1000


def candidate_probability(similarity: NDArray[np.float64], bands: int, rows: int) -> NDArray[np.float64]:
    """Return the probability ``1 - (1 - similarity**rows)**bands`` that two documents share a band."""
    return 1.0 - (1.0 - similarity**rows) ** bands


@lru_cache(maxsize=64)
def band_parameters(
    threshold: float, n_hashes: int, *, false_negative_weight: float = 0.5
) -> tuple[int, int]:
    """Return the bands and rows that best separate pairs above a similarity from pairs below it.

    Parameters
    ----------
    threshold : float
        The similarity, in [0, 1].
    n_hashes : int
        The largest value of ``bands * rows``.
    false_negative_weight : float
        The cost of a missed pair, in [0, 1]. A needless comparison costs one minus this weight.

    Returns
    -------
    (int, int)
        The number of bands, and the number of signature values in each.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or lies outside its range.

    Notes
    -----
    The result minimises, over all (bands, rows), the weighted sum of two integrals: of the candidate
    probability below the threshold (false positives), and of its complement above it (false negatives).
    datasketch does the same (Zhu, Nargesian, Pu and Miller 2016, "LSH Ensemble", section 5).

    Examples
    --------
    >>> from mergesketch.distributed import band_parameters
    >>> band_parameters(0.7, 128)
    (14, 9)
    """
    threshold = check_real("threshold", threshold, 0.0, 1.0, closed=True)
    n_hashes = check_int("n_hashes", n_hashes, 1, 1 << 16)
    weight = check_real("false_negative_weight", false_negative_weight, 0.0, 1.0, closed=True)
    # These are midpoints. The integrands are smooth, so a thousand points are exact to six digits.
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    below, above = steps * threshold, threshold + steps * (1.0 - threshold)
    best, least = (1, 1), np.inf
    for rows in range(1, n_hashes + 1):
        for bands in range(1, n_hashes // rows + 1):
            positives = candidate_probability(below, bands, rows).mean() * threshold
            negatives = (1.0 - candidate_probability(above, bands, rows)).mean() * (1.0 - threshold)
            cost = (1.0 - weight) * positives + weight * negatives
            if cost < least:
                best, least = (bands, rows), cost
    return best


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
