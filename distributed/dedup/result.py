"""The result of `deduplicate`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.wording import counted

__all__ = ["Deduplication"]


@dataclass
class Deduplication:
    """Contain the near-duplicates that `deduplicate` has found.

    Attributes
    ----------
    members : ndarray of uint64
        Ids of all documents that have a near-duplicate, group after group. The groups are in the order of
        their smallest ids, and the ids in a group are in ascending order. The array is on rank 0, and empty
        on the other ranks.
    offsets : ndarray of int64, shape (n_groups + 1,)
        Group i is ``members[offsets[i]:offsets[i + 1]]``. On rank 0.
    n_documents, n_groups, n_duplicates : int
        Totals over all ranks. Duplicates are all members of groups except the first of each group.
    n_left_out : int
        The number of pairs, over all ranks, that share a band and were not compared for it, because more
        than 64 documents share the band. A pair counts once for each such band. It may have been compared
        for another band, so at most this number of pairs was missed.
    n_empty, n_invalid : int
        The number of documents without a word or symbol, which are in no group, and of those with bytes that
        are not UTF-8, which separate words. Over all ranks.
    empty, invalid : ndarray of uint64
        Their ids, on the rank that has read them.
    pairs : ndarray of shape (m, 2), uint64
        The compared pairs that are near-duplicates, each once over all ranks, the smaller id first. The
        smallest id represents all documents with the same shingles; see `copies`.
    similarity : ndarray of shape (m,), float32
        The Jaccard similarity of each pair: exact with ``verify="exact"``, estimated with
        ``verify="signature"``, and NaN with ``verify="none"``.
    copies : ndarray of shape (c, 2), uint64
        Pairs of documents in which every shingle occurs equally many times: the document with the least id,
        and another one. Each pair is there once over all ranks.
    bands, rows : int
        The number of bands, and the number of signature values in each.
    seconds : dict of str to float
        Wall-clock time of each stage, on this rank.
    peak_memory : int
        Peak resident memory of this process in bytes.
    """

    members: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    n_documents: int
    n_groups: int
    n_duplicates: int
    n_empty: int
    n_invalid: int
    empty: NDArray[np.uint64]
    invalid: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    similarity: NDArray[np.float32]
    copies: NDArray[np.uint64]
    bands: int
    rows: int
    n_left_out: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0

    def __repr__(self) -> str:
        return (
            f"<Deduplication: {counted(self.n_documents, 'document')}, {counted(self.n_groups, 'group')}, "
            f"{counted(self.n_duplicates, 'duplicate')}>"
        )
