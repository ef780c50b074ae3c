"""Lay out arrays as the buffers that MPI sends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of

__all__ = ["as_bytes", "pieces", "row_bytes", "starts_of"]

#: Bytes of one piece of an array that is reduced, broadcast or sent. Pieces stay in cache and keep every
#: count far below 2**31. MPICH takes 2.6 times as long for 64 MiB in one call.
PIECE_BYTES = 2 << 20


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the start of each of several consecutive parts of the given sizes."""
    return np.cumsum(counts) - counts


def row_bytes(rows: NDArray[Any]) -> int:
    """Return the bytes of one row of an array, of all its further axes."""
    return rows.dtype.itemsize * math.prod(rows.shape[1:])


def as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a contiguous array as a flat view of its bytes."""
    return array.reshape(-1).view(np.uint8)


def pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield a contiguous array as flat views of at most `PIECE_BYTES`, after all work on it is done."""
    if not array.flags.c_contiguous:
        raise ValueError("expected a contiguous array")
    if not isinstance(array, np.ndarray):
        # MPI does not know what is still to be computed on a GPU's stream.
        backend_of(array).xp.cuda.get_current_stream().synchronize()
    flat = array.reshape(-1)
    if flat.dtype == np.bool_:
        flat = flat.view(np.uint8)  # MPI has no bitwise "or" of booleans.
    step = max(1, PIECE_BYTES // flat.itemsize)
    for start in range(0, flat.size, step):
        yield flat[start : start + step]
