"""Launchers of ``checks.cu``, the twins of ``lsh/kernels/checks.py``.

They wait for their answers.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from ..lsh.kernels.checks import MALFORMED
from .launch import check_array, launch

__all__ = ["any_nonfinite_32", "any_nonfinite_64", "count_falls"]


def any_nonfinite_32(bits: Any, start: int, stop: int) -> bool:
    return _any_nonfinite("any_nonfinite_float32", bits, np.uint32, start, stop)


def any_nonfinite_64(bits: Any, start: int, stop: int) -> bool:
    return _any_nonfinite("any_nonfinite_float64", bits, np.uint64, start, stop)


def _any_nonfinite(kernel: str, bits: Any, dtype: Any, start: int, stop: int) -> bool:
    check_array("bits", bits, dtype, shape=(None,))
    found = cupy.zeros(1, np.uint32)
    part = bits[start:stop].view(np.float32 if dtype == np.uint32 else np.float64)
    launch("checks", kernel, part.size, part, part.size, found)
    return bool(found[0])


def count_falls(indptr: Any, indices: Any, n_columns: int, start: int, stop: int) -> int:
    check_array("indptr", indptr, np.int64, shape=(None,))
    check_array("indices", indices, np.int32, np.int64, shape=(None,))
    found = cupy.zeros(2, np.uint64)
    how = (indptr, indices, indices.size, n_columns, start, stop, found)
    launch("checks", f"count_falls_{indices.dtype.name}", 32 * (stop - start), *how)
    falls, faults = found.tolist()
    return MALFORMED if faults else falls
