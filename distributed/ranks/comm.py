"""The few collective operations that the library needs, over MPI or in one process alone.

`Communicator` wraps an mpi4py communicator; without MPI the same methods work on one rank and mpi4py
need not be installed. Arrays travel as buffers, never pickled; pickles carry only small settings.

No rank may wait for one that has failed. `Communicator.agree` turns an exception on any rank into a
`DistributedError` on every rank, at a point that all of them reach.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...errors import DistributedError
from .leaving import has_launcher_connection, install, wait_for_ranks

T = TypeVar("T")

__all__ = ["Communicator", "communicator", "launched_by_mpi", "launched_rank", "takes_gpu_memory"]

#: Bytes of a round of an exchange that a rank sends at most, and receives at most.
ROUND_BYTES = 64 << 20
#: Bytes of a piece that is reduced or broadcast at once. Pieces stay in cache and keep every count far
#: below 2**31; MPICH takes 2.6 times as long for 64 MiB in one call.
PIECE_BYTES = 2 << 20
#: Of our point-to-point messages, to tell them from the application's.
_TAG = 29_147
#: Compared whenever ranks agree: those of different versions need not understand each other.
_VERSION = zlib.crc32(__version__.encode())
#: Where a launcher tells a rank, and how many there are.
_LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE"),
    ("PMIX_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_ID", "PMI_SIZE"),
)


def launched_by_mpi() -> bool:
    """Whether an MPI launcher started this process, or mpi4py is in use already."""
    told = any(rank in os.environ for rank, _ in _LAUNCHERS) and has_launcher_connection() is not False
    return told or "mpi4py.MPI" in sys.modules


def launched_rank() -> int:
    """The rank that a launcher gave this process, known before MPI starts; 0 without one."""
    if not launched_by_mpi():
        return 0
    values = [os.environ[rank] for rank, _ in _LAUNCHERS if rank in os.environ]
    return int(values[0]) if values and values[0].isdecimal() else 0


def _launched_alone() -> bool:
    sizes = {os.environ.get(size) for rank, size in _LAUNCHERS if rank in os.environ}
    return sizes == {"1"}


def communicator(comm: Any = None) -> Communicator:
    """`comm` as a `Communicator`.

    Parameters
    ----------
    comm : mpi4py communicator, Communicator or None
        None means all ranks when MPI started this process, and this process alone otherwise.

    Returns
    -------
    Communicator

    Raises
    ------
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
        # Who has a communicator has imported mpi4py.
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
        if _launched_alone():
            return Communicator(None)
        raise DistributedError(
            f"several ranks were started, but MPI cannot be used ({error}): pip install 'mergesketch[mpi]'"
        ) from error
    install()
    return Communicator(MPI.COMM_WORLD)


class Communicator:
    """Ranks that work together; one rank without MPI.

    Every method is collective, all ranks call it in the same order; save `send`, `receive` and
    `send_receive`.

    Attributes
    ----------
    mpi : mpi4py communicator or None
    rank, size : int
    bytes_sent : int
        Bytes of arrays that this rank has sent to other ranks so far. Of an operation whose route is the
        MPI library's own choice, what the best known algorithm sends.
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
            wait_for_ranks(self.mpi, self.mpi.Ibarrier())

    def bcast(self, value: Any, root: int = 0) -> Any:
        """The root's value, on every rank.

        Parameters
        ----------
        value : object
            That can be pickled; looked at on rank `root` alone.
        root : int, default 0

        Returns
        -------
        The root's value, on every rank.
        """
        if self.size == 1:
            return value
        data = _pickled(value) if self.rank == root else None
        size = np.array([0 if data is None else data.size])
        wait_for_ranks(self.mpi, self.mpi.Ibcast(size, root))
        data = np.empty(size[0], np.uint8) if data is None else data
        self.mpi.Bcast(data, root)
        return value if self.rank == root else pickle.loads(data.data)

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:
        """Every rank's value in the order of ranks, on the root; None elsewhere.

        Parameters
        ----------
        value : object
            That can be pickled.
        root : int, default 0

        Returns
        -------
        list on the root, None elsewhere
        """
        if self.size == 1:
            return [value]
        data, is_root = _pickled(value), self.rank == root
        sizes = np.empty(self.size, np.int64) if is_root else None
        wait_for_ranks(self.mpi, self.mpi.Igather(np.array([data.size]), sizes, root))
        if sizes is None:
            self.mpi.Gatherv(data, None, root)
            return None
        every = np.empty(sizes.sum(), np.uint8)
        self.mpi.Gatherv(data, [every, (sizes, _starts(sizes))], root)
        return _unpickled(every, sizes)

    def allgather(self, value: Any) -> list[Any]:
        """Every rank's value in the order of ranks, on every rank.

        Parameters
        ----------
        value : object
            That can be pickled.

        Returns
        -------
        list
        """
        if self.size == 1:
            return [value]
        data, sizes = _pickled(value), np.empty(self.size, np.int64)
        wait_for_ranks(self.mpi, self.mpi.Iallgather(np.array([data.size]), sizes))
        every = np.empty(sizes.sum(), np.uint8)
        self.mpi.Allgatherv(data, [every, (sizes, _starts(sizes))])
        return _unpickled(every, sizes)

    def sum(self, value: int) -> int:
        """The sum over ranks.

        Parameters
        ----------
        value : int

        Returns
        -------
        int
        """
        return sum(self.allgather(value))

    def exclusive_sum(self, value: int) -> int:
        """The sum over the ranks before this one.

        Parameters
        ----------
        value : int

        Returns
        -------
        int
        """
        return sum(self.allgather(value)[: self.rank])

    def check_same(self, what: str, value: Any) -> None:
        """Raise DistributedError on every rank unless all ranks pass an equal value.

        Parameters
        ----------
        what : str
            What the message calls it.
        value : object
            That can be compared and pickled.

        Raises
        ------
        DistributedError
            On every rank, if they differ.
        """
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
            On every rank, with the message of the first rank that failed, or if ranks run different
            versions of mergesketch. With one rank the exception itself goes through.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size > 1:
            from mpi4py import MPI

            most = np.array([error is not None, _VERSION, -_VERSION])
            wait_for_ranks(self.mpi, self.mpi.Iallreduce(MPI.IN_PLACE, most, MPI.MAX))
            if most[1] != -most[2]:
                self.check_same("the version of mergesketch", __version__)
            if most[0]:
                message = None if error is None else f"{type(error).__name__}: {error}"
                failures = [(r, m) for r, m in enumerate(self.allgather(message)) if m is not None]
                rank, first = failures[0]
                raise DistributedError(f"rank {rank} failed: {first}") from error

    def local(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(*arguments)``, which must hold no collective call; if it fails on any rank, on all.

        Parameters
        ----------
        function : callable
        *arguments
            Which it is called with.

        Returns
        -------
        What the function returned on this rank.
        """
        with self.agree():
            return function(*arguments)

    # -- arrays -----------------------------------------------------------------------------------

    def allreduce(self, array: NDArray[Any], reduction: str) -> None:
        """Combine the ranks' arrays in place: "sum", "max", "min" or "or".

        `array` is contiguous, and of one shape and dtype on every rank. Of any size.

        Parameters
        ----------
        array : ndarray
            Contiguous, of one shape and dtype on every rank.
        reduction : {"sum", "max", "min", "or"}
        """
        if self.size == 1 or array.size == 0:
            return
        from mpi4py import MPI

        op = {"sum": MPI.SUM, "max": MPI.MAX, "min": MPI.MIN, "or": MPI.BOR}[reduction]
        for piece in _pieces(array):
            self.mpi.Allreduce(MPI.IN_PLACE, piece, op)
        self.bytes_sent += 2 * array.nbytes * (self.size - 1) // self.size

    def broadcast(self, array: NDArray[Any], root: int = 0) -> None:
        """Overwrite every rank's contiguous `array` with the root's, of the same shape and dtype.

        Parameters
        ----------
        array : ndarray
            Contiguous, of one shape and dtype on every rank.
        root : int, default 0
        """
        if self.size == 1:
            return
        for piece in _pieces(array):
            self.mpi.Bcast(piece, root)
        self.bytes_sent += array.nbytes * (self.size - 1) // self.size

    def send(self, array: NDArray[Any], destination: int) -> None:
        """Send a contiguous array to a rank that calls `receive` with one of its shape and dtype.

        Parameters
        ----------
        array : ndarray
            Contiguous.
        destination : int
            A rank.
        """
        for piece in _pieces(array):
            self.mpi.Send(piece, destination, _TAG)
        self.bytes_sent += array.nbytes

    def receive(self, array: NDArray[Any], source: int) -> None:
        """Fill a contiguous array with what `source` sends.

        Parameters
        ----------
        array : ndarray
            Contiguous; it is filled.
        source : int
            A rank.
        """
        for piece in _pieces(array):
            self.mpi.Recv(piece, source, _TAG)

    def send_receive(
        self, outgoing: NDArray[Any], destination: int, incoming: NDArray[Any], source: int
    ) -> None:
        """Send to one rank while another one's `outgoing` fills `incoming`; either may be empty.

        Parameters
        ----------
        outgoing : ndarray
        destination : int
        incoming : ndarray
            Contiguous, as `outgoing` is; it is filled.
        source : int
        """
        if self.size == 1:
            return
        from mpi4py import MPI

        requests = [self.mpi.Irecv(piece, source, _TAG) for piece in _pieces(incoming)]
        requests += [self.mpi.Isend(piece, destination, _TAG) for piece in _pieces(outgoing)]
        MPI.Request.Waitall(requests)
        self.bytes_sent += outgoing.nbytes

    def tree_rounds(self) -> Iterator[tuple[int, bool]]:
        """This rank's part in a reduction up a binary tree to rank 0, in ceil(log2(size)) rounds.

        Yields
        ------
        (int, bool)
            The rank to talk to, and whether to receive from it; after sending a rank is done.
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
        """The ranks' arrays joined along the first axis in the order of ranks, on every rank.

        Any fixed-size dtype; the dtype and the further axes are the same on every rank.

        Parameters
        ----------
        rows : ndarray
            Of one dtype, and one shape but for the first extent, on every rank.

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
        counts = np.array(n_rows, dtype=np.int64) * _row_bytes(rows)
        self.mpi.Allgatherv(_bytes(rows), [_bytes(out), (counts, _starts(counts))])
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
            Called with the columns of each round as they come (in place of collecting them). It must
            hold no collective call; an exception in it is raised on every rank.

        Returns
        -------
        tuple of ndarray
            The received columns; empty ones when `receive` took them. Rows from one rank keep their
            order and the rounds interleave ranks: sort where order matters.

        Raises
        ------
        DistributedError
            If the columns or destinations of any rank are refused, or `receive` fails on any.

        Notes
        -----
        A rank sends at most `ROUND_BYTES` a round and receives at most as many, whatever the
        destinations (or a row from each rank, where rows are longer than that). Beside these two
        buffers the order of the rows takes 8 bytes a row.
        """
        with self.agree():
            counts, order = self._by_destination(columns, destination)
        if self.size == 1:
            if receive is None:
                return tuple(columns)
            receive(*columns)
            return tuple(column[:0] for column in columns)
        self.check_same("the columns of an exchange", [(c.dtype.str, c.shape[1:]) for c in columns])
        row_bytes = sum(_row_bytes(column) for column in columns)
        share = max(1, ROUND_BYTES // self.size // max(1, row_bytes))
        incoming = np.empty_like(counts)
        self.mpi.Alltoall(counts, incoming)
        received: list[tuple[NDArray[Any], ...]] = []
        take = receive or (lambda *batch: received.append(batch))
        batch: tuple[NDArray[Any], ...] | None = None
        for k in range(max(self.allgather(-(-int(counts.max()) // share)))):
            outgoing, expected = (np.clip(n - k * share, 0, share) for n in (counts, incoming))
            with self.agree():
                # What came in the round before is taken here, so that a failure stops every rank.
                if batch is not None:
                    take(*batch)
                starts = _starts(counts) + k * share
                rows = np.concatenate(
                    [order[s : s + n] for s, n in zip(starts.tolist(), outgoing.tolist(), strict=True)]
                )
                leaving = [column[rows] for column in columns]
                batch = tuple(np.empty((int(expected.sum()), *c.shape[1:]), dtype=c.dtype) for c in columns)
            for column, out in zip(leaving, batch, strict=True):
                self._alltoallv(column, outgoing, out, expected)
        with self.agree():
            if batch is not None:
                take(*batch)
        if receive is not None or not received:
            return tuple(column[:0] for column in columns)
        return tuple(np.concatenate(parts) for parts in zip(*received, strict=True))

    def _by_destination(
        self, columns: Sequence[NDArray[Any]], destination: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many rows go to each rank, and the rows in the order of their destinations."""
        if destination.ndim != 1 or destination.dtype.kind not in "iu":
            raise TypeError(
                f"destination must be a 1-D array of ranks, got {destination.ndim}-D {destination.dtype}"
            )
        for column in columns:
            if column.dtype.hasobject:
                raise TypeError(f"columns must have a fixed-size dtype, got {column.dtype}")
            if column.ndim == 0 or len(column) != len(destination):
                raise ValueError(f"columns must have {len(destination)} rows, got shape {column.shape}")
        if destination.size and not 0 <= int(destination.min()) <= int(destination.max()) < self.size:
            raise ValueError(
                f"destination must lie in [0, {self.size}), got {destination.min()} to {destination.max()}"
            )
        if self.size == 1:
            return np.array([len(destination)]), np.empty(0, dtype=np.int64)
        # NumPy sorts 16-bit integers by radix.
        ranks = destination.astype(np.uint16) if self.size <= 1 << 16 else destination
        counts = np.bincount(ranks, minlength=self.size).astype(np.int64)
        return counts, np.argsort(ranks, kind="stable")

    def _alltoallv(
        self,
        rows: NDArray[Any],
        counts: NDArray[np.int64],
        out: NDArray[Any],
        incoming: NDArray[np.int64],
    ) -> None:
        rows = np.ascontiguousarray(rows)
        n_bytes = _row_bytes(rows)
        self.mpi.Alltoallv(
            [_bytes(rows), (counts * n_bytes, _starts(counts) * n_bytes)],
            [_bytes(out), (incoming * n_bytes, _starts(incoming) * n_bytes)],
        )
        self.bytes_sent += (rows.shape[0] - int(counts[self.rank])) * n_bytes


def _pickled(value: Any) -> NDArray[np.uint8]:
    return np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), dtype=np.uint8)


def _unpickled(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> list[Any]:
    starts = _starts(sizes)
    return [pickle.loads(data[a : a + n].data) for a, n in zip(starts.tolist(), sizes.tolist(), strict=True)]


def _row_bytes(rows: NDArray[Any]) -> int:
    return rows.dtype.itemsize * math.prod(rows.shape[1:])


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def takes_gpu_memory(comm: Communicator) -> bool:
    """Whether the MPI library says, as MPI 4.1 has it, that it reads and writes memory of CUDA devices."""
    return "cuda" in (comm.mpi.Get_info().Get("mpi_memory_alloc_kinds") or "")


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A contiguous array as flat views of at most `PIECE_BYTES`; MPI knows no bitwise "or" of booleans."""
    if not array.flags.c_contiguous:
        raise ValueError("expected a contiguous array")
    if not isinstance(array, np.ndarray):
        from ...lsh.support.backend import backend_of

        # What is still to be computed on a GPU's stream is not known to MPI.
        backend_of(array).xp.cuda.get_current_stream().synchronize()
    flat = array.reshape(-1)
    if flat.dtype == np.bool_:
        flat = flat.view(np.uint8)
    step = max(1, PIECE_BYTES // flat.itemsize)
    for start in range(0, flat.size, step):
        yield flat[start : start + step]


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(counts) - counts
