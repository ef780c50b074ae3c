"""Documents that a caller passes as strings in memory, as a source of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.strings import Buffer, byte_buffers, join
from ...lsh.support.threads import cut_range
from ..ranks.comm import Communicator
from .batches import DocumentBatch

__all__ = ["DocumentsInMemory", "numbered_batches"]

#: Documents in a batch.
BATCH_DOCUMENTS = 1 << 16
#: Bytes of text up to which small chunks of a column are copied into one batch.
JOINED_BYTES = 1 << 24


class DocumentsInMemory:
    """One rank's share of the documents, numbered from the documents of the ranks before on.

    Parameters
    ----------
    documents : list of str or bytes, column of strings, or NumPy array of strings
    comm : Communicator
    """

    def __init__(self, documents: Any, comm: Communicator) -> None:
        with comm.agree():
            self._buffers = byte_buffers(documents, "documents", errors="surrogatepass")
        #: The number of this rank's documents, and the id of the first of them.
        self.n_documents = sum(len(offsets) - 1 for _, offsets in self._buffers)
        self.first_id = comm.exclusive_sum(self.n_documents)

    def batches(self) -> Iterator[DocumentBatch]:
        """Yield the documents in their order."""
        return numbered_batches(self._buffers, self.first_id)


def numbered_batches(
    buffers: Iterable[Buffer], first_id: int, scores: NDArray[np.float64] | None = None
) -> Iterator[DocumentBatch]:
    """Yield documents in their order, with ids that count from `first_id` on.

    Large buffers are not copied; small ones that follow one another become one batch.

    Parameters
    ----------
    buffers : iterable of (data, offsets)
    first_id : int
    scores : ndarray of float64, optional
        A number for each document.
    """
    start = 0
    for data, offsets in _joined(buffers):
        n = len(offsets) - 1
        for a, b in cut_range(0, n, BATCH_DOCUMENTS):
            ids = np.arange(first_id + start + a, first_id + start + b, dtype=np.uint64)
            own = None if scores is None else scores[start + a : start + b]
            yield DocumentBatch(ids, data, offsets[a : b + 1], own)
        start += n


def _joined(buffers: Iterable[Buffer]) -> Iterator[Buffer]:
    """Yield the buffers; those that are small together are joined."""
    group: list[Buffer] = []
    n_documents = n_bytes = 0
    for data, offsets in buffers:
        n, size = len(offsets) - 1, int(offsets[-1] - offsets[0])
        if group and (n_documents + n > BATCH_DOCUMENTS or n_bytes + size > JOINED_BYTES):
            yield join(group)
            group, n_documents, n_bytes = [], 0, 0
        group.append((data, offsets))
        n_documents, n_bytes = n_documents + n, n_bytes + size
    if group:
        yield join(group)
