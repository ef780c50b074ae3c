"""Exchange small Python objects between ranks, and agree on what has failed.

No rank may wait for a rank that has failed. `ObjectCommunicator.agree` turns an exception on any rank into a
`DistributedError` on every rank, at a point that all of them reach. Exchanges of objects end with it, because
an object may be one that cannot be pickled, or not unpickled on another rank.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ...errors import DistributedError
from ...lsh.support.configured import differing_field
from .buffers import starts_of
from .leaving import wait_for_ranks

T = TypeVar("T")

__all__ = ["ObjectCommunicator", "refuse_difference"]

#: Number of this version of the library. Ranks compare it whenever they agree, because ranks of different
#: versions might not understand each other.
_VERSION = zlib.crc32(__version__.encode())


def refuse_difference(what: str, every: Sequence[Mapping[str, Any]]) -> None:
    """Raise DistributedError if the configuration of a rank differs from that of rank 0, naming the field."""
    for rank, other in enumerate(every):
        difference = differing_field(every[0], other)
        if difference is not None:
            raise DistributedError(
                f"ranks must agree on {what}: ranks 0 (here) and {rank} (there) differ in {difference}"
            )


class ObjectCommunicator:
    """Ranks that exchange small objects, which are pickled; one rank without MPI."""

    def __init__(self, mpi: Any) -> None:
        self.mpi = mpi
        self.rank: int = 0 if mpi is None else mpi.Get_rank()
        self.size: int = 1 if mpi is None else mpi.Get_size()
        self.bytes_sent = 0

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            wait_for_ranks(self.mpi, self.mpi.Ibarrier())

    def bcast(self, value: Any, root: int = 0) -> Any:
        """Return the root's value on every rank.

        Parameters
        ----------
        value : object
            An object that can be pickled; it is read on rank `root` alone. One rank does not pickle it.
        root : int, default 0

        Returns
        -------
        object
            The root's value.

        Raises
        ------
        DistributedError
            On every rank, if the value cannot be pickled, or not unpickled on another rank.
        """
        if self.size == 1:
            return value
        is_root = self.rank == root
        data, error = _pickled(value) if is_root else (np.empty(0, np.uint8), None)
        size = np.array([data.size])
        wait_for_ranks(self.mpi, self.mpi.Ibcast(size, root))
        data = data if is_root else np.empty(size[0], np.uint8)
        self.mpi.Bcast(data, root)
        with self.agree():
            if error is not None:
                raise error
            return value if is_root else _unpickled(data, size)[0]

    def gather(self, value: Any, root: int = 0) -> list[Any] | None:
        """Return every rank's value on the root, in the order of ranks, and None on the other ranks.

        Parameters
        ----------
        value : object
            An object that can be pickled. One rank does not pickle it.
        root : int, default 0

        Returns
        -------
        list or None

        Raises
        ------
        DistributedError
            On every rank, if a value cannot be pickled, or not unpickled on the root.
        """
        if self.size == 1:
            return [value]
        (data, error), is_root = _pickled(value), self.rank == root
        sizes = np.empty(self.size, np.int64) if is_root else None
        wait_for_ranks(self.mpi, self.mpi.Igather(np.array([data.size]), sizes, root))
        if sizes is None:
            self.mpi.Gatherv(data, None, root)
        else:
            every = np.empty(sizes.sum(), np.uint8)
            self.mpi.Gatherv(data, [every, (sizes, starts_of(sizes))], root)
        with self.agree():
            if error is not None:
                raise error
            return None if sizes is None else _unpickled(every, sizes)

    def allgather(self, value: Any) -> list[Any]:
        """Return every rank's value on every rank, in the order of ranks.

        Parameters
        ----------
        value : object
            An object that can be pickled. One rank does not pickle it.

        Returns
        -------
        list

        Raises
        ------
        DistributedError
            On every rank, if a value cannot be pickled, or not unpickled on another rank.
        """
        if self.size == 1:
            return [value]
        data, error = _pickled(value)
        every, sizes = self._allgather_bytes(data)
        with self.agree():
            if error is not None:
                raise error
            return _unpickled(every, sizes)

    def _allgather_bytes(self, data: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the bytes of all ranks, one rank's after another's, and their numbers."""
        sizes = np.empty(self.size, np.int64)
        wait_for_ranks(self.mpi, self.mpi.Iallgather(np.array([data.size]), sizes))
        every = np.empty(sizes.sum(), np.uint8)
        self.mpi.Allgatherv(data, [every, (sizes, starts_of(sizes))])
        return every, sizes

    def _allgather_text(self, text: str | None) -> list[str | None]:
        """Return the texts of all ranks, without `agree`, which uses this."""
        return _unpickled(*self._allgather_bytes(_pickled(text)[0]))

    def sum(self, value: int) -> int:
        """Return the sum of the ranks' values.

        Parameters
        ----------
        value : int

        Returns
        -------
        int
        """
        return sum(self.allgather(value))

    def exclusive_sum(self, value: int) -> int:
        """Return the sum of the values of the ranks before this one.

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
            The name of the value in the message.
        value : object
            An object that can be compared and pickled.

        Raises
        ------
        DistributedError
            On every rank, if the values differ.
        """
        _refuse_others(what, self.allgather(value))

    @contextmanager
    def agree(self) -> Iterator[None]:
        """Run the block on every rank; if it fails on any rank, raise an error on every rank.

        The block must make no collective call, because a rank that fails leaves it early.

        Raises
        ------
        DistributedError
            On every rank, with the message of the first rank that failed, or if ranks run different
            versions of mergesketch. With one rank the exception itself is raised.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size == 1:
            return
        from mpi4py import MPI

        largest = np.array([error is not None, _VERSION, -_VERSION])
        wait_for_ranks(self.mpi, self.mpi.Iallreduce(MPI.IN_PLACE, largest, MPI.MAX))
        any_failed, newest, oldest = largest[0], largest[1], -largest[2]
        if newest != oldest:
            _refuse_others("the version of mergesketch", self._allgather_text(__version__))
        if any_failed:
            message = None if error is None else f"{type(error).__name__}: {error}"
            failures = [(r, m) for r, m in enumerate(self._allgather_text(message)) if m is not None]
            rank, first = failures[0]
            raise DistributedError(f"rank {rank} failed: {first}") from error

    def local(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return ``function(*arguments)``; if the call fails on any rank, raise an error on every rank.

        Parameters
        ----------
        function : callable
            A function that makes no collective call.
        *arguments
            Its arguments.

        Returns
        -------
        object
            The result of the call on this rank.
        """
        with self.agree():
            return function(*arguments)

    def call_on_first(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return on every rank the result of ``function(*arguments)`` on rank 0, which alone calls it.

        Parameters
        ----------
        function : callable
            A function that makes no collective call. If it fails, an error is raised on every rank.
        *arguments
            Its arguments.

        Returns
        -------
        object
            The result.

        Raises
        ------
        DistributedError
            On every rank, if the call fails, or if its result cannot be pickled, or not unpickled on another
            rank. With one rank the exception of the call itself is raised, and its result is not pickled.
        """
        with self.agree():
            result = function(*arguments) if self.rank == 0 else None
        return cast(T, self.bcast(result))


def _refuse_others(what: str, values: Sequence[Any]) -> None:
    for rank, other in enumerate(values):
        if other != values[0]:
            raise DistributedError(
                f"ranks must agree on {what}: rank 0 has {values[0]!r}, rank {rank} has {other!r}"
            )


def _pickled(value: Any) -> tuple[NDArray[np.uint8], Exception | None]:
    """Return the bytes of the pickle of a value; none and an error if it has no pickle."""
    try:
        return np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), dtype=np.uint8), None
    except Exception as error:  # methods of the value run here, and may raise anything
        return np.empty(0, np.uint8), error


def _unpickled(data: NDArray[np.uint8], sizes: NDArray[np.int64]) -> list[Any]:
    """Return the values whose pickles, of the given sizes, lie one after another in `data`.

    None stands for a value without a pickle, whose rank raises an error.
    """
    parts = [data[a : a + n].data for a, n in zip(starts_of(sizes).tolist(), sizes.tolist(), strict=True)]
    return [pickle.loads(part) if part.nbytes else None for part in parts]
