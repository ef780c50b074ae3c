"""Spread the documents of earlier runs and new ones over ranks, in the order of their names."""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import IncompatibleSketchError, SketchFormatError
from ...lsh.support.checks import check_int
from ...sketches.core.inspection import inspect
from ...sketches.sets.document_rows import RECORD_BITS, DocumentRows
from ...sketches.sets.document_signatures import OLD_DOCUMENT, DocumentSignatures
from ..ranks.comm import Communicator
from .places import Words, places_of_rank
from .signing import SignedDocuments

__all__ = ["SpreadDocuments", "is_old", "named_rows", "open_state", "spread_documents"]

#: The most documents of a rank by which the others know how its names are distributed.
_SAMPLE = 1024


def is_old(ids: ArrayLike) -> NDArray[np.bool_]:
    """Return for each id if it is that of a document which this run has not read."""
    return np.asarray(ids, dtype=np.uint64) >= np.uint64(OLD_DOCUMENT)


class SpreadDocuments(NamedTuple):
    """One rank's range of all documents, old and new ones, in the order of their names.

    Attributes
    ----------
    state : DocumentSignatures
        The n documents.
    first : int
        The number of documents on the ranks before.
    ids : ndarray of uint64, shape (n,)
        The id that the source gave to each document; `OLD_DOCUMENT` and the row in the old state for a
        document that the source does not have.
    is_old, is_new : ndarray of bool, shape (n,)
        The documents that were in the old state, and those that were read. A document may be both.
    places : ndarray of uint64
        The place of each document that this rank has read and that has shingles.
    """

    state: DocumentSignatures
    first: int
    ids: Words
    is_old: NDArray[np.bool_]
    is_new: NDArray[np.bool_]
    places: Words


def open_state(
    against: DocumentSignatures | str | PathLike[str],
    asked: DocumentSignatures,
    needs_scores: bool,
    comm: Communicator,
) -> tuple[DocumentSignatures, DocumentRows]:
    """Return the state of earlier runs, and this rank's share of its documents; a collective call.

    Parameters
    ----------
    against : DocumentSignatures or path
        All ranks' documents together are compared. Of a file, each rank takes a share.
    asked : DocumentSignatures
        An empty state of the settings that are asked for.
    needs_scores : bool
        True if a state without any score is refused.
    comm : Communicator
    """
    with comm.agree():
        state, rows = _open(against, asked, comm)
    has_scores = bool(np.isfinite(rows.scores).any())
    if needs_scores and comm.sum(len(rows.scores)) and not any(comm.allgather(has_scores)):
        raise ValueError(
            'keep must be "first", "last" or "longest", because the old documents in against have no scores'
        )
    return state, rows


def _open(
    against: DocumentSignatures | str | PathLike[str], asked: DocumentSignatures, comm: Communicator
) -> tuple[DocumentSignatures, DocumentRows]:
    if isinstance(against, DocumentSignatures):
        asked.check_compatible(against)
        return against, against.rows()
    if not isinstance(against, (str, PathLike)):
        raise TypeError(f"against must be a DocumentSignatures or a path, got {type(against).__name__}")
    # A file that is mapped is not compared with its checksum, so one rank reads all of it.
    if comm.rank == 0 and not inspect(against)["intact"]:
        raise SketchFormatError(f"{os.fspath(against)}: the arrays' checksum does not match")
    state = DocumentSignatures.load(against, mmap=True)
    try:
        asked.check_compatible(state)
    except IncompatibleSketchError as error:
        raise IncompatibleSketchError(f"{os.fspath(against)} has other settings: {error}") from error
    share = slice(len(state) * comm.rank // comm.size, len(state) * (comm.rank + 1) // comm.size)
    return state, state.rows().take(share)


def named_rows(
    signed: SignedDocuments, ids: Words, source: Any, name: str | None, comm: Communicator
) -> DocumentRows:
    """Return the documents that this rank has signed, with their names; a collective call.

    Parameters
    ----------
    signed : SignedDocuments
    ids : ndarray of uint64
        The ids of the documents with shingles.
    source : BatchSource
        If it has `name_of`, it is asked for the names.
    name : str or None
        The name of the documents of any other source, which are numbered.
    comm : Communicator
    """
    has_names = hasattr(source, "name_of")
    if has_names:
        source.finish()
    with comm.agree():
        if has_names:
            number: dict[str, int] = {}
            names = source.name_of(ids)
            path_of = np.array([number.setdefault(path, len(number)) for path, _ in names], dtype=np.int64)
            records = np.array([record or 0 for _, record in names], dtype=np.uint64)
            encoded = [os.fsencode(path) for path in number]
        else:
            assert name is not None
            path_of, records = np.zeros(len(ids), dtype=np.int64), ids + np.uint64(1)
            encoded = [name.encode("utf-8", "surrogatepass")]
        if len(records):
            check_int("the number of a document", int(records.max()), 0, (1 << RECORD_BITS) - 1)
        # The paths of the rows rise.
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        place = np.empty(len(encoded), dtype=np.int64)
        place[order] = np.arange(len(order))
        store = signed.store
        keys = store.keys()
        scores = np.nan_to_num(signed.scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf) + 0.0
        signatures = store.take(np.arange(len(store)))
        paths = [encoded[i] for i in order]
        return DocumentRows(paths, place[path_of], records, keys, signed.sizes, scores, signatures)


def spread_documents(
    state: DocumentSignatures, old: DocumentRows, new: DocumentRows, ids: Words, comm: Communicator
) -> SpreadDocuments:
    """Bring old and new documents to the ranks in the order of their names; a collective call.

    Parameters
    ----------
    state : DocumentSignatures
        A state of the right configuration.
    old, new : DocumentRows
        This rank's shares.
    ids : ndarray of uint64
        The id of each new document.
    comm : Communicator

    Raises
    ------
    IncompatibleSketchError
        If two documents of one name have different contents. DistributedError on the other ranks.
    """
    readers, rows = np.full(len(ids), comm.rank, dtype=np.int64), np.arange(len(ids))
    if comm.size > 1:
        old, new, ends = _with_common_paths(old, new, comm)
        owners = np.searchsorted(ends, old.places(), side="right")
        old = DocumentRows(old.paths, *comm.exchange(old.columns(), owners))
        owners = np.searchsorted(ends, new.places(), side="right")
        *columns, ids, readers, rows = comm.exchange((*new.columns(), ids, readers, rows), owners)
        new = DocumentRows(new.paths, *columns)
    with comm.agree():
        part, (old_rows, new_rows) = state.with_rows(old, new)
        n = len(part)
        is_old, is_new = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        is_old[old_rows] = True
        is_new[new_rows] = True
    first, first_old = comm.exclusive_sum(n), comm.exclusive_sum(int(is_old.sum()))
    ids_here = (np.uint64(OLD_DOCUMENT + first_old) + np.cumsum(is_old, dtype=np.uint64)) - np.uint64(1)
    ids_here[new_rows] = ids
    rows, places_here = comm.exchange((rows, places_of_rank(comm.rank, n)[new_rows]), readers)
    places = np.empty(len(rows), dtype=np.uint64)
    places[rows] = places_here
    return SpreadDocuments(part, first, ids_here, is_old, is_new, places)


def _with_common_paths(
    old: DocumentRows, new: DocumentRows, comm: Communicator
) -> tuple[DocumentRows, DocumentRows, Words]:
    """Return the documents with paths that all ranks number alike, and where the ranges of ranks end."""
    with comm.agree():
        old, new = _with_used_paths(old), _with_used_paths(new)
    every = comm.allgather(sorted({*old.paths, *new.paths}))
    with comm.agree():
        number = {path: i for i, path in enumerate(sorted(set().union(*every)))}
        old, new = old.with_paths(number), new.with_paths(number)
        places = np.sort(np.concatenate([old.places(), new.places()]))
        chosen = places[np.linspace(0, len(places) - 1, min(_SAMPLE, len(places))).astype(np.int64)]
    samples = comm.allgather((len(places), chosen))
    with comm.agree():
        weights = np.concatenate([np.full(len(part), n / max(1, len(part))) for n, part in samples])
        sampled = np.concatenate([part for _, part in samples])
        order = np.argsort(sampled, kind="stable")
        shares = np.cumsum(weights[order])
        wanted = np.arange(1, comm.size) * (shares[-1] / comm.size if len(shares) else 0.0)
        if not len(sampled):
            return old, new, np.zeros(comm.size - 1, dtype=np.uint64)
        at = np.minimum(np.searchsorted(shares, wanted), len(sampled) - 1)
        return old, new, sampled[order][at]


def _with_used_paths(rows: DocumentRows) -> DocumentRows:
    """Return the rows with those paths only that have a document."""
    used, path_of = np.unique(rows.path_of, return_inverse=True)
    return rows._replace(paths=[rows.paths[i] for i in used.tolist()], path_of=path_of)
