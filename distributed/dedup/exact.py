"""Compute exact Jaccard similarities of pairs of documents, from shingles that are read a second time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...lsh.kernels.text import OK
from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..kernels import banding
from ..ranks.comm import Communicator
from .places import Request, Rows, Words, split_places
from .signatures import SignatureStore
from .signing import BatchSource, ChangingSource, Shingling, document_keys

__all__ = ["exact_pairs"]

#: The most shingles that a rank fetches in one round, besides those of one document from each rank. A round
#: takes some 50 bytes for each of them.
ROUND_SHINGLES = 1 << 20
#: Pairs in one thread's task.
_BLOCK = 64


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
    """The shingle sets of some of this rank's documents, by the row of the document.

    A document whose set was not added has the empty set, which no document with shingles has.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._chunks: list[Words] = [np.empty(0, dtype=np.uint64)]
        self._chunk_of = np.zeros(len(rows), dtype=np.int64)
        self._starts = np.zeros(len(rows), dtype=np.int64)
        self._sizes = np.zeros(len(rows), dtype=np.int64)

    def add(self, at: Rows, tokens: Words, offsets: Rows) -> None:
        """Add the sets of the documents in the rows at the places `at`; sorts `tokens` in place."""
        distinct, sizes = _distinct(tokens, offsets)
        self._chunk_of[at] = len(self._chunks)
        self._sizes[at] = sizes
        self._starts[at] = np.cumsum(sizes) - sizes
        self._chunks.append(distinct)

    def missing(self) -> Rows:
        """Return the rows whose sets were not added."""
        return self._rows[self._sizes == 0]

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

    A document is found by its id. If its key is another one than at the first reading, its text has changed,
    and its set is left out. A source that can name the files of such documents is told of them.
    """
    sets = _Sets(rows)
    ids, keys = store.ids()[rows], store.keys()[rows]
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    for batch in source.read_again() if isinstance(source, ChangingSource) else source.batches():
        at = np.searchsorted(ids, batch.ids)
        chosen = np.flatnonzero(ids[np.minimum(at, len(ids) - 1)] == batch.ids) if len(ids) else at[:0]
        if not len(chosen):
            continue
        shingles = shingling.shingle(batch.take(chosen))
        kept = shingles.status == OK
        # The other documents have no tokens.
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
        source.report_changed(store.ids()[missing])
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


def exact_pairs(
    rows: Rows,
    others: Words,
    source: BatchSource,
    store: SignatureStore,
    shingling: Shingling,
    comm: Communicator,
) -> NDArray[np.float64]:
    """Return the exact Jaccard similarity of each of this rank's documents and a document anywhere.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Rows of this rank's documents, counted over the documents with shingles.
    others : ndarray of shape (m,), uint64
        Places of the other documents.
    source : BatchSource
        This rank's documents, which are read a second time.
    store : SignatureStore
        The ids and keys of this rank's documents.
    shingling : Shingling
    comm : Communicator

    Notes
    -----
    A pair with a document that the second reading does not find as it was gets the similarity 0.

    This is a collective call. A rank keeps the shingles of its documents that are in some pair, 8 bytes a
    distinct shingle, and fetches the shingles of other documents in rounds of `ROUND_SHINGLES`.
    """
    with comm.agree():
        wanted, which = np.unique(others, return_inverse=True)
        owners, _ = split_places(wanted)
    request = Request(wanted, comm)
    with comm.agree():
        needed = np.unique(np.concatenate([rows, request.rows]))
        sets = _read_sets(source, needed, store, shingling)
        sizes = sets.sizes(request.rows)
    wanted_sizes = request.answer(sizes)
    with comm.agree():
        order, rounds = _rounds(owners[which], wanted_sizes[which] + sets.sizes(rows), comm.size)
        similarity = np.empty(len(rows))
    for k in range(max(comm.allgather(int(rounds[-1]) + 1 if len(rounds) else 0))):
        with comm.agree():
            part = order[np.searchsorted(rounds, k) : np.searchsorted(rounds, k + 1)]
            fetched, theirs = np.unique(which[part], return_inverse=True)
            own, ours = np.unique(rows[part], return_inverse=True)
        request = Request(wanted[fetched], comm)
        tokens = request.answer(*comm.local(sets.take, request.rows))
        with comm.agree():
            similarity[part] = _compare(*sets.take(own), ours, tokens, wanted_sizes[fetched], theirs)
    with comm.agree():
        similarity[(sets.sizes(rows) == 0) | (wanted_sizes[which] == 0)] = 0.0
    return similarity


def _compare(
    a: Words, a_sizes: Rows, a_rows: Rows, b: Words, b_sizes: Rows, b_rows: Rows
) -> NDArray[np.float64]:
    """Return the Jaccard similarity of the sets ``a_rows[i]`` of a and ``b_rows[i]`` of b, for each i."""
    kernel = backend_of(a).kernels(banding).sorted_overlap
    a_offsets, b_offsets = (np.cumsum(np.append(0, sizes)) for sizes in (a_sizes, b_sizes))
    out = np.empty(len(a_rows))
    map_blocks(
        lambda start, stop: kernel(a, a_offsets, a_rows, b, b_offsets, b_rows, start, stop, out),
        len(a_rows),
        _BLOCK,
    )
    return out
