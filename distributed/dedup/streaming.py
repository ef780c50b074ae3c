"""Find documents that were seen before, in the order of their ids, over any number of ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.text import BAD_BYTES, EMPTY
from ...sketches.sets.streaming_deduplicator import StreamingDeduplicator
from ..ranks.comm import Communicator
from .places import Words
from .signing import BatchSource

__all__ = ["StreamedDuplicates", "gather_filters", "stream_duplicates"]


class StreamedDuplicates(NamedTuple):
    """Contain the documents that `stream_duplicates` has found.

    Attributes
    ----------
    ids : ndarray of uint64
        The ids of all duplicates in ascending order, on rank 0; empty on the other ranks.
    n_documents, n_duplicates, n_empty : int
        Totals over all ranks. Empty documents, which have no word or symbol, count as documents.
    invalid : ndarray of uint64
        Ids of documents with bytes that are not UTF-8, on the rank that has read them.
    """

    ids: Words
    n_documents: int
    n_duplicates: int
    n_empty: int
    invalid: Words


class _Counts:
    """The numbers of documents of this rank, and the ids of those with bytes that are not UTF-8."""

    def __init__(self) -> None:
        self.n_shingled = self.n_empty = 0
        self.invalid = [np.empty(0, np.uint64)]

    def add(self, ids: Words, status: NDArray[np.uint8]) -> None:
        self.n_shingled += int(np.count_nonzero(status != EMPTY))
        self.n_empty += int(np.count_nonzero(status == EMPTY))
        self.invalid.append(ids[status == BAD_BYTES])


def stream_duplicates(
    source: BatchSource, seen: StreamingDeduplicator, comm: Communicator
) -> StreamedDuplicates:
    """Find the documents of a source that resemble an earlier one, or one that was seen before.

    This is a collective call. Documents are taken in the order of their ids over all ranks, so the answers
    do not depend on the number of ranks.

    Parameters
    ----------
    source : BatchSource
        This rank's share of the documents, in the order of ids.
    seen : StreamingDeduplicator
        The documents of earlier runs; equal on all ranks. It changes: on one rank it takes in all documents;
        of several ranks each takes in the bands that it owns. See `gather_filters`.
    comm : Communicator

    Returns
    -------
    StreamedDuplicates

    Notes
    -----
    One rank streams: it needs the memory of the filters and of a batch. With several ranks the documents of
    a rank are not in one piece of the order. So each rank keeps the keys of its documents, 8 bytes for each
    band. The ranks then exchange the keys of one band for each rank, and the owner of the band puts them in
    the order of ids.
    """
    counts = _Counts()
    if comm.size == 1:
        ids = _in_order(source, seen, counts)
    else:
        with comm.agree():
            columns = _all_keys(source, seen, counts)
        ids = _by_owners(*columns, seen, comm)
    n_documents = comm.sum(counts.n_shingled + counts.n_empty)
    if comm.rank == 0:
        seen.state.reserve("n_updates", n_documents)
        seen.state.arrays["n_updates"] += n_documents
    return StreamedDuplicates(
        ids, n_documents, comm.bcast(len(ids)), comm.sum(counts.n_empty), np.concatenate(counts.invalid)
    )


def _in_order(source: BatchSource, seen: StreamingDeduplicator, counts: _Counts) -> Words:
    found = [np.empty(0, np.uint64)]
    for batch in source.batches():
        bands = seen.band_keys((batch.data, batch.offsets))
        counts.add(batch.ids, bands.status)
        found.append(batch.ids[bands.spread(seen.admit_keys(bands.keys))])
    return np.concatenate(found)


def _all_keys(source: BatchSource, seen: StreamingDeduplicator, counts: _Counts) -> tuple[Words, list[Words]]:
    """Return the ids of this rank's documents with shingles, and the batches of their keys."""
    ids, keys = [np.empty(0, np.uint64)], [np.empty((seen.bands, 0), np.uint64)]
    for batch in source.batches():
        bands = seen.band_keys((batch.data, batch.offsets))
        counts.add(batch.ids, bands.status)
        ids.append(batch.ids[bands.status != EMPTY])
        keys.append(bands.keys)
    return np.concatenate(ids), keys


def _by_owners(ids: Words, keys: list[Words], seen: StreamingDeduplicator, comm: Communicator) -> Words:
    """Return the ids of all duplicates on rank 0; rank r owns the bands r, r + size, and so on."""
    found = [np.empty(0, np.uint64)]
    for first in range(0, seen.bands, comm.size):
        owners = np.arange(min(comm.size, seen.bands - first))
        with comm.agree():
            columns = (
                np.tile(ids, len(owners)),
                np.concatenate([part[first + owner] for owner in owners.tolist() for part in keys]),
            )
            destination = np.repeat(owners, len(ids))
        received_ids, received_keys = comm.exchange(columns, destination)
        with comm.agree():
            if comm.rank < len(owners):
                order = np.argsort(received_ids)
                was_there = seen.admit_keys(received_keys[order][np.newaxis], first + comm.rank)[0]
                found.append(received_ids[order][was_there])
    duplicates = comm.local(lambda: np.unique(np.concatenate(found)))
    (every,) = comm.exchange((duplicates,), np.zeros(len(duplicates), np.int64))
    return comm.local(np.unique, every)


def gather_filters(seen: StreamingDeduplicator, comm: Communicator) -> None:
    """Bring the filters of all bands to rank 0 after `stream_duplicates`; a collective call."""
    filters = seen.state.arrays["filters"]
    for band in range(seen.bands):
        owner = band % comm.size
        if owner == 0:
            continue
        if comm.rank == owner:
            comm.send(filters[band], 0)
        elif comm.rank == 0:
            comm.receive(filters[band], owner)
