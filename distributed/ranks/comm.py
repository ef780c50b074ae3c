"""Provide the collective operations that the library needs, over MPI ranks or in one process alone.

`Communicator` wraps an mpi4py communicator. Without MPI its methods work on one rank, and mpi4py need not
be installed. Arrays travel as buffers and are never pickled; only small Python objects are pickled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DistributedError
from ...lsh.support.install import how_to_install
from ...lsh.support.public import publish
from .buffers import as_bytes, pieces, row_bytes, starts_of
from .environment import launched_alone, launched_by_mpi
from .exchange import exchange_rows
from .leaving import install
from .objects import ObjectCommunicator

__all__ = ["Communicator", "communicator", "takes_gpu_memory"]

#: The tag of this library's point-to-point messages, which separates them from the application's.
_TAG = 29_147


def communicator(comm: Any = None) -> Communicator:
    """Return `comm` as a `Communicator`.

    Parameters
    ----------
    comm : mpi4py communicator, Communicator or None
        None means all ranks if MPI started this process, and this process alone otherwise.

    Returns
    -------
    Communicator

    Raises
    ------
    TypeError
        If `comm` is none of these.
    DistributedError
        If several ranks were started and mpi4py, or the MPI library that it needs, is not installed.

    Examples
    --------
    >>> from mergesketch.distributed import communicator
    >>> communicator().size
    1
    """
    if isinstance(comm, Communicator):
        return comm
    if comm is not None:
        # A caller that has a communicator has imported mpi4py.
        mpi = sys.modules.get("mpi4py.MPI")
        if mpi is None or not isinstance(comm, mpi.Intracomm) or comm == mpi.COMM_NULL:
            raise TypeError(
                f"comm must be an mpi4py intracommunicator that this rank is in, got {type(comm).__name__}"
            )
        install()
        return Communicator(comm)
    if not launched_by_mpi():
        return Communicator(None)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        # mpi4py raises RuntimeError when it finds no MPI library.
        if launched_alone():
            return Communicator(None)
        raise DistributedError(
            f"several ranks were started, but MPI cannot be used ({error}): {how_to_install('mpi')}"
        ) from error
    install()
    return Communicator(MPI.COMM_WORLD)


class Communicator(ObjectCommunicator):
    """Ranks that work together, or one rank without MPI.

    Every method except `send`, `receive` and `send_receive` is collective: all ranks call it, in the same
    order.

    Attributes
    ----------
    mpi : mpi4py communicator or None
    rank, size : int
    bytes_sent : int
        Bytes of arrays that this rank has sent to other ranks so far. Where the MPI library chooses the
        route, these are the bytes that the best known algorithm sends.
    """

    def allreduce(self, array: NDArray[Any], reduction: str) -> None:
        """Combine the ranks' arrays in place.

        Parameters
        ----------
        array : ndarray
            A contiguous array of any size, of one shape and dtype on every rank.
        reduction : {"sum", "max", "min", "or"}
        """
        if self.size == 1 or array.size == 0:
            return
        from mpi4py import MPI

        op = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN, "or": MPI.BOR}[reduction]
        for piece in pieces(array):
            self.mpi.Allreduce(MPI.IN_PLACE, piece, op)
        self.bytes_sent += 2 * array.nbytes * (self.size - 1) // self.size

    def broadcast(self, array: NDArray[Any], root: int = 0) -> None:
        """Overwrite every rank's array with the root's.

        Parameters
        ----------
        array : ndarray
            A contiguous array, of one shape and dtype on every rank.
        root : int, default 0
        """
        if self.size == 1:
            return
        for piece in pieces(array):
            self.mpi.Bcast(piece, root)
        self.bytes_sent += array.nbytes * (self.size - 1) // self.size

    def send(self, array: NDArray[Any], destination: int) -> None:
        """Send an array to a rank that calls `receive` with an array of the same shape and dtype.

        Parameters
        ----------
        array : ndarray
            A contiguous array.
        destination : int
            A rank.
        """
        for piece in pieces(array):
            self.mpi.Send(piece, destination, _TAG)
        self.bytes_sent += array.nbytes

    def receive(self, array: NDArray[Any], source: int) -> None:
        """Fill an array with the one that rank `source` sends.

        Parameters
        ----------
        array : ndarray
            A contiguous array, which is overwritten.
        source : int
            A rank.
        """
        for piece in pieces(array):
            self.mpi.Recv(piece, source, _TAG)

    def send_receive(
        self, outgoing: NDArray[Any], destination: int, incoming: NDArray[Any], source: int
    ) -> None:
        """Send an array to one rank while the array of another rank arrives; either may be empty.

        Parameters
        ----------
        outgoing : ndarray
            A contiguous array.
        destination : int
            The rank that gets `outgoing`.
        incoming : ndarray
            A contiguous array, which is overwritten.
        source : int
            The rank that fills `incoming`.
        """
        if self.size == 1:
            return
        from mpi4py import MPI

        requests = [self.mpi.Irecv(piece, source, _TAG) for piece in pieces(incoming)]
        requests += [self.mpi.Isend(piece, destination, _TAG) for piece in pieces(outgoing)]
        MPI.Request.Waitall(requests)
        self.bytes_sent += outgoing.nbytes

    def tree_rounds(self) -> Iterator[tuple[int, bool]]:
        """Yield this rank's part in a reduction up a binary tree to rank 0, in ceil(log2(size)) rounds.

        Yields
        ------
        (int, bool)
            The other rank, and True if this rank receives from it or False if it sends. A rank sends in
            its last round.
        """
        distance = 1
        while distance < self.size:
            if self.rank % (2 * distance):
                yield self.rank - distance, False
                return
            if self.rank + distance < self.size:
                yield self.rank + distance, True
            distance *= 2

    def allgather_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the ranks' arrays joined along the first axis, in the order of ranks, on every rank.

        Parameters
        ----------
        rows : ndarray
            An array of any fixed-size dtype. Its dtype and its further axes are the same on every rank.

        Returns
        -------
        ndarray
        """
        if self.size == 1:
            return rows
        rows = np.ascontiguousarray(rows)
        n_rows = self.allgather(rows.shape[0])
        with self.agree():
            out = np.empty((sum(n_rows), *rows.shape[1:]), dtype=rows.dtype)
        counts = np.array(n_rows, dtype=np.int64) * row_bytes(rows)
        self.mpi.Allgatherv(as_bytes(rows), [as_bytes(out), (counts, starts_of(counts))])
        self.bytes_sent += rows.nbytes * (self.size - 1)
        return out

    def exchange(
        self,
        columns: Sequence[NDArray[Any]],
        destination: NDArray[np.integer[Any]],
        receive: Callable[..., None] | None = None,
    ) -> tuple[NDArray[Any], ...]:
        """Send row i of the columns to rank ``destination[i]``, in rounds of bounded size.

        Parameters
        ----------
        columns : sequence of arrays
            Arrays of one length n and any fixed-size dtypes; they may have further axes. The dtypes and
            the further axes are the same on every rank.
        destination : ndarray of shape (n,)
            Ranks.
        receive : callable, optional
            A function that gets the received columns of each round, which are not collected then. It must
            make no collective call. An exception in it is raised on every rank.

        Returns
        -------
        tuple of ndarray
            The received columns, which are empty if `receive` got them. Rows from one rank keep their
            order. The rounds interleave the ranks, so sort the rows where their order matters.

        Raises
        ------
        DistributedError
            If the columns or destinations of any rank are refused, or `receive` fails on any rank. With
            one rank the exception itself is raised.

        Notes
        -----
        For any destinations, a rank sends at most 64 MiB in a round and receives at most 64 MiB (or one row
        from each rank, if rows are longer). The order of the rows takes another 8 bytes a row.
        """
        return exchange_rows(self, columns, destination, receive)


def takes_gpu_memory(comm: Communicator) -> bool:
    """Return True if the MPI library says, in the way of MPI 4.1, that it reads and writes CUDA memory."""
    return "cuda" in (comm.mpi.Get_info().Get("mpi_memory_alloc_kinds") or "")


publish("mergesketch.distributed", __all__, globals())
