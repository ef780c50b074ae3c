"""Merging the sketches of ranks on rank 0 along a binary tree."""

from __future__ import annotations

import numpy as np

from ...sketches import MergeableSketch
from .comm import Communicator

__all__ = ["merge_to_root"]


def merge_to_root(sketch: MergeableSketch | None, comm: Communicator) -> MergeableSketch | None:
    """The sketches of all ranks merged, on rank 0; None elsewhere.

    Rank r takes in rank r + 1, then r + 2, r + 4, ...: log2(size) rounds, in each of which a rank holds
    one sketch more. A rank without a sketch passes None; those with one must be the first.

    Raises
    ------
    DistributedError
        On every rank, if two sketches do not merge.
    """
    distance = 1
    while distance < comm.size:
        received = _pass_down(sketch, comm, distance)
        with comm.agree():
            if received is not None:
                assert sketch is not None
                sketch.merge(type(sketch).from_bytes(received))
        distance *= 2
    return sketch if comm.rank == 0 else None


def _pass_down(sketch: MergeableSketch | None, comm: Communicator, distance: int) -> memoryview | None:
    """Send to the rank `distance` below or receive from the one above, as this round has it."""
    sends = comm.rank % (2 * distance) == distance
    other = comm.rank - distance if sends else comm.rank + distance
    if sends:
        data = np.frombuffer(b"" if sketch is None else sketch.to_bytes(), dtype=np.uint8)
        comm.send(np.array([len(data)]), other)
        comm.send(data, other)
        return None
    if comm.rank % (2 * distance) or other >= comm.size:
        return None
    n_bytes = np.zeros(1, dtype=np.int64)
    comm.receive(n_bytes, other)
    buffer = np.empty(n_bytes[0], dtype=np.uint8)
    comm.receive(buffer, other)
    return buffer.data if len(buffer) else None
