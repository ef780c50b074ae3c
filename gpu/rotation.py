"""Launching of kernels that rotate rows: those that include ``rotation.cuh``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["check_rows", "rotate"]

#: Coordinates that share a mask of 16 bits.
_WIDTH = 16
_MOST_BLOCKS, _MEMORY = 4096, 1 << 30


def check_rows(*rows: Any) -> tuple[Any, ...]:
    """The suffix of the kernels for such rows, ``X`` or ``indptr, indices, data``, and their arguments."""
    if len(rows) == 1:
        X = rows[0]
        check_array("X", X, np.float32, np.float64, shape=(None, None))
        return f"dense_{X.dtype.name}", X, X.shape[1]
    indptr, indices, data = rows
    check_array("indptr", indptr, np.int64, shape=(None,))
    check_array("indices", indices, np.int32, np.int64, shape=(None,))
    check_array("data", data, np.float32, np.float64, shape=indices.shape)
    return f"csr_{data.dtype.name}_{indices.dtype.name}", indptr, indices, data


def rotate(
    module: str, name: str, rows: tuple[Any, ...], masks: Any, room: int, start: int, stop: int, *args: Any
) -> None:
    """Launch a kernel that takes a row a block, each with `room` bytes, in shared memory if they fit."""
    suffix, *rows_given = rows
    in_shared = room <= SHARED
    launched = min(stop - start, _MOST_BLOCKS if in_shared else max(1, min(_MOST_BLOCKS, _MEMORY // room)))
    memory = cupy.empty(0 if in_shared else max(0, launched) * room, np.uint8)
    how = (masks.shape[0], masks.shape[1] // 3 * _WIDTH, np.bool_(in_shared), memory)
    launch(
        module,
        f"{name}_{suffix}",
        stop - start,
        *(*rows_given, constant(masks), *how, *args),
        blocks=launched,
        shared=room if in_shared else 0,
    )
