"""Rows of ids of callers, padded with -1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array, refuse_flags
from ...lsh.support.backend import backend_of
from ...lsh.support.wording import counted

__all__ = ["NO_ID", "read_id_rows"]

#: The id that fills rows.
NO_ID = -1


def read_id_rows(name: str, value: Any, n: int, *, shared: bool = False) -> NDArray[np.int64]:
    """Return ids of n rows as an int64 matrix of n rows, or for `shared` ids a matrix of one row.

    Parameters
    ----------
    name : str
        Name of the argument in messages.
    value : array_like of integers of shape (n, m), (n,) or, for `shared` ids, (m,)
        At least -1.
    n : int
    shared : bool
        True if an array of one dimension has the ids of all rows, and not one id for each row.
    """
    array = check_array(name, value)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
    refuse_flags(name, value)
    shape, is_shared = array.shape, shared and array.ndim == 1
    if array.ndim == 1:
        array = array[None] if shared else array[:, None]
    if array.ndim != 2 or (len(array) != n and not is_shared):
        shapes = f"(m,) or ({n}, m)" if shared else f"({n},) or ({n}, m)"
        raise ValueError(f"{name} must have shape {shapes} for {counted(n, 'row')}, got {shape}")
    if array.size and (int(array.min()) < NO_ID or int(array.max()) > 2**63 - 2):
        wrong = array.min() if int(array.min()) < NO_ID else array.max()
        raise ValueError(f"{name} must be ids from 0 to 2**63 - 2, or -1 for no id, got {wrong}")
    return backend_of(array).xp.ascontiguousarray(array, dtype=np.int64)
