"""Exact Jaccard similarities of pairs of documents, from their shingles read a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...lsh.hashing.text import Shingles
from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..documents.batches import DocumentBatch
from ..kernels import banding
from ..ranks.comm import Communicator
from .signatures import split_places

__all__ = ["exact_pairs"]

#: Shingles of a round that a rank fetches at most, beside those of one document from each rank. A round
#: takes some 50 bytes for each.
ROUND_SHINGLES = 1 << 20


def _distinct(
    tokens: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Every row, of which none is empty, in order and without repetition; sorts `tokens` in place."""
    for start, stop in pairwise(offsets.tolist()):
        tokens[start:stop].sort()
    fresh = np.ones(tokens.size, dtype=bool)
    np.not_equal(tokens[1:], tokens[:-1], out=fresh[1:])
    fresh[offsets[:-1]] = True
    return tokens[fresh], np.add.reduceat(fresh, offsets[:-1], dtype=np.int64)


class _Sets:
    """The shingle sets of some of this rank's documents, by the row of the document."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self._n = 0
        self._chunks: list[NDArray[np.uint64]] = []
        self._chunk_of = np.empty(len(rows), dtype=np.int64)
        self._starts = np.empty(len(rows), dtype=np.int64)
        self._sizes = np.empty(len(rows), dtype=np.int64)

    def __len__(self) -> int:
        return self._n

    def append(self, tokens: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        """Keep the sets of the next documents."""
        distinct, sizes = _distinct(tokens, offsets)
        part = slice(self._n, self._n + len(sizes))
        self._chunk_of[part] = len(self._chunks)
        self._sizes[part] = sizes
        self._starts[part] = np.cumsum(sizes) - sizes
        self._chunks.append(distinct)
        self._n += len(sizes)

    def sizes(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sizes of the sets of the given documents."""
        return self._sizes[np.searchsorted(self._rows, rows)]

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Tokens and sizes of the sets of the given documents, one after another."""
        at = np.searchsorted(self._rows, rows)
        starts, sizes = self._starts[at], self._sizes[at]
        places = zip(self._chunk_of[at].tolist(), starts.tolist(), (starts + sizes).tolist(), strict=True)
        parts = [self._chunks[chunk][start:stop] for chunk, start, stop in places]
        return np.concatenate([np.empty(0, dtype=np.uint64), *parts]), sizes


def _read_sets(
    batches: Iterable[DocumentBatch],
    rows: NDArray[np.int64],
    kept: Sequence[NDArray[np.bool_]],
    shingle_batch: Callable[[DocumentBatch], Shingles],
) -> _Sets:
    """Shingle once more the documents in the given rows, and no other; rows rise."""
    sets = _Sets(rows)
    seen = n_batches = 0
    for batch, shingled in zip(batches, kept, strict=False):
        if len(batch.ids) != len(shingled):
            break
        n_batches += 1
        places = np.flatnonzero(shingled)
        inside = rows[np.searchsorted(rows, seen) : np.searchsorted(rows, seen + len(places))]
        chosen = places[inside - seen]
        seen += len(places)
        if len(chosen):
            shingles = shingle_batch(_cut(batch, chosen))
            if shingles.status.any():
                break
            sets.append(shingles.tokens, shingles.offsets)
    if n_batches != len(kept) or len(sets) != len(rows):
        raise RuntimeError("documents must give the same batches when they are read a second time")
    return sets


def _cut(batch: DocumentBatch, chosen: NDArray[np.int64]) -> DocumentBatch:
    """Some documents of a batch."""
    starts, stops = batch.offsets[chosen], batch.offsets[chosen + 1]
    parts = [batch.data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(stops - starts)])
    return DocumentBatch(batch.ids[chosen], np.concatenate(parts), offsets)


def _rounds(
    owners: NDArray[np.int64], costs: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order in which pairs are compared, and the round of each in that order.

    A round fetches from each of `size` ranks its share of `ROUND_SHINGLES`, so that no rank sends more
    than it receives, whoever holds the documents.
    """
    order = np.argsort(owners, kind="stable")
    before = np.cumsum(costs[order]) - costs[order]
    sorted_owners = owners[order]
    before -= before[np.searchsorted(sorted_owners, sorted_owners)]
    # A pair that is longer than a round leaves numbers out.
    _, rounds = np.unique(before // max(1, ROUND_SHINGLES // size), return_inverse=True)
    inner = np.argsort(rounds, kind="stable")
    return order[inner], rounds[inner]


def exact_pairs(
    rows: NDArray[np.int64],
    others: NDArray[np.uint64],
    read: Callable[[], Iterable[DocumentBatch]],
    kept: Sequence[NDArray[np.bool_]],
    shingle_batch: Callable[[DocumentBatch], Shingles],
    comm: Communicator,
) -> NDArray[np.float64]:
    """Exact Jaccard similarity of each of this rank's rows and a document anywhere.

    Parameters
    ----------
    rows : ndarray of shape (m,)
        Rows of this rank's documents, counted over those with shingles.
    others : ndarray of shape (m,), uint64
        Places of the other documents.
    read : callable
        Gives this rank's batches once more, the same as before.
    kept : sequence of ndarray of bool
        Of every batch, which documents have shingles, and so a row.
    shingle_batch : callable
    comm : Communicator

    Notes
    -----
    A collective call. A rank keeps the shingles of its documents that stand in some pair, 8 bytes a
    distinct shingle, and fetches those of other ranks in rounds of `ROUND_SHINGLES`.
    """
    with comm.agree():
        wanted, which = np.unique(others, return_inverse=True)
        owners, distant = split_places(wanted)
        asking = np.full(len(wanted), comm.rank, dtype=np.int64)
        numbers = np.arange(len(wanted))
    asked_by, asked_rows, asked_numbers = comm.exchange((asking, distant, numbers), owners)
    with comm.agree():
        sets = _read_sets(read(), np.unique(np.concatenate([rows, asked_rows])), kept, shingle_batch)
        sizes = sets.sizes(asked_rows)
    came, came_sizes = comm.exchange((asked_numbers, sizes), asked_by)
    with comm.agree():
        other_sizes = np.empty(len(wanted), dtype=np.int64)
        other_sizes[came] = came_sizes
        order, rounds = _rounds(owners[which], other_sizes[which] + sets.sizes(rows), comm.size)
        similarity = np.empty(len(rows))
    for k in range(max(comm.allgather(int(rounds[-1]) + 1 if len(rounds) else 0))):
        with comm.agree():
            part = order[np.searchsorted(rounds, k) : np.searchsorted(rounds, k + 1)]
            fetched, theirs = np.unique(which[part], return_inverse=True)
            request = asking[: len(fetched)], distant[fetched], numbers[: len(fetched)]
        asked_by, asked_rows, asked_numbers = comm.exchange(request, owners[fetched])
        with comm.agree():
            tokens, sizes = sets.take(asked_rows)
            answer = np.repeat(asked_numbers, sizes), tokens
            destination = np.repeat(asked_by, sizes)
        came, tokens = comm.exchange(answer, destination)
        with comm.agree():
            # A set comes whole from one rank, in order; sets come in any order.
            tokens = tokens[np.argsort(came, kind="stable")]
            own, mine = np.unique(rows[part], return_inverse=True)
            own_tokens, own_sizes = sets.take(own)
            similarity[part] = _compare(
                own_tokens, own_sizes, mine, tokens, np.bincount(came, minlength=len(fetched)), theirs
            )
    return similarity


def _compare(
    a: NDArray[np.uint64],
    a_sizes: NDArray[np.int64],
    a_rows: NDArray[np.int64],
    b: NDArray[np.uint64],
    b_sizes: NDArray[np.int64],
    b_rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Jaccard similarity of the sets ``a_rows[i]`` of a and ``b_rows[i]`` of b, for each i."""
    kernel = backend_of(a).kernels(banding).sorted_overlap
    a_offsets, b_offsets = (np.cumsum(np.append(0, sizes)) for sizes in (a_sizes, b_sizes))
    out = np.empty(len(a_rows))
    map_blocks(
        lambda start, stop: kernel(a, a_offsets, a_rows, b, b_offsets, b_rows, start, stop, out),
        len(a_rows),
        64,
    )
    return out
