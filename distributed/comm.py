"""The few collective operations that the library needs, over MPI or in one process alone.

`Communicator` wraps an mpi4py communicator; without MPI the same methods work on one rank and mpi4py
need not be installed. Arrays travel as buffers, never pickled; pickles carry only small settings.

No rank may wait for one that has failed. `Communicator.agree` turns an exception on any rank into a
`DistributedError` on every rank, at a point that all of them reach.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DistributedError

__all__ = ["Communicator", "communicator", "launched_by_mpi"]

#: Bytes that a rank sends in one round of an exchange; bounds the buffers on both sides.
ROUND_BYTES = 64 << 20
_LAUNCHER_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_ID")


def launched_by_mpi() -> bool:
    """Whether an MPI launcher started this process, or mpi4py is in use already."""
    return any(name in os.environ for name in _LAUNCHER_VARIABLES) or "mpi4py.MPI" in sys.modules


def communicator(comm: Any = None) -> Communicator:
    """`comm` as a `Communicator`.

    Parameters
    ----------
    comm : mpi4py communicator, Communicator or None
        None means all ranks when MPI started this process, and this process alone otherwise.

    Raises
    ------
    DistributedError
        If several ranks were started and mpi4py is not installed.
    """
    if isinstance(comm, Communicator):
        return comm
    if comm is not None:
        if not hasattr(comm, "Alltoallv"):
            raise TypeError(f"comm must be an mpi4py communicator, got {type(comm).__name__}")
        return Communicator(comm)
    if not launched_by_mpi():
        return Communicator(None)
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise DistributedError(
            "this process was started by MPI, but mpi4py is not installed: pip install 'mergesketch[mpi]'"
        ) from error
    return Communicator(MPI.COMM_WORLD)


class Communicator:
    """Ranks that work together; one rank without MPI.

    Attributes
    ----------
    mpi : mpi4py communicator or None
    rank, size : int
    bytes_sent : int
        Bytes of arrays that this rank has sent to other ranks so far.
    """

    def __init__(self, mpi: Any) -> None:
        self.mpi = mpi
        self.rank: int = 0 if mpi is None else mpi.Get_rank()
        self.size: int = 1 if mpi is None else mpi.Get_size()
        self.bytes_sent = 0

    # -- small Python objects ---------------------------------------------------------------------

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            self.mpi.Barrier()

    def bcast(self, value: Any, root: int = 0) -> Any:
        """The root's value, on every rank."""
        return value if self.size == 1 else self.mpi.bcast(value, root)

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:
        """Every rank's value in the order of ranks, on the root; None elsewhere."""
        return [value] if self.size == 1 else self.mpi.gather(value, root)

    def allgather(self, value: Any) -> list[Any]:
        """Every rank's value in the order of ranks, on every rank."""
        return [value] if self.size == 1 else self.mpi.allgather(value)

    def sum(self, value: int) -> int:
        """The sum over ranks."""
        return sum(self.allgather(value))

    def exclusive_sum(self, value: int) -> int:
        """The sum over the ranks before this one."""
        return sum(self.allgather(value)[: self.rank])

    def check_same(self, what: str, value: Any) -> None:
        """Raise DistributedError on every rank unless all ranks pass an equal value."""
        values = self.allgather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise DistributedError(
                    f"ranks must agree on {what}: rank 0 has {values[0]!r}, rank {rank} has {other!r}"
                )

    @contextmanager
    def agree(self) -> Iterator[None]:
        """Run the block on every rank; if it fails on any, raise on all.

        The block must hold no collective call, for a rank that fails leaves it early.

        Raises
        ------
        DistributedError
            On every rank, with the message of the first rank that failed. With one rank the
            exception itself goes through.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size > 1:
            message = None if error is None else f"{type(error).__name__}: {error}"
            failures = [(r, m) for r, m in enumerate(self.allgather(message)) if m is not None]
            if failures:
                rank, first = failures[0]
                raise DistributedError(f"rank {rank} failed: {first}") from error

    # -- arrays -----------------------------------------------------------------------------------

    def allreduce(self, array: NDArray[Any], reduction: str) -> None:
        """Combine equal-shaped arrays over ranks in place: "sum", "max", "min" or "or"."""
        if self.size == 1 or array.size == 0:
            return
        from mpi4py import MPI

        op = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN, "or": MPI.BOR}[reduction]
        self.mpi.Allreduce(MPI.IN_PLACE, array, op)
        self.bytes_sent += array.nbytes

    def bcast_array(self, array: NDArray[Any], root: int = 0) -> None:
        """Overwrite the array with the root's, of equal shape and dtype."""
        if self.size > 1 and array.size:
            self.mpi.Bcast(array, root)

    def send(self, array: NDArray[Any], rank: int) -> None:
        """Send an array to another rank, which calls `receive` with one of equal shape and dtype."""
        if array.size:
            self.mpi.Send(np.ascontiguousarray(array), rank)
            self.bytes_sent += array.nbytes

    def receive(self, like: NDArray[Any], rank: int) -> NDArray[Any]:
        """The array that another rank sends, of the shape and dtype of `like`."""
        array = np.empty_like(like)
        if array.size:
            self.mpi.Recv(array, rank)
        return array

    def allgather_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The ranks' arrays joined along the first axis in the order of ranks, on every rank."""
        if self.size == 1:
            return rows
        rows = np.ascontiguousarray(rows)
        width = int(np.prod(rows.shape[1:], dtype=np.int64))
        counts = np.array(self.allgather(rows.shape[0] * width), dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        out = np.empty((int(counts.sum()) // max(1, width), *rows.shape[1:]), dtype=rows.dtype)
        self.mpi.Allgatherv(rows, [out, (counts, starts)])
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
            All of the same length n; 1-D or with further axes, any fixed-size dtype. The dtypes and
            further axes are the same on every rank.
        destination : ndarray of shape (n,)
            Ranks.
        receive : callable, optional
            Called with the columns of each round as they come (in place of collecting them).

        Returns
        -------
        tuple of ndarray
            The received columns; empty ones when `receive` took them. Rows from one rank keep their
            order and the rounds interleave ranks: sort where order matters.

        Notes
        -----
        A rank sends at most `ROUND_BYTES` a round, so the buffers take no more than
        ``(1 + size) * ROUND_BYTES`` in the worst case that all ranks send to one.
        """
        if self.size == 1:
            if receive is not None:
                receive(*columns)
                return tuple(column[:0] for column in columns)
            return tuple(columns)
        row_bytes = sum(c.dtype.itemsize * int(np.prod(c.shape[1:])) for c in columns)
        rows_a_round = max(1, ROUND_BYTES // max(1, row_bytes))
        n = len(destination)
        n_rounds = max(self.allgather(-(-n // rows_a_round)))
        received: list[list[NDArray[Any]]] = [[] for _ in columns]
        for k in range(n_rounds):
            part = slice(k * rows_a_round, min(n, (k + 1) * rows_a_round))
            target = destination[part]
            order = np.argsort(target, kind="stable")
            counts = np.bincount(target, minlength=self.size).astype(np.int64)
            incoming = np.empty_like(counts)
            self.mpi.Alltoall(counts, incoming)
            batch = [self._alltoallv(c[part][order], counts, incoming) for c in columns]
            if receive is not None:
                receive(*batch)
            else:
                for kept, column in zip(received, batch, strict=True):
                    kept.append(column)
        return tuple(
            np.concatenate(kept) if kept else column[:0]
            for kept, column in zip(received, columns, strict=True)
        )

    def _alltoallv(
        self, rows: NDArray[Any], counts: NDArray[np.int64], incoming: NDArray[np.int64]
    ) -> NDArray[Any]:
        rows = np.ascontiguousarray(rows)
        row_bytes = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
        out = np.empty((int(incoming.sum()), *rows.shape[1:]), dtype=rows.dtype)
        self.mpi.Alltoallv(
            [rows.view(np.uint8).reshape(-1), (counts * row_bytes, _starts(counts) * row_bytes)],
            [out.view(np.uint8).reshape(-1), (incoming * row_bytes, _starts(incoming) * row_bytes)],
        )
        self.bytes_sent += (rows.shape[0] - int(counts[self.rank])) * row_bytes
        return out


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)[:-1]])
