"""De-duplicate new documents together with those of earlier runs, of which the signatures are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.public import publish
from ...sketches.sets.document_signatures import DocumentSignatures
from ..ranks.comm import Communicator
from .banding import owner_of
from .candidates import CandidatePairs
from .comparing import Comparer, Unverified
from .components import component_of
from .finding import Found, Search, Stages, find_groups
from .grouping import Groups, Kept
from .old_documents import SpreadDocuments
from .places import Request, Rows, Words, request_rows
from .signatures import SignatureComparer, SignatureStore

__all__ = ["ComparedWithOld", "find_with_old"]


class ComparedWithOld(NamedTuple):
    """Contain what `deduplicate` says about documents of earlier runs.

    Ids of old documents are rows of the old state, plus 2**63. A document that was read again has the id of
    the source.

    Attributes
    ----------
    n_old : int
        The number of documents in the old state.
    n_read_again : int
        The number of them that were read again, with the same content.
    n_duplicates_of_old, n_duplicates_of_new : int
        The numbers of new documents to remove, by the document that is kept instead.
    replaced, replaced_by : ndarray of uint64
        Old documents that were kept without the new ones, and are not kept any more, in the order of their
        names; and the documents that are kept instead. On rank 0.
    replaced_similarity : ndarray of float32
        Their similarity, as in `Deduplication`. On rank 0.
    replaced_is_copy : ndarray of bool
        True if both have the same shingles. On rank 0.
    restored : ndarray of uint64
        Old documents that were not kept without the new ones, and are kept now. Only stars have any. On rank
        0.
    """

    n_old: int
    n_read_again: int
    n_duplicates_of_old: int
    n_duplicates_of_new: int
    replaced: Words
    replaced_by: Words
    replaced_similarity: NDArray[np.float32]
    replaced_is_copy: NDArray[np.bool_]
    restored: Words


def find_with_old(
    spread: SpreadDocuments,
    keep: str,
    search: Search,
    verify: str,
    stages: Stages,
    comm: Communicator,
) -> tuple[Found, ComparedWithOld]:
    """Find similar documents among old and new ones; a collective call.

    Parameters
    ----------
    spread : SpreadDocuments
    keep : str
        "longest" prefers by size, "best" by score; any other value by order alone.
    search : Search
    verify : {"signature", "none"}
    stages : Stages
    comm : Communicator

    Returns
    -------
    found : Found
        Ids are those of `SpreadDocuments.ids`, and `kept` has an entry for each document that this rank has
        read, in the order of `SpreadDocuments.places`.
    compared : ComparedWithOld
    """
    state, n = spread.state, len(spread.ids)
    documents = state.rows()
    ids = np.arange(spread.first, spread.first + n, dtype=np.uint64)
    with comm.agree():
        scores = {"longest": documents.sizes.astype(np.float64), "best": documents.scores}.get(
            keep, np.zeros(n)
        )
        store = SignatureStore.of(ids, documents.keys, documents.signatures)
    found = find_groups(store, scores, search, _comparers(state, store, verify, comm), stages, comm)
    was_kept = _kept_before(spread, ids, scores, found, search, verify, stages, comm)
    is_kept = found.kept.ids == ids
    names = _Ids(spread, comm)
    removed = np.flatnonzero(~is_kept)
    instead, instead_is_old = names.of(found.kept.ids[removed])
    kept_ids = spread.ids.copy()
    kept_ids[removed] = instead
    is_new = (spread.is_new & ~spread.is_old)[removed]
    lost = np.flatnonzero(spread.is_old & was_kept & ~is_kept)
    to_root = np.zeros(len(lost), dtype=np.int64)
    kept = found.kept
    columns = (ids[lost], spread.ids[lost], kept_ids[lost], kept.similarity[lost], kept.is_copy[lost])
    order, *lists = comm.exchange(columns, to_root)
    replaced, replaced_by, similarity, is_copy = (column[np.argsort(order)] for column in lists)
    back = np.flatnonzero(spread.is_old & ~was_kept & is_kept)
    restored = comm.exchange((ids[back], spread.ids[back]), np.zeros(len(back), dtype=np.int64))
    compared = ComparedWithOld(
        comm.sum(int(spread.is_old.sum())),
        comm.sum(int((spread.is_old & spread.is_new).sum())),
        comm.sum(int((is_new & instead_is_old).sum())),
        comm.sum(int((is_new & ~instead_is_old).sum())),
        replaced,
        replaced_by,
        similarity,
        is_copy,
        restored[1][np.argsort(restored[0])],
    )
    stages.end("grouping")
    return _as_named(found, kept_ids, spread.places, names, comm), compared


def _comparers(
    state: DocumentSignatures, store: SignatureStore, verify: str, comm: Communicator
) -> Callable[[CandidatePairs, Rows], Comparer]:
    comparer = Unverified() if verify == "none" else SignatureComparer(store, state.family, comm)
    return lambda *_: comparer


def _kept_before(
    spread: SpreadDocuments,
    ids: Words,
    scores: NDArray[np.float64],
    found: Found,
    search: Search,
    verify: str,
    stages: Stages,
    comm: Communicator,
) -> NDArray[np.bool_]:
    """Return for each document if it is kept when only old ones are there.

    Components without a new document have not changed. The old documents of the others are grouped once more.
    """
    was_kept: NDArray[np.bool_] = found.kept.ids == ids
    if not any(comm.allgather(bool(spread.is_old.any()))):
        return was_kept
    edges = np.concatenate([found.copies.pairs, found.pairs])
    labels = component_of(ids, edges[:, 0], edges[:, 1], comm)
    with comm.agree():
        is_new = spread.is_new & ~spread.is_old
        owners = owner_of(labels, comm.size)
        old = np.flatnonzero(~is_new)
    (changed,) = comm.exchange((labels[is_new],), owners[is_new])
    request = Request(owners[old], labels[old], comm)
    rows = old[request.answer(comm.local(np.isin, request.words, changed))]
    if not any(comm.allgather(len(rows))):
        return was_kept
    documents = spread.state.rows()
    with comm.agree():
        store = SignatureStore.of(ids[rows], documents.keys[rows], documents.signatures[rows])
    comparers = _comparers(spread.state, store, verify, comm)
    before = find_groups(store, scores[rows], search._replace(every_pair=False), comparers, stages, comm)
    was_kept[rows] = before.kept.ids == ids[rows]
    return was_kept


class _Ids:
    """The ids of documents by their number in the order of names, over all ranks."""

    def __init__(self, spread: SpreadDocuments, comm: Communicator) -> None:
        self._spread, self._comm = spread, comm
        self._ends = np.cumsum(comm.allgather(len(spread.ids)))

    def of(self, numbers: Words) -> tuple[Words, NDArray[np.bool_]]:
        """Return the id of each document, and if it is an old one; a collective call."""
        owners = np.searchsorted(self._ends, numbers.astype(np.int64), side="right")
        request = Request(owners, numbers, self._comm)
        rows = (request.words - np.uint64(self._spread.first)).astype(np.int64)
        return request.answer(self._spread.ids[rows]), request.answer(self._spread.is_old[rows])


def _as_named(found: Found, kept_ids: Words, places: Words, names: _Ids, comm: Communicator) -> Found:
    """Return what was found with the ids of `SpreadDocuments`, and what is kept on the ranks of readers."""
    request = request_rows(places, comm)
    asked, kept = request.words, found.kept
    of_readers = Kept(*(request.answer(c[asked]) for c in (kept_ids, kept.similarity, kept.is_copy)))
    groups, copies = found.groups, found.copies
    pairs = names.of(found.pairs.ravel())[0].reshape(-1, 2)
    return found._replace(
        pairs=pairs,
        copies=copies._replace(pairs=names.of(copies.pairs.ravel())[0].reshape(-1, 2)),
        kept=of_readers,
        groups=Groups(
            names.of(groups.members)[0],
            groups.offsets,
            names.of(groups.kept)[0],
            groups.member_similarity,
        ),
    )


publish("mergesketch.distributed", __all__, globals())
