"""Send every row of some columns to a rank of its own, in rounds of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .buffers import as_bytes, row_bytes, starts_of

if TYPE_CHECKING:
    from .comm import Communicator

__all__ = ["exchange_rows"]

#: Bytes that a rank sends in one round at most, and receives at most.
ROUND_BYTES = 64 << 20

Columns = tuple[NDArray[Any], ...]


def exchange_rows(
    comm: Communicator,
    columns: Sequence[NDArray[Any]],
    destination: NDArray[np.integer[Any]],
    receive: Callable[..., None] | None,
) -> Columns:
    """Send row i of the columns to rank ``destination[i]``; see `Communicator.exchange`."""
    received: list[Columns] = []

    def collect(*batch: NDArray[Any]) -> None:
        received.append(batch)

    take = receive or collect
    with comm.agree():
        counts, order = _sort_by_destination(columns, destination, comm.size)
    if comm.size == 1:
        take(*columns)
    else:
        _exchange_in_rounds(comm, columns, counts, order, take)
    if not received:
        return tuple(column[:0] for column in columns)
    if len(received) == 1:
        return received[0]
    return tuple(np.concatenate(parts) for parts in zip(*received, strict=True))


def _sort_by_destination(
    columns: Sequence[NDArray[Any]], destination: NDArray[np.integer[Any]], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of rows for each rank, and the rows in the order of their destinations."""
    if destination.ndim != 1 or destination.dtype.kind not in "iu":
        raise TypeError(
            f"destination must be a 1-D array of ranks, got {destination.ndim}-D {destination.dtype}"
        )
    for column in columns:
        if column.dtype.hasobject:
            raise TypeError(f"columns must have a fixed-size dtype, got {column.dtype}")
        if column.ndim == 0 or len(column) != len(destination):
            raise ValueError(f"columns must have {len(destination)} rows, got shape {column.shape}")
    if destination.size and not 0 <= int(destination.min()) <= int(destination.max()) < size:
        raise ValueError(
            f"destination must lie in [0, {size}), got {destination.min()} to {destination.max()}"
        )
    if size == 1:
        return np.array([len(destination)]), np.empty(0, dtype=np.int64)
    # NumPy sorts 16-bit integers by radix.
    ranks = destination.astype(np.uint16) if size <= 1 << 16 else destination
    counts = np.bincount(ranks, minlength=size).astype(np.int64)
    return counts, np.argsort(ranks, kind="stable")


def _exchange_in_rounds(
    comm: Communicator,
    columns: Sequence[NDArray[Any]],
    counts: NDArray[np.int64],
    order: NDArray[np.int64],
    take: Callable[..., None],
) -> None:
    """Send ``counts[r]`` rows to each rank r, in the given order; `take` gets the columns of each round."""
    comm.check_same("the columns of an exchange", [(c.dtype.str, c.shape[1:]) for c in columns])
    share = max(1, ROUND_BYTES // comm.size // max(1, sum(map(row_bytes, columns))))
    incoming = np.empty_like(counts)
    comm.mpi.Alltoall(counts, incoming)
    batch: Columns | None = None
    for k in range(max(comm.allgather(-(-int(counts.max()) // share)))):
        outgoing, expected = (np.clip(n - k * share, 0, share) for n in (counts, incoming))
        with comm.agree():
            # The batch of the round before is taken here, so that a failure stops every rank.
            if batch is not None:
                take(*batch)
            starts = starts_of(counts) + k * share
            rows = np.concatenate(
                [order[s : s + n] for s, n in zip(starts.tolist(), outgoing.tolist(), strict=True)]
            )
            leaving = [column[rows] for column in columns]
            batch = tuple(np.empty((int(expected.sum()), *c.shape[1:]), dtype=c.dtype) for c in columns)
        for column, out in zip(leaving, batch, strict=True):
            _send_round(comm, column, outgoing, out, expected)
    with comm.agree():
        if batch is not None:
            take(*batch)


def _send_round(
    comm: Communicator,
    rows: NDArray[Any],
    counts: NDArray[np.int64],
    out: NDArray[Any],
    incoming: NDArray[np.int64],
) -> None:
    """Send the first ``counts[0]`` rows to rank 0, and so on; fill `out` with what the ranks send."""
    rows = np.ascontiguousarray(rows)
    n_bytes = row_bytes(rows)
    comm.mpi.Alltoallv(
        [as_bytes(rows), (counts * n_bytes, starts_of(counts) * n_bytes)],
        [as_bytes(out), (incoming * n_bytes, starts_of(incoming) * n_bytes)],
    )
    comm.bytes_sent += (rows.shape[0] - int(counts[comm.rank])) * n_bytes
