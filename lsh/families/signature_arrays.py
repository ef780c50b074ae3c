"""Checks of signatures and packed codes that callers have kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.arrays import check_array
from ..support.backend import backend_of, check_one_device, read_only

__all__ = ["check_pair", "check_signatures"]


def check_signatures(name: str, values: Any, what: str, dtype: type, width: int) -> NDArray[Any]:
    """Return signatures in C order, as a view that cannot be written to.

    TypeError or ValueError if they are no matrix of `dtype` and `width`.
    """
    array = check_array(name, values)
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {what} of dtype {np.dtype(dtype)}, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"{name} must have shape (n, {width}), got {array.shape}")
    return read_only(backend_of(array).xp.ascontiguousarray(array))


def check_pair(A: Any, B: Any, what: str, dtype: type, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the signatures `A` and `B`, checked to lie on one device and to have one shape."""
    check_one_device("A", A, "B", B)
    left, right = (check_signatures(name, x, what, dtype, width) for name, x in (("A", A), ("B", B)))
    if left.shape != right.shape:
        raise ValueError(f"B must have the shape of A, {left.shape}, got {right.shape}")
    return left, right
