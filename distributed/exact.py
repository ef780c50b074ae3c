"""Exact Jaccard similarities of pairs of documents, from their shingles read a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lsh.backend import backend_of
from ..lsh.text import Shingles
from ..lsh.threads import map_blocks
from .batches import DocumentBatch
from .comm import Communicator
from .signatures import split_places

__all__ = ["exact_pairs"]

#: Pairs whose shingles are fetched in one round.
ROUND_PAIRS = 1 << 13


def _distinct(
    tokens: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Every row in order and without repetition."""
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((tokens, rows))
    tokens, rows = tokens[order], rows[order]
    fresh = np.ones(tokens.size, dtype=bool)
    fresh[1:] = (tokens[1:] != tokens[:-1]) | (rows[1:] != rows[:-1])
    sizes = np.bincount(rows[fresh], minlength=len(offsets) - 1)
    return tokens[fresh], sizes.astype(np.int64)


class _Sets:
    """The shingle sets of some of this rank's documents, by the row of the document."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self._tokens: list[NDArray[np.uint64]] = []
        self._sizes: list[NDArray[np.int64]] = []

    def append(self, tokens: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        distinct, sizes = _distinct(tokens, offsets)
        self._tokens.append(distinct)
        self._sizes.append(sizes)

    def close(self) -> None:
        self.tokens = np.concatenate([*self._tokens, np.empty(0, dtype=np.uint64)])
        self.offsets = np.concatenate([np.zeros(1, dtype=np.int64), *self._sizes])
        np.cumsum(self.offsets, out=self.offsets)
        self._tokens = []

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Tokens and sizes of the sets of the given documents, one after another."""
        at = np.searchsorted(self.rows, rows)
        sizes = self.offsets[at + 1] - self.offsets[at]
        ends = np.cumsum(sizes)
        places = np.arange(int(ends[-1]) if len(ends) else 0)
        places += np.repeat(self.offsets[at] - (ends - sizes), sizes)
        return self.tokens[places], sizes


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
    sets.close()
    if n_batches != len(kept) or len(sets.offsets) != len(rows) + 1:
        raise RuntimeError("documents must give the same batches when they are read a second time")
    return sets


def _cut(batch: DocumentBatch, chosen: NDArray[np.int64]) -> DocumentBatch:
    """Some documents of a batch."""
    starts, stops = batch.offsets[chosen], batch.offsets[chosen + 1]
    parts = [batch.data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(stops - starts)])
    return DocumentBatch(batch.ids[chosen], np.concatenate(parts), offsets)


def exact_pairs(
    rows: NDArray[np.int64],
    others: NDArray[np.uint64],
    read: Callable[[], Iterable[DocumentBatch]],
    kept: Sequence[NDArray[np.bool_]],
    shingle_batch: Callable[[DocumentBatch], Shingles],
    comm: Communicator,
) -> NDArray[np.float32]:
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
    distinct shingle, and fetches those of other ranks in rounds of `ROUND_PAIRS` pairs.
    """
    ranks, distant = split_places(others)
    (asked_before,) = comm.exchange((distant,), ranks)
    with comm.agree():
        needed = np.unique(np.concatenate([rows, asked_before]))
        sets = _read_sets(read(), needed, kept, shingle_batch)
    similarity = np.empty(len(rows), dtype=np.float32)

    def ask(part: slice) -> tuple[NDArray[Any], ...]:
        wanted, inverse = np.unique(others[part], return_inverse=True)
        wanted_ranks, wanted_rows = split_places(wanted)
        asking = np.full(len(wanted), comm.rank, dtype=np.int64)
        return inverse, wanted_ranks, asking, wanted_rows, np.arange(len(wanted))

    def answer(
        asked_by: NDArray[np.int64], asked_rows: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> tuple[NDArray[Any], ...]:
        tokens, sizes = sets.take(asked_rows)
        return np.repeat(numbers, sizes), tokens, np.repeat(asked_by, sizes)

    def compare(
        part: slice, inverse: NDArray[np.int64], came: NDArray[np.int64], tokens: NDArray[np.uint64]
    ) -> None:
        # A set comes whole from one rank, in order; sets come in any order.
        tokens = tokens[np.argsort(came, kind="stable")]
        n_sets = int(inverse.max()) + 1 if len(inverse) else 0
        offsets = np.zeros(n_sets + 1, dtype=np.int64)
        np.cumsum(np.bincount(came, minlength=n_sets), out=offsets[1:])
        mine = np.searchsorted(sets.rows, rows[part])
        similarity[part] = _compare(sets, mine, tokens, offsets, inverse)

    for k in range(max(comm.allgather(-(-len(rows) // ROUND_PAIRS)))):
        part = slice(k * ROUND_PAIRS, (k + 1) * ROUND_PAIRS)
        inverse, ranks, *questions = comm.local(ask, part)
        asked = comm.exchange(questions, ranks)
        came, tokens, asked_by = comm.local(answer, *asked)
        came, tokens = comm.exchange((came, tokens), asked_by)
        comm.local(compare, part, inverse, came, tokens)
    return similarity


def _compare(
    sets: _Sets,
    mine: NDArray[np.int64],
    tokens: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    theirs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Jaccard similarity of each of our sets `mine` and the set `theirs` of ``(tokens, offsets)``."""
    kernel = backend_of(tokens).sorted_overlap
    out = np.empty(len(mine))
    map_blocks(
        lambda a, b: kernel(sets.tokens, sets.offsets, mine, tokens, offsets, theirs, a, b, out),
        len(mine),
        1024,
    )
    return out
