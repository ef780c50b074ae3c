"""The result of `deduplicate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.tables import Table
from ...lsh.support.public import publish
from ...lsh.support.wording import counted
from ...sketches.sets.document_signatures import DocumentSignatures
from .against import ComparedWithOld

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
    kept : ndarray of uint64, shape (n_groups,)
        The id of the document of each group that is kept. On rank 0.
    member_similarity : ndarray of float32
        The similarity of each of `members` to the kept document of its group. On rank 0.
    ids : ndarray of uint64, shape (n,)
        Ids of all of this rank's documents, in the order in which they were given.
    keep : ndarray of bool, shape (n,)
        False for the documents to remove: all members of groups except those that are kept.
    duplicate_of : ndarray of uint64, shape (n,)
        For each document, the id of the kept document of its group; its own id if it is kept itself.
    similarity : ndarray of float32, shape (n,)
        The similarity of each document to the document that is kept instead: of its set of shingles with
        ``verify="exact"``, estimated with ``verify="signature"``, and NaN with ``verify="none"``, except for
        copies. It is 1 for a document that is kept. With ``grouping="connected"`` it may be below the
        threshold, because other members of the group connect the two.
    is_copy : ndarray of bool, shape (n,)
        True for removed documents in which every shingle occurs as often as in the kept one.
    n_documents, n_groups, n_duplicates : int
        Totals over all ranks. Duplicates are all members of groups except the kept ones.
    n_empty, n_invalid : int
        The number of documents without a word or symbol, which are in no group and are kept, and of those
        with bytes that are not UTF-8, which separate words. Over all ranks.
    empty, invalid : ndarray of uint64
        Their ids, on the rank that has read them.
    pairs : ndarray of shape (m, 2), uint64
        Pairs that are near-duplicates, each once over all ranks, the smaller id first. The smallest id
        represents all documents with the same shingles; see `copies`. These are all pairs that the bands
        have found if ``pairs="all"`` was given or no more than 64 documents share a band; otherwise some
        pairs of documents that other pairs connect are not there.
    pair_similarity : ndarray of shape (m,), float32
        The similarity of each pair; see `similarity`.
    copies : ndarray of shape (c, 2), uint64
        Pairs of documents in which every shingle occurs equally many times: the document with the least id,
        and another one. Each pair is there once over all ranks.
    n_uncompared : int
        With ``pairs="all"``, the number of pairs in large buckets, over all ranks, that `max_comparisons`
        left out. A pair counts once for each band that it shares, and may have been found for another one.
    state : DocumentSignatures or None
        With `against`, all documents, old and new ones, for the `against` of later runs. Over ranks, each
        rank has a part: `save_documents` writes them into one file.
    compared : ComparedWithOld or None
        With `against`, the numbers of duplicates of old documents, and the old documents that new ones
        replace. The ids of old documents, here and in the other attributes, are their rows in `against` plus
        2**63. Members, groups and pairs are then in the order of the documents' names.
    bands, rows : int
        The number of bands, and the number of signature values in each.
    seconds : dict of str to float
        Wall-clock time of each stage, on this rank.
    peak_memory : int
        Peak resident memory of this process in bytes.
    cleaned : table
        If the documents were in a table: a table of the same kind with the rows of this rank that are kept,
        in their order, with all columns; the index of pandas is kept. It is made when it is first asked for.
        For other documents, asking raises AttributeError.
    removed : table
        In the same case, a table of the same kind with the columns ``id``, ``kept``, ``similarity`` and
        ``is_copy`` for each row of this rank that is removed: your id of the row and that of the row that is
        kept instead (which may be another rank's), and the entries of `similarity` and `is_copy`. Without a
        column of ids, these are running numbers over all ranks. With pandas, rows have the index of the rows
        that were removed.
    """

    members: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    kept: NDArray[np.uint64]
    member_similarity: NDArray[np.float32]
    ids: NDArray[np.uint64]
    keep: NDArray[np.bool_]
    duplicate_of: NDArray[np.uint64]
    similarity: NDArray[np.float32]
    is_copy: NDArray[np.bool_]
    n_documents: int
    n_groups: int
    n_duplicates: int
    n_empty: int
    n_invalid: int
    empty: NDArray[np.uint64]
    invalid: NDArray[np.uint64]
    pairs: NDArray[np.uint64]
    pair_similarity: NDArray[np.float32]
    copies: NDArray[np.uint64]
    bands: int
    rows: int
    n_uncompared: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    state: DocumentSignatures | None = None
    compared: ComparedWithOld | None = None
    _table: Table | None = field(default=None, init=False, repr=False)
    _removed: Any = field(default=None, init=False, repr=False)

    @cached_property
    def cleaned(self) -> Any:
        return self._need_table("cleaned").filter(self.keep)

    @property
    def removed(self) -> Any:
        self._need_table("removed")
        return self._removed

    def _need_table(self, name: str) -> Table:
        if self._table is None:
            raise AttributeError(
                f"{name} needs documents in a table, as in deduplicate(table, text=...); "
                "keep and duplicate_of are there for all documents"
            )
        return self._table

    def __repr__(self) -> str:
        return (
            f"<Deduplication: {counted(self.n_documents, 'document')}, {counted(self.n_groups, 'group')}, "
            f"{counted(self.n_duplicates, 'duplicate')}>"
        )


publish("mergesketch.distributed", __all__, globals())
