"""Launch kernels that rotate rows: those that include ``rotation.cuh``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import check_array, check_csr, constant, launch_blocks

__all__ = ["check_rows", "rotate"]

#: Coordinates that share a mask of 16 bits.
_WIDTH = 16


def check_rows(*rows: Any) -> tuple[Any, ...]:
    """Return the suffix of the kernels for rows ``X``, or ``indptr, indices, data``, and their arguments."""
    if len(rows) == 1:
        X = rows[0]
        check_array("X", X, np.float32, np.float64, shape=(None, None))
        return f"dense_{X.dtype.name}", X, X.shape[1]
    indptr, indices, data = rows
    return f"csr_{check_csr(indptr, indices, data)}", indptr, indices, data


def rotate(
    module: str, name: str, rows: tuple[Any, ...], masks: Any, room: int, start: int, stop: int, *args: Any
) -> None:
    """Launch a kernel that rotates rows, with a block for each row and `room` bytes for each block."""
    suffix, *given = rows
    size = masks.shape[1] // 3 * _WIDTH
    before = (*given, constant(masks), masks.shape[0], size)
    launch_blocks(module, f"{name}_{suffix}", stop - start, room, *before, after=args)
