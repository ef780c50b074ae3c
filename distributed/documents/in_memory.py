"""Documents that a caller passes as strings in memory, as a source of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...lsh.inputs.strings import as_byte_buffer
from ...lsh.support.threads import cut_range
from ..ranks.comm import Communicator
from .batches import DocumentBatch

__all__ = ["DocumentsInMemory"]

#: Documents in a batch.
BATCH_DOCUMENTS = 1 << 16


class DocumentsInMemory:
    """One rank's share of the documents, numbered from the documents of the ranks before on.

    Parameters
    ----------
    documents : list of str or bytes, column of strings, or NumPy array of strings
    comm : Communicator
    """

    def __init__(self, documents: Any, comm: Communicator) -> None:
        with comm.agree():
            self._data, self._offsets = as_byte_buffer(documents, "documents", errors="surrogatepass")
        #: The number of this rank's documents, and the id of the first of them.
        self.n_documents = len(self._offsets) - 1
        self.first_id = comm.exclusive_sum(self.n_documents)

    def batches(self) -> Iterator[DocumentBatch]:
        """Yield the documents in their order."""
        for start, stop in cut_range(0, self.n_documents, BATCH_DOCUMENTS):
            ids = np.arange(self.first_id + start, self.first_id + stop, dtype=np.uint64)
            yield DocumentBatch(ids, self._data, self._offsets[start : stop + 1])
