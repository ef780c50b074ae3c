"""What may stand in brackets after compressed floats: rows along the first axis."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_rows"]


def read_rows(rows: Any, n: int) -> int | range | NDArray[np.int64]:
    """Return a row, a range of rows or the numbers of rows, from 0 to n - 1; IndexError if one is not."""
    if isinstance(rows, slice):
        return range(n)[rows]
    if isinstance(rows, (list, np.ndarray)) and np.ndim(rows):
        wanted = np.asarray(rows)
        # NumPy makes an empty list one of floats.
        wanted = wanted.astype(np.int64) if isinstance(rows, list) and not rows else wanted
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise TypeError(
                f"rows must be integers in one dimension, got {wanted.ndim} dimensions of {wanted.dtype}"
            )
        if wanted.size and (int(wanted.min()) < -n or int(wanted.max()) >= n):
            raise IndexError(f"rows must be from {-n} to {n - 1}, got {wanted.min()} to {wanted.max()}")
        wanted = wanted.astype(np.int64)
        return np.where(wanted < 0, wanted + n, wanted)
    try:
        if isinstance(rows, (bool, np.bool_)):
            raise TypeError("a flag is no number")
        row = index(rows)
    except TypeError as error:
        raise TypeError(f"rows must be an integer, a slice or a list of integers, got {rows!r}") from error
    if not -n <= row < n:
        raise IndexError(f"row {row} is out of range for {n} rows")
    return row % n
