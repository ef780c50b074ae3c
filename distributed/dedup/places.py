"""Name the places of documents over ranks by one word each, and fetch data of documents at any place.

A rank numbers the documents that it has signed; this number is the document's row. A place is the row and the
rank in one 64-bit word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ranks.comm import Communicator

__all__ = ["Request", "Rows", "Words", "places_of_rank", "split_places"]

#: Ids, keys, places or tokens.
Words = NDArray[np.uint64]
#: Rows, ranks, sizes or offsets.
Rows = NDArray[np.int64]

_RANK_BITS = np.uint64(24)


def places_of_rank(rank: int, n_documents: int) -> Words:
    """Return the places of the documents of one rank, in the order of rows."""
    return (np.arange(n_documents, dtype=np.uint64) << _RANK_BITS) | np.uint64(rank)


def split_places(places: Words) -> tuple[Rows, Rows]:
    """Return the ranks and the rows of places."""
    mask = (np.uint64(1) << _RANK_BITS) - np.uint64(1)
    return (places & mask).astype(np.int64), (places >> _RANK_BITS).astype(np.int64)


class Request:
    """A request of every rank for data of documents at any place. Creating one is a collective call.

    Parameters
    ----------
    places : ndarray of uint64
        The documents that this rank asks for.
    comm : Communicator

    Attributes
    ----------
    rows : ndarray of int64
        This rank's documents that other ranks, or this rank, ask for.
    """

    def __init__(self, places: Words, comm: Communicator) -> None:
        with comm.agree():
            ranks, rows = split_places(places)
            asking = np.full(len(places), comm.rank, dtype=np.int64)
            numbers = np.arange(len(places))
        self._comm = comm
        self._asking, self.rows, self._numbers = comm.exchange((asking, rows, numbers), ranks)

    def answer(self, values: NDArray[Any], sizes: Rows | None = None) -> NDArray[Any]:
        """Send each rank its answer, and return the answer to this rank; a collective call.

        Parameters
        ----------
        values : ndarray
            The values of the documents in `rows`, one after another.
        sizes : ndarray of int64, optional
            The number of values of each document; 1 by default.

        Returns
        -------
        ndarray
            The values of the documents that this rank has asked for, in the order of its places.
        """
        comm, numbers, asking = self._comm, self._numbers, self._asking
        with comm.agree():
            if sizes is not None:
                numbers, asking = np.repeat(numbers, sizes), np.repeat(asking, sizes)
        numbers, values = comm.exchange((numbers, values), asking)
        # The values of one document come from one rank, in order; the documents come in any order.
        with comm.agree():
            return values[np.argsort(numbers, kind="stable")]
