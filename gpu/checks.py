"""Launchers of ``checks.cu``; they wait for their answers."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, launch

__all__ = ["any_nonfinite", "count_falls"]


def any_nonfinite(array: Any) -> bool:
    """Whether a float32 or float64 array in C order has a NaN or infinity."""
    check_array("array", array, np.float32, np.float64)
    found = cupy.zeros(1, np.uint32)
    launch("checks", f"any_nonfinite_{array.dtype.name}", array.size, array, array.size, found)
    return bool(found[0])


def count_falls(indptr: Any, indices: Any, n_columns: int, start: int, stop: int) -> int:
    """Count, in the rows [start, stop) of a CSR matrix, the indices that are not above the one before.

    -1 if an offset falls or lies outside `indices`, or an index outside [0, n_columns).
    """
    check_array("indptr", indptr, np.int64, shape=(None,))
    check_array("indices", indices, np.int32, np.int64, shape=(None,))
    found = cupy.zeros(2, np.uint64)
    how = (indptr, indices, indices.size, n_columns, start, stop, found)
    launch("checks", f"count_falls_{indices.dtype.name}", 32 * (stop - start), *how)
    falls, faults = found.tolist()
    return -1 if faults else falls
