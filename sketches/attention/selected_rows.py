"""Matrices of which only selected rows are read, and the numbers of those."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.inputs.rows import read_rows

__all__ = ["read_dense", "read_numbers"]


def read_dense(name: str, rows: Any) -> NDArray[Any]:
    """Return rows as a dense matrix. Whether numbers are finite is seen when they are used."""
    if hasattr(rows, "tocsr"):
        return read_rows(rows, None, name).dense
    array = check_array(name, rows)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {array.shape}")
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    is_exact = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
    with np.errstate(over="ignore"):  # A long double beyond float64 becomes infinity.
        return array.astype(np.float32 if is_exact else np.float64, copy=False)


def read_numbers(name: str, numbers: Any, shape: tuple[int, ...], n: int) -> NDArray[np.int64]:
    """Return numbers of rows, from -1 (none) to n - 1, as int64."""
    refuse_flags(name, numbers)
    array = check_array(name, numbers)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    if array.size and (array.min() < -1 or array.max() >= n):
        raise ValueError(f"{name} must be from -1 to {n - 1}, got {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, np.int64)
