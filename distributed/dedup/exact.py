"""Compute exact Jaccard similarities of pairs of documents, from shingles that are read a second time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.text import EMPTY
from ..ranks.comm import Communicator
from .comparing import FetchedSets, overlaps
from .places import Rows, Words, request_rows, split_places
from .signatures import SignatureStore
from .signing import BatchSource, ChangingSource, Shingling, document_keys

__all__ = ["ExactComparer"]

#: The most shingles that a rank fetches in one round, besides those of one document from each rank. A round
#: takes some 50 bytes for each of them.
ROUND_SHINGLES = 1 << 20


def _distinct(tokens: Words, offsets: Rows) -> tuple[Words, Rows]:
    """Return the distinct tokens of every row, in order, and their numbers; sorts `tokens` in place.

    No row is empty.
    """
    for start, stop in pairwise(offsets.tolist()):
        tokens[start:stop].sort()
    fresh = np.ones(tokens.size, dtype=bool)
    np.not_equal(tokens[1:], tokens[:-1], out=fresh[1:])
    fresh[offsets[:-1]] = True
    return tokens[fresh], np.add.reduceat(fresh, offsets[:-1], dtype=np.int64)


class _Sets:
    """The shingle sets of some of this rank's documents, by the row of the document."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._chunks: list[Words] = [np.empty(0, dtype=np.uint64)]
        self._chunk_of = np.zeros(len(rows), dtype=np.int64)
        self._starts = np.zeros(len(rows), dtype=np.int64)
        self._sizes = np.zeros(len(rows), dtype=np.int64)

    def add(self, at: Rows, tokens: Words, offsets: Rows) -> None:
        """Add the sets of the documents whose rows are at the places `at`; sorts `tokens` in place."""
        distinct, sizes = _distinct(tokens, offsets)
        self._chunk_of[at] = len(self._chunks)
        self._sizes[at] = sizes
        self._starts[at] = np.cumsum(sizes) - sizes
        self._chunks.append(distinct)

    def missing(self) -> Rows:
        """Return the places of the rows whose sets were not added."""
        return np.flatnonzero(self._sizes == 0)

    def sizes(self, rows: Rows) -> Rows:
        """Return the sizes of the sets of the given documents."""
        return self._sizes[np.searchsorted(self._rows, rows)]

    def take(self, rows: Rows) -> tuple[Words, Rows]:
        """Return the tokens of the sets of the given documents, one set after another, and their sizes."""
        at = np.searchsorted(self._rows, rows)
        starts, sizes = self._starts[at], self._sizes[at]
        places = zip(self._chunk_of[at].tolist(), starts.tolist(), (starts + sizes).tolist(), strict=True)
        parts = [self._chunks[chunk][start:stop] for chunk, start, stop in places]
        return np.concatenate([np.empty(0, dtype=np.uint64), *parts]), sizes


def _read_sets(source: BatchSource, rows: Rows, store: SignatureStore, shingling: Shingling) -> _Sets:
    """Shingle the documents in the given rows once more, and no other documents; the rows rise.

    A document is found by its id. If its key is not that of the first reading, its text has changed, and it
    is missing like a document that is gone. A source that can name the files of such documents gets their
    ids, and their sets have nothing in common with others.
    """
    sets = _Sets(rows)
    ids, keys = store.ids()[rows], store.keys()[rows]
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    for batch in source.read_again() if isinstance(source, ChangingSource) else source.batches():
        at = np.searchsorted(sorted_ids, batch.ids)
        at[at == len(ids)] = 0
        chosen = np.flatnonzero(sorted_ids[at] == batch.ids) if len(ids) else at[:0]
        if not len(chosen):
            continue
        shingles = shingling.shingle(batch.take(chosen))
        kept = shingles.status != EMPTY
        # The empty documents have no tokens.
        offsets = np.append(shingles.offsets[:-1][kept], shingles.offsets[-1])
        at = order[at[chosen[kept]]]
        same = document_keys(shingles.tokens, offsets, shingling.seed) == keys[at]
        if same.any():
            sizes = np.diff(offsets)
            tokens = shingles.tokens if same.all() else shingles.tokens[np.repeat(same, sizes)]
            sets.add(at[same], tokens, np.append(0, np.cumsum(sizes[same])))
    missing = sets.missing()
    if len(missing):
        if not isinstance(source, ChangingSource):
            raise RuntimeError("documents must give the same batches when they are read a second time")
        source.report_changed(ids[missing])
        # An id is a token that no other document has.
        sets.add(missing, ids[missing], np.arange(len(missing) + 1))
    return sets


def _rounds(owners: Rows, costs: Rows, size: int) -> tuple[Rows, Rows]:
    """Return the order in which pairs are compared, and the round of each pair in that order.

    A round fetches a share of `ROUND_SHINGLES` from each of `size` ranks. So no rank sends more than it
    receives, whichever ranks have the documents.
    """
    order = np.argsort(owners, kind="stable")
    before = np.cumsum(costs[order]) - costs[order]
    sorted_owners = owners[order]
    before -= before[np.searchsorted(sorted_owners, sorted_owners)]
    # A pair longer than a round leaves gaps in the numbers.
    _, rounds = np.unique(before // max(1, ROUND_SHINGLES // size), return_inverse=True)
    inner = np.argsort(rounds, kind="stable")
    return order[inner], rounds[inner]


class ExactComparer:
    """Compares sets of shingles. Creating a comparer reads the documents once more; a collective call.

    A rank keeps the shingles of the given documents, 8 bytes a distinct shingle, and fetches those of other
    documents in rounds of `ROUND_SHINGLES`.

    Parameters
    ----------
    rows : ndarray of int64
        The rows of this rank's documents that will be compared, in rising order. Rows are counted over the
        documents with shingles.
    source : BatchSource
        This rank's documents.
    store : SignatureStore
        The ids and keys of this rank's documents.
    shingling : Shingling
    comm : Communicator
    """

    def __init__(
        self,
        rows: Rows,
        source: BatchSource,
        store: SignatureStore,
        shingling: Shingling,
        comm: Communicator,
    ) -> None:
        self._comm = comm
        self._sets = comm.local(_read_sets, source, rows, store, shingling)

    def sizes(self, places: Words) -> Rows:
        request = request_rows(places, self._comm)
        return request.answer(self._comm.local(self._sets.sizes, request.words))

    def fetch(self, places: Words) -> FetchedSets:
        """Fetch the sets at some places."""
        return FetchedSets(*self._fetch(places))

    def _fetch(self, places: Words) -> tuple[Words, Rows]:
        sets, request = self._sets, request_rows(places, self._comm)
        tokens, sizes = self._comm.local(sets.take, request.words)
        return request.answer(tokens, sizes), request.answer(sizes)

    def compare(self, rows: Rows, others: Words) -> NDArray[np.floating]:
        """Return the Jaccard similarity of each of this rank's documents and a document at any place."""
        comm, sets = self._comm, self._sets
        with comm.agree():
            wanted, which = np.unique(others, return_inverse=True)
            owners, _ = split_places(wanted)
        wanted_sizes = self.sizes(wanted)
        with comm.agree():
            order, rounds = _rounds(owners[which], wanted_sizes[which] + sets.sizes(rows), comm.size)
            similarity = np.empty(len(rows))
        for k in range(max(comm.allgather(int(rounds[-1]) + 1 if len(rounds) else 0))):
            with comm.agree():
                part = order[np.searchsorted(rounds, k) : np.searchsorted(rounds, k + 1)]
                fetched, theirs = np.unique(which[part], return_inverse=True)
                own, ours = np.unique(rows[part], return_inverse=True)
            tokens, sizes = self._fetch(wanted[fetched])
            with comm.agree():
                own_tokens, own_sizes = sets.take(own)
                offsets, their_offsets = (np.append(0, np.cumsum(n)) for n in (own_sizes, sizes))
                similarity[part] = overlaps(own_tokens, offsets, ours, tokens, their_offsets, theirs)
        return similarity
