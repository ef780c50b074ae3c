"""Read what stands in brackets after compressed floats: rows along the first axis."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.support.backend import to_host
from ...lsh.support.wording import counted

__all__ = ["read_rows"]


def read_rows(rows: Any, n: int) -> int | range | NDArray[np.int64]:
    """Return a row, a range of rows or the numbers of rows, from 0 to n - 1; IndexError if one is not."""
    if isinstance(rows, slice):
        return range(n)[rows]
    try:
        # Tensors of PyTorch with one number in one dimension can be an index, too.
        if isinstance(rows, (bool, np.bool_)) or getattr(rows, "ndim", 0) > 0:
            raise TypeError("it is not a number")
        row = index(rows)
    except TypeError:
        return _read_many(rows, n)
    if not -n <= row < n:
        raise IndexError(f"row {row} is out of range for {n} rows")
    return row % n


def _read_many(rows: Any, n: int) -> NDArray[np.int64]:
    # NumPy takes a tuple for numbers along several axes.
    is_many = hasattr(rows, "__len__") and not isinstance(rows, tuple)
    wanted = to_host(check_array("rows", rows)) if is_many else np.empty(())
    if wanted.ndim == 0:
        raise TypeError(f"rows must be an integer, a slice or a list of integers, got {rows!r}")
    # NumPy makes an empty list one of floats.
    wanted = wanted.astype(np.int64) if isinstance(rows, list) and not rows else wanted
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        found = f"{counted(wanted.ndim, 'dimension')} of {wanted.dtype}"
        raise TypeError(f"rows must be integers in one dimension, got {found}")
    if wanted.size and (int(wanted.min()) < -n or int(wanted.max()) >= n):
        raise IndexError(f"rows must be from {-n} to {n - 1}, got {wanted.min()} to {wanted.max()}")
    wanted = wanted.astype(np.int64)
    return np.where(wanted < 0, wanted + n, wanted)
