"""Find the pairs of documents that are worth comparing: copies first, then documents that share a band."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..ranks.comm import Communicator
from .banding import matching_pairs
from .components import distinct_pairs
from .places import Rows, Words, places_of_rank, split_places
from .signatures import SignatureStore

__all__ = ["CandidatePairs", "candidate_pairs", "join_copies"]


class CandidatePairs(NamedTuple):
    """Pairs of documents, on the rank of the left document, which has the smaller id.

    Attributes
    ----------
    left, right : ndarray of uint64
        Ids.
    left_places, right_places : ndarray of uint64
        Places; see `places_of_rank`.
    """

    left: Words
    left_places: Words
    right: Words
    right_places: Words


def join_copies(store: SignatureStore, comm: Communicator) -> tuple[Words, Rows]:
    """Return pairs of documents with the same shingles, and the rows that stand for all their copies.

    Without this step, a million copies of one text would meet in every band. Equal signatures do not prove
    that documents are copies: documents of similarity s have them with probability ``s**n_hashes``, which is
    0.28 for a similarity of 0.99 and 128 hashes, whatever the threshold is.
    """
    keys, ids = comm.local(store.keys), store.ids()
    places = places_of_rank(comm.rank, len(store))
    copies, copy_places, _ = matching_pairs(keys, ids, places, comm, only_first=True)
    ranks, rows = split_places(copy_places[:, 1])
    (copied,) = comm.exchange((rows,), ranks)
    is_first = np.ones(len(store), dtype=bool)
    is_first[copied] = False
    return copies, np.flatnonzero(is_first)


def candidate_pairs(
    store: SignatureStore, rows: Rows, bands: int, band_rows: int, seed: int, comm: Communicator
) -> tuple[CandidatePairs, int]:
    """Return the pairs of documents that share a band, each pair once, in the order of ids.

    Parameters
    ----------
    store : SignatureStore
    rows : ndarray of int64
        The rows of the store that take part.
    bands, band_rows : int
        The banding: the number of bands, and the number of signature values in each.
    seed : int
    comm : Communicator

    Returns
    -------
    pairs : CandidatePairs
    n_left_out : int
        The number of pairs that were left out, on this rank.
    """
    ids, places = store.ids()[rows], places_of_rank(comm.rank, len(store))[rows]
    nothing = np.empty(0, dtype=np.uint64)
    found = CandidatePairs(nothing, nothing, nothing, nothing)
    n_left_out = 0
    for band in range(bands):
        keys = comm.local(store.band_keys, band * band_rows, (band + 1) * band_rows, seed, rows)
        pair_ids, pair_places, n = matching_pairs(keys, ids, places, comm)
        n_left_out += n
        home, _ = split_places(pair_places[:, 0])
        columns = pair_ids[:, 0], pair_places[:, 0], pair_ids[:, 1], pair_places[:, 1]
        received = CandidatePairs(*comm.exchange(columns, home))
        found = comm.local(_join_pairs, found, received)
    return found, n_left_out


def _join_pairs(found: CandidatePairs, received: CandidatePairs) -> CandidatePairs:
    """Return both lists of pairs as one, each pair once, in order."""
    joined = CandidatePairs(*(np.concatenate(both) for both in zip(found, received, strict=True)))
    rows = distinct_pairs(joined.left, joined.right)
    return CandidatePairs(*(column[rows] for column in joined))
