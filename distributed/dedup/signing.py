"""Shingle and MinHash the documents that this rank reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...lsh.families.minhash import MinHash
from ...lsh.hashing.text import Shingles, shingle
from ...lsh.kernels.text import BAD_BYTES, EMPTY
from ...lsh.support.backend import backend_of
from ...lsh.support.threads import map_blocks
from ..documents.batches import DocumentBatch
from ..kernels import banding
from .places import Rows, Words
from .signatures import SignatureStore

__all__ = ["BatchSource", "ChangingSource", "Shingling", "SignedDocuments", "document_keys", "sign_documents"]

#: Documents in one thread's task.
_BLOCK = 256


class BatchSource(Protocol):
    """A source of documents, which gives the same batches every time."""

    def batches(self) -> Iterable[DocumentBatch]: ...


@runtime_checkable
class ChangingSource(BatchSource, Protocol):
    """A source whose documents may have changed when they are read a second time."""

    def read_again(self, ids: Words) -> Iterable[DocumentBatch]:
        """Give the documents with these ids that are still there, and perhaps others, in any batches."""

    def report_changed(self, ids: Words) -> None:
        """Take note of documents of this rank that are gone or have changed."""


class Shingling(NamedTuple):
    """The settings of `shingle`."""

    unit: str
    size: int
    seed: int
    normalize: str

    def shingle(self, batch: DocumentBatch) -> Shingles:
        """Return the shingles of a batch of documents."""
        return shingle((batch.data, batch.offsets), **self._asdict())


class SignedDocuments(NamedTuple):
    """The documents of one rank after the first reading.

    Attributes
    ----------
    store : SignatureStore
        The signatures of the documents that have shingles.
    ids : ndarray of uint64
        Ids of all documents.
    scores : ndarray of float64
        A number for each document in the store; of similar documents, the one with the largest is kept.
    sizes : ndarray of int64
        Bytes of the text of each document in the store, if they were asked for.
    has_shingles : list of ndarray of bool
        For every batch, True for the documents in the store.
    empty, invalid : ndarray of uint64
        Ids of the documents without a word or symbol, and of those with bytes that are not UTF-8.
    """

    store: SignatureStore
    ids: Words
    scores: NDArray[np.float64]
    sizes: Rows
    has_shingles: list[NDArray[np.bool_]]
    empty: Words
    invalid: Words


def sign_documents(
    source: BatchSource,
    family: MinHash,
    shingling: Shingling,
    score: Callable[[DocumentBatch], Any],
    *,
    with_sizes: bool,
) -> SignedDocuments:
    """Return the signatures of this rank's documents; `score` gives a number for each document of a batch."""
    store = SignatureStore(family.n_values)
    ids: list[Words] = [np.empty(0, dtype=np.uint64)]
    scores: list[NDArray[np.float64]] = [np.empty(0)]
    sizes: list[Rows] = [np.empty(0, dtype=np.int64)]
    has_shingles: list[NDArray[np.bool_]] = []
    empty, invalid = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint64)]
    for batch in source.batches():
        _check_batch(batch)
        shingles = shingling.shingle(batch)
        kept = shingles.status != EMPTY
        # The empty documents have no tokens, so the offsets without them are still consecutive.
        offsets = np.append(shingles.offsets[:-1][kept], shingles.offsets[-1])
        keys = document_keys(shingles.tokens, offsets, shingling.seed)
        store.append(batch.ids[kept], keys, family.signatures((shingles.tokens, offsets)))
        has_shingles.append(kept)
        ids.append(batch.ids)
        scores.append(np.broadcast_to(np.asarray(score(batch), dtype=np.float64), kept.shape)[kept])
        if with_sizes:
            sizes.append(np.diff(batch.offsets)[kept])
        empty.append(batch.ids[shingles.status == EMPTY])
        invalid.append(batch.ids[shingles.status == BAD_BYTES])
    return SignedDocuments(
        store,
        np.concatenate(ids),
        np.concatenate(scores),
        np.concatenate(sizes),
        has_shingles,
        np.concatenate(empty),
        np.concatenate(invalid),
    )


def _check_batch(batch: DocumentBatch) -> None:
    """Raise an error unless the ids and scores of a caller's batch fit its documents."""
    dtype = getattr(batch.ids, "dtype", type(batch.ids).__name__)
    if dtype != np.uint64:
        raise TypeError(f"the batches of documents must have ids of dtype uint64, got {dtype}")
    n, scores = len(batch.offsets) - 1, getattr(batch, "scores", None)
    for name, values in (("ids", batch.ids), ("scores", scores)):
        if values is not None and np.shape(values) != (n,):
            raise ValueError(
                f"the batches of documents must have {name} of shape ({n},), as they have {n + 1} offsets, "
                f"got shape {np.shape(values)}"
            )


def document_keys(tokens: Words, offsets: Rows, seed: int) -> Words:
    """Return a 64-bit key of the shingles of each document, with their numbers and without their order."""
    kernel, key = backend_of(tokens).kernels(banding).document_keys, np.uint64(seed)
    out = np.empty(len(offsets) - 1, dtype=np.uint64)
    map_blocks(lambda start, stop: kernel(tokens, offsets, key, start, stop, out), len(out), _BLOCK)
    return out
