"""Batches of documents: many small documents side by side in one buffer of bounded size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["BatchBuilder", "DocumentBatch"]


class DocumentBatch(NamedTuple):
    """Documents in the form that `shingle` takes, with their ids.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
        Ids in rising order.
    data : ndarray of uint8
        The texts one after another, in UTF-8 unless a document is damaged.
    offsets : ndarray of int64, shape (n + 1,)
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    scores : ndarray of float64, shape (n,), or None
        The numbers under `score_field` of the source; NaN where there is none. None without that field.
    """

    ids: NDArray[np.uint64]
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the documents in some rows of the batch; there is at least one row."""
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        parts = [self.data[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(stops - starts)])
        scores = None if self.scores is None else self.scores[rows]
        return type(self)(self.ids[rows], np.concatenate(parts), offsets, scores)


class BatchBuilder:
    """Builds one batch after another. Each batch has its own memory, so a reader may keep it.

    Parameters
    ----------
    capacity : int
        Bytes of text in a batch. A single longer document is a batch of its own.
    scores : bool
        True if the batches have scores.
    """

    #: The most documents in a batch, which bounds batches of millions of empty documents too.
    MAX_DOCUMENTS = 1 << 20

    def __init__(self, capacity: int, *, scores: bool = False) -> None:
        self.capacity = capacity
        self._has_scores = scores
        self._start(0)

    def _start(self, n_bytes: int) -> None:
        self._data = np.empty(max(self.capacity, n_bytes), dtype=np.uint8)
        self._view = self._data.data
        self._ids: list[int] = []
        self._ends: list[int] = [0]
        self._scores: list[float] = []

    @property
    def n_documents(self) -> int:
        return len(self._ids)

    def reserve(self, n_bytes: int) -> bool:
        """Return True if `n_bytes` more fit into the batch; an empty batch grows so that they do."""
        used = self._ends[-1]
        if not self._ids and used + n_bytes > len(self._data):
            self._start(n_bytes)
        return used + n_bytes <= len(self._data) and len(self._ids) < self.MAX_DOCUMENTS

    def room(self, n_bytes: int) -> memoryview:
        """Return the memory of the next document's bytes, which must fit."""
        used = self._ends[-1]
        return self._view[used : used + n_bytes]

    def add(self, document: int, n_bytes: int) -> None:
        """Add the bytes that were written into `room` as a document."""
        self._ids.append(document)
        self._ends.append(self._ends[-1] + n_bytes)
        if self._has_scores:
            self._scores.append(math.nan)

    def add_many(
        self,
        documents: Iterable[int],
        lengths: Iterable[int],
        data: memoryview,
        scores: NDArray[np.float64] | None = None,
    ) -> None:
        """Add documents that lie one after another in `data`, which must fit."""
        if scores is not None:
            self._scores.extend(scores.tolist())
        used = self._ends.pop()
        self._view[used : used + len(data)] = data
        self._ids.extend(documents)
        self._ends.extend(accumulate(lengths, initial=used))

    def take(self) -> DocumentBatch:
        """Return the batch, and begin an empty one."""
        batch = DocumentBatch(
            np.array(self._ids, dtype=np.uint64),
            self._data[: self._ends[-1]],
            np.array(self._ends, dtype=np.int64),
            np.array(self._scores, dtype=np.float64) if self._has_scores else None,
        )
        self._start(0)
        return batch
