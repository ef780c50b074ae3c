"""Merge the sketches of all ranks on rank 0, up a binary tree."""

from __future__ import annotations

import numpy as np

from ...sketches.core.merging import StoredMergeable
from .comm import Communicator

__all__ = ["merge_to_root"]


def merge_to_root(sketch: StoredMergeable | None, comm: Communicator) -> StoredMergeable | None:
    """Return the merged sketches of all ranks on rank 0, and None on the other ranks.

    Rank r merges the sketches of ranks r + 1, r + 2, r + 4, ... into its own, in ceil(log2(size)) rounds. In
    each round a rank has one further sketch in memory. A rank without a sketch passes None; the ranks with
    one must be the first.

    Raises
    ------
    DistributedError
        On every rank, if two sketches do not merge.
    """
    failure: Exception | None = None
    for other, receives in comm.tree_rounds():
        if not receives:
            _send_bytes(b"" if sketch is None else sketch.to_bytes(), comm, other)
            continue
        received = _receive_bytes(comm, other)
        try:
            if sketch is not None and len(received) and failure is None:
                sketch.merge(type(sketch).from_bytes(received))
        except Exception as error:
            # This rank must still send, because the ranks above wait for it.
            failure = error
    with comm.agree():
        if failure is not None:
            raise failure
    return sketch if comm.rank == 0 else None


def _send_bytes(data: bytes, comm: Communicator, destination: int) -> None:
    comm.send(np.array([len(data)]), destination)
    comm.send(np.frombuffer(data, dtype=np.uint8), destination)


def _receive_bytes(comm: Communicator, source: int) -> memoryview:
    n_bytes = np.zeros(1, dtype=np.int64)
    comm.receive(n_bytes, source)
    data = np.empty(n_bytes[0], dtype=np.uint8)
    comm.receive(data, source)
    return data.data
