"""Launchers of ``checks.cu``; they wait for their answers."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import check_array, launch

__all__ = ["any_nonfinite_32", "any_nonfinite_64", "count_falls"]


def any_nonfinite_32(bits: Any, start: int, stop: int) -> bool:
    """Tell whether any of the float32 numbers [start, stop), given as uint32, is NaN or infinite."""
    return _any_nonfinite("any_nonfinite_float32", bits, np.uint32, start, stop)


def any_nonfinite_64(bits: Any, start: int, stop: int) -> bool:
    """Tell whether any of the float64 numbers [start, stop), given as uint64, is NaN or infinite."""
    return _any_nonfinite("any_nonfinite_float64", bits, np.uint64, start, stop)


def _any_nonfinite(kernel: str, bits: Any, dtype: Any, start: int, stop: int) -> bool:
    check_array("bits", bits, dtype, shape=(None,))
    found = cupy.zeros(1, np.uint32)
    part = bits[start:stop].view(np.float32 if dtype == np.uint32 else np.float64)
    launch("checks", kernel, part.size, part, part.size, found)
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
