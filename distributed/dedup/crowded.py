"""Find similar documents in crowded buckets, whose pairs are too many to be listed.

A bucket is taken to one rank, and its documents are compared there, 64 at a time with all others. For
groups, documents that are joined already are not compared again. So documents that are all alike take linear
time, and documents that are all different take about 20 ns a pair. No pair is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..ranks.comm import Communicator
from .banding import BUCKET_LIMIT, bucket_bounds, order_shared, owner_of
from .candidates import CandidatePairs, join_pairs, send_home
from .comparing import BLOCK, Block, Comparer
from .places import Rows, Words, places_of_rank
from .signatures import SignatureStore

__all__ = ["PairBudget", "crowded_pairs", "cut_rounds"]

#: Words of documents that a rank fetches in one round, besides those of one bucket.
ROUND_WORDS = 1 << 21
#: Documents whose bits are expanded at a time, which takes 512 bytes for each.
_EXPANDED = 1 << 14
#: Local numbers of the documents of pairs.
_Pairs = tuple[Rows, Rows]


class PairBudget:
    """The number of comparisons that may be made in one bucket, and the number that it left out so far."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.n_uncompared = 0


def crowded_pairs(
    store: SignatureStore,
    rows: Rows,
    groups: Words,
    bands: int,
    band_rows: int,
    seed: int,
    threshold: float,
    comparer: Comparer,
    budget: PairBudget | None,
    comm: Communicator,
) -> CandidatePairs:
    """Return each similar pair of documents in crowded buckets once, on the rank of the left document.

    Parameters
    ----------
    store : SignatureStore
    rows : ndarray of int64
        The rows of this rank's documents that are in crowded buckets.
    groups : ndarray of uint64
        The group that each of them has been joined to so far.
    bands, band_rows, seed : int
    threshold : float
    comparer : Comparer
    budget : PairBudget or None
        None finds enough pairs to join all similar documents. Otherwise all similar pairs are found that the
        budget allows for.
    comm : Communicator

    Notes
    -----
    This is a collective call. Pairs that several bands find are joined after each band, so that memory is in
    proportion to the number of different pairs.
    """
    nothing = np.empty((0, 2), dtype=np.uint64)
    every = CandidatePairs(*(nothing[:, 0] for _ in CandidatePairs._fields))
    ids, places = store.ids()[rows], places_of_rank(comm.rank, len(store))[rows]
    for band in range(bands if any(comm.allgather(len(rows))) else 0):
        keys = comm.local(store.band_keys, band * band_rows, (band + 1) * band_rows, seed, rows)
        owners = comm.local(owner_of, keys, comm.size)
        columns = comm.exchange((keys, ids, places, groups), owners)
        buckets = comm.local(_crowded_buckets, *columns[:2], columns[3], budget is not None)
        _, bucket_ids, bucket_places, bucket_groups = columns
        members = np.concatenate([np.empty(0, dtype=np.int64), *buckets])
        sizes = comparer.sizes(bucket_places[members])
        found_ids, found_places = [nothing], [nothing]
        words = [int(part.sum()) for part in np.split(sizes, np.cumsum([0, *map(len, buckets)])[1:-1])]
        for first, last in cut_rounds(words[: len(buckets)], ROUND_WORDS, comm):
            part = buckets[first:last]
            documents = comparer.fetch(bucket_places[np.concatenate([members[:0], *part])])
            with comm.agree():
                start = 0
                for bucket in part:
                    block = documents.block(np.arange(start, start + len(bucket)), threshold)
                    start += len(bucket)
                    if budget is None:
                        left, right = _join(block, bucket_groups[bucket])
                    else:
                        left, right = _compare_all(block, len(bucket), budget)
                    # Documents of a bucket are in the order of ids.
                    pair = np.stack(
                        [bucket[np.minimum(left, right)], bucket[np.maximum(left, right)]], axis=1
                    )
                    found_ids.append(bucket_ids[pair])
                    found_places.append(bucket_places[pair])
        with comm.agree():
            pair_ids, pair_places = np.concatenate(found_ids), np.concatenate(found_places)
        every = join_pairs(every, send_home(pair_ids, pair_places, comm), comm)
    return every


def _crowded_buckets(keys: Words, ids: Words, groups: Words, every: bool) -> list[Rows]:
    """Return the rows of each crowded bucket, unless all its documents are in one group already."""
    keys, order = order_shared(keys, ids)
    bounds = bucket_bounds(keys)
    buckets = []
    for k in np.flatnonzero(np.diff(bounds) > BUCKET_LIMIT).tolist():
        rows = order[bounds[k] : bounds[k + 1]]
        if every or (groups[rows] != groups[rows[0]]).any():
            buckets.append(rows)
    return buckets


def cut_rounds(words: list[int], most: int, comm: Communicator) -> Iterator[tuple[int, int]]:
    """Yield ranges of this rank's items whose words together are at most `most`, or one item.

    Every rank gets the same number of ranges, of which the last ones may be empty. A collective call.
    """
    bounds, total = [0], 0
    for i, n in enumerate(words):
        if total and total + n > most:
            bounds.append(i)
            total = 0
        total += n
    bounds.append(len(words))
    n_rounds = max(comm.allgather(len(bounds) - 1 if words else 0))
    bounds += [len(words)] * max(0, n_rounds + 1 - len(bounds))
    yield from pairwise(bounds[: n_rounds + 1])


def _join(block: Block, groups: Words) -> _Pairs:
    """Return similar pairs that join all documents which similar pairs connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group = np.unique(groups, return_inverse=True)
    n = len(group)
    lefts, rights = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    todo = np.arange(n)
    while len(todo) and (group[todo] != group[todo[0]]).any():
        # Small groups are first: when one group is left, nothing remains to be joined.
        sizes = np.bincount(group[todo])[group[todo]]
        order = np.argsort(sizes, kind="stable")
        chosen, todo = todo[order[:BLOCK]], np.sort(todo[order[BLOCK:]])
        for later in (chosen, todo):
            left, right = _expand(block.hits(chosen, group, later), chosen, later)
            if len(left):
                lefts.append(left)
                rights.append(right)
                edges = coo_array((np.ones(len(left), np.int8), (group[left], group[right])), shape=(n, n))
                group = connected_components(edges, directed=False)[1].astype(np.int64)[group]
    return np.concatenate(lefts), np.concatenate(rights)


def _compare_all(block: Block, n: int, budget: PairBudget) -> _Pairs:
    """Return all similar pairs that the budget allows for."""
    lefts, rights = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    every, left_over = np.arange(n), n * (n - 1) // 2
    allowed = budget.most
    for start in range(0, n, BLOCK):
        chosen, later = every[start : start + BLOCK], every[start:]
        n_pairs = len(chosen) * (len(later) - 1) - len(chosen) * (len(chosen) - 1) // 2
        if n_pairs > allowed:
            break
        allowed -= n_pairs
        left_over -= n_pairs
        left, right = _expand(block.hits(chosen, every, later), chosen, later)
        once = left < right
        lefts.append(left[once])
        rights.append(right[once])
    budget.n_uncompared += left_over
    return np.concatenate(lefts), np.concatenate(rights)


def _expand(hits: NDArray[np.uint64], chosen: Rows, later: Rows) -> _Pairs:
    """Return the pairs that the bits of `hits` stand for."""
    lefts, rights = [chosen[:0]], [later[:0]]
    at = np.flatnonzero(hits)
    for part in np.split(at, range(_EXPANDED, len(at), _EXPANDED)):
        bits = (hits[part, None] >> np.arange(len(chosen), dtype=np.uint64)) & np.uint64(1)
        row, bit = np.nonzero(bits)
        lefts.append(chosen[bit])
        rights.append(later[part[row]])
    return np.concatenate(lefts), np.concatenate(rights)
