"""Find the pairs of documents that are worth comparing: copies first, then documents that share a band."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..ranks.comm import Communicator
from .banding import matching_pairs
from .components import distinct_pairs
from .places import Rows, Words, places_of_rank, split_places
from .signatures import SignatureStore

__all__ = ["CandidatePairs", "Copies", "candidate_pairs", "join_copies", "join_pairs", "send_home"]


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


class Copies(NamedTuple):
    """Documents with the same shingles as an earlier one.

    Attributes
    ----------
    pairs : ndarray of shape (c, 2), uint64
        Ids of an original and of a copy. A rank has the pairs of the keys that it owns.
    originals, places : ndarray of shape (n,), uint64
        The id and the place of the original of each of this rank's documents; its own if it is no copy.
    """

    pairs: Words
    originals: Words
    places: Words


def join_copies(store: SignatureStore, comm: Communicator) -> Copies:
    """Find the documents with the same shingles, of which the one with the least id stands for all.

    Without this step, a million copies of one text would meet in every band. Equal signatures do not prove
    that documents are copies: documents of similarity s have them with probability ``s**n_hashes``, which is
    0.28 for a similarity of 0.99 and 128 hashes, whatever the threshold is.
    """
    keys, originals = comm.local(store.keys), store.ids()
    places = places_of_rank(comm.rank, len(store))
    pairs, pair_places, _ = matching_pairs(keys, originals, places, comm, only_first=True)
    ranks, rows = split_places(pair_places[:, 1])
    rows, ids, original_places = comm.exchange((rows, pairs[:, 0], pair_places[:, 0]), ranks)
    originals[rows] = ids
    places[rows] = original_places
    return Copies(pairs, originals, places)


def candidate_pairs(
    store: SignatureStore, rows: Rows, bands: int, band_rows: int, seed: int, comm: Communicator
) -> tuple[CandidatePairs, Rows]:
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
    crowded : ndarray of int64
        The rows of this rank's documents that are in crowded buckets, of which not all pairs are there.
    """
    ids, places = store.ids()[rows], places_of_rank(comm.rank, len(store))[rows]
    nothing = np.empty(0, dtype=np.uint64)
    found = CandidatePairs(nothing, nothing, nothing, nothing)
    is_crowded = np.zeros(len(store), dtype=bool)
    for band in range(bands):
        keys = comm.local(store.band_keys, band * band_rows, (band + 1) * band_rows, seed, rows)
        pair_ids, pair_places, crowded_places = matching_pairs(keys, ids, places, comm)
        found = join_pairs(found, send_home(pair_ids, pair_places, comm), comm)
        ranks, crowded = split_places(crowded_places)
        (crowded,) = comm.exchange((crowded,), ranks)
        is_crowded[crowded] = True
    return found, np.flatnonzero(is_crowded)


def send_home(ids: Words, places: Words, comm: Communicator) -> CandidatePairs:
    """Send pairs, whose smaller id is the first, to the ranks of their first documents."""
    home, _ = split_places(places[:, 0])
    columns = ids[:, 0], places[:, 0], ids[:, 1], places[:, 1]
    return CandidatePairs(*comm.exchange(columns, home))


def join_pairs(found: CandidatePairs, received: CandidatePairs, comm: Communicator) -> CandidatePairs:
    """Return both lists of pairs as one, each pair once, in order."""
    return comm.local(_join_pairs, found, received)


def _join_pairs(found: CandidatePairs, received: CandidatePairs) -> CandidatePairs:
    joined = CandidatePairs(*(np.concatenate(both) for both in zip(found, received, strict=True)))
    rows = distinct_pairs(joined.left, joined.right)
    return CandidatePairs(*(column[rows] for column in joined))
