"""Launchers of ``hadamard.cu``."""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from .launch import SHARED, check_array, constant, launch

__all__ = ["hadamard_signs_csr", "hadamard_signs_dense"]

#: Coordinates that share a mask of 16 bits.
_WIDTH = 16
_MOST_BLOCKS, _MEMORY = 4096, 1 << 30


def _signs(
    name: str, rows: tuple[Any, ...], masks: Any, n_hashes: int, power: int, start: int, stop: int, out: Any
) -> None:
    check_array("out", out, np.uint32, shape=(None, n_hashes))
    blocks, size = masks.shape[0], masks.shape[1] // 3 * _WIDTH
    room = 4 * (size + -(-n_hashes * power // 32))
    in_shared = room <= SHARED
    launched = min(stop - start, _MOST_BLOCKS if in_shared else max(1, min(_MOST_BLOCKS, _MEMORY // room)))
    memory = cupy.empty(0 if in_shared else max(0, launched) * room, np.uint8)
    launch(
        "hadamard",
        name,
        stop - start,
        *rows,
        constant(masks),
        *(blocks, size, n_hashes, power, start, stop, np.bool_(in_shared), memory, out),
        blocks=launched,
        shared=room if in_shared else 0,
    )


def hadamard_signs_dense(
    X: Any, masks: Any, n_hashes: int, power: int, start: int, stop: int, out: Any
) -> None:
    """Codes of rows: bit k of code h is the sign of coordinate ``k * n_hashes + h`` of the rotations."""
    check_array("X", X, np.float32, np.float64, shape=(None, None))
    name = f"hadamard_signs_dense_{X.dtype.name}"
    _signs(name, (X, X.shape[1]), masks, n_hashes, power, start, stop, out)


def hadamard_signs_csr(
    indptr: Any,
    indices: Any,
    data: Any,
    masks: Any,
    n_hashes: int,
    power: int,
    start: int,
    stop: int,
    out: Any,
) -> None:
    """`hadamard_signs_dense` for sparse rows."""
    check_array("indptr", indptr, np.int64, shape=(None,))
    check_array("indices", indices, np.int32, np.int64, shape=(None,))
    check_array("data", data, np.float32, np.float64, shape=indices.shape)
    name = f"hadamard_signs_csr_{data.dtype.name}_{indices.dtype.name}"
    _signs(name, (indptr, indices, data), masks, n_hashes, power, start, stop, out)
