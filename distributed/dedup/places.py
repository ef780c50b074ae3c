"""Name the places of documents over ranks by one word each, and fetch data of documents at any place.

A rank numbers the documents that it has signed; this number is the document's row. A place is the row and the
rank in one 64-bit word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ranks.comm import Communicator

__all__ = ["Request", "Rows", "Words", "places_of_rank", "request_rows", "split_places"]

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
    """Words that every rank asks others about. Creating a request is a collective call.

    Parameters
    ----------
    ranks : ndarray of int64, shape (n,)
        The rank that each word goes to.
    words : ndarray with n rows
        The words; the dtype and the further axes are the same on every rank.
    comm : Communicator

    Attributes
    ----------
    words : ndarray
        The words that other ranks, or this rank, ask this rank about.
    """

    def __init__(self, ranks: Rows, words: NDArray[Any], comm: Communicator) -> None:
        with comm.agree():
            asking = np.full(len(words), comm.rank, dtype=np.int64)
            numbers = np.arange(len(words))
        self._comm = comm
        self._asking, self.words, self._numbers = comm.exchange((asking, words, numbers), ranks)

    def answer(self, values: NDArray[Any], sizes: Rows | None = None) -> NDArray[Any]:
        """Send each rank its answers, and return the answers to this rank; a collective call.

        Parameters
        ----------
        values : ndarray
            The values for each of `words`, one after another.
        sizes : ndarray of int64, optional
            The number of values of each word; 1 by default.

        Returns
        -------
        ndarray
            The values for the words that this rank has asked about, in the order of its words.
        """
        comm, numbers, asking = self._comm, self._numbers, self._asking
        with comm.agree():
            if sizes is not None:
                numbers, asking = np.repeat(numbers, sizes), np.repeat(asking, sizes)
        numbers, values = comm.exchange((numbers, values), asking)
        # The values for one word come from one rank, in order; the words come in any order.
        with comm.agree():
            return values[np.argsort(numbers, kind="stable")]


def request_rows(places: Words, comm: Communicator) -> Request:
    """Ask for data of documents at any place; the words of the request are rows. A collective call."""
    ranks, rows = comm.local(split_places, places)
    return Request(ranks, rows, comm)
