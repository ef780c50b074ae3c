"""Batches of documents: many small ones side by side in one buffer of bounded size."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BatchBuilder", "DocumentBatch"]


class DocumentBatch(NamedTuple):
    """Documents as `shingle` takes them, with their ids.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
        Ascending.
    data : ndarray of uint8
        The texts one after another, in UTF-8 unless a document is damaged.
    offsets : ndarray of int64, shape (n + 1,)
        Document i is ``data[offsets[i]:offsets[i + 1]]``.
    """

    ids: NDArray[np.uint64]
    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]


class BatchBuilder:
    """Fills one batch after another; each has its own memory, so a reader may keep it.

    Parameters
    ----------
    capacity : int
        Bytes of text in a batch; a single longer document makes its own.
    """

    #: Documents in a batch at most, so that millions of empty ones are bounded too.
    MAX_DOCUMENTS = 1 << 20

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._start(0)

    def _start(self, n_bytes: int) -> None:
        self._data = np.empty(max(self.capacity, n_bytes), dtype=np.uint8)
        self._view = self._data.data
        self._ids: list[int] = []
        self._ends: list[int] = [0]

    @property
    def n_documents(self) -> int:
        return len(self._ids)

    def fits(self, n_bytes: int) -> bool:
        """Whether `n_bytes` more can be added to this batch, or it is empty and any number can."""
        used = self._ends[-1]
        if not self._ids and used + n_bytes > len(self._data):
            self._start(n_bytes)
        return used + n_bytes <= len(self._data) and len(self._ids) < self.MAX_DOCUMENTS

    def room(self, n_bytes: int) -> memoryview:
        """Where the next document's bytes may be written, when they fit."""
        used = self._ends[-1]
        return self._view[used : used + n_bytes]

    def add(self, document: int, n_bytes: int) -> None:
        """Take the bytes written into `room` as a document."""
        self._ids.append(document)
        self._ends.append(self._ends[-1] + n_bytes)

    def add_many(self, documents: Iterable[int], lengths: Iterable[int], data: memoryview) -> None:
        """Take documents that lie one after another in `data`, which fits."""
        used = self._ends.pop()
        self._view[used : used + len(data)] = data
        self._ids.extend(documents)
        self._ends.extend(accumulate(lengths, initial=used))

    def take(self) -> DocumentBatch:
        """The batch, which leaves an empty one behind."""
        batch = DocumentBatch(
            np.array(self._ids, dtype=np.uint64),
            self._data[: self._ends[-1]],
            np.array(self._ends, dtype=np.int64),
        )
        self._start(0)
        return batch
