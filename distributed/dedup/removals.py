"""List the documents that are removed, each with the document that is kept in its place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ranks.comm import Communicator
from .against import ComparedWithOld
from .places import Rows, Words
from .result import Deduplication

__all__ = ["Removals", "gather_removals", "removals", "replaced_documents"]


class Removals(NamedTuple):
    """Documents that are removed.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
        Their ids.
    kept : ndarray of uint64
        The id of the document that is kept instead of each.
    similarity : ndarray of float32
        The Jaccard similarity to it, or NaN if it was not computed.
    is_copy : ndarray of bool
        True if both have the same shingles.
    """

    ids: Words
    kept: Words
    similarity: NDArray[np.float32]
    is_copy: NDArray[np.bool_]

    def in_order(self) -> Removals:
        """Return the documents in the order of ids."""
        return self.take(np.argsort(self.ids, kind="stable"))

    def take(self, rows: slice | Rows) -> Removals:
        """Return some of the documents."""
        return Removals(self.ids[rows], self.kept[rows], self.similarity[rows], self.is_copy[rows])


def removals(result: Deduplication) -> Removals:
    """Return this rank's documents that are removed, in the order of the input."""
    gone = ~result.keep
    return Removals(
        result.ids[gone], result.duplicate_of[gone], result.similarity[gone], result.is_copy[gone]
    )


def replaced_documents(compared: ComparedWithOld) -> Removals:
    """Return the documents of earlier runs that are not kept any more, on rank 0."""
    return Removals(
        compared.replaced, compared.replaced_by, compared.replaced_similarity, compared.replaced_is_copy
    )


def gather_removals(removed: Removals, comm: Communicator) -> Removals:
    """Return the documents of all ranks on rank 0, in the order of ids; a collective call."""
    columns = comm.exchange(removed, np.zeros(len(removed.ids), dtype=np.int64))
    return comm.local(Removals(*columns).in_order)
