"""Sets of tokens: the columns of sparse rows, ``(tokens, offsets)``, or lists of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.backend import backend_of, device_of
from ..support.checks import NO_INTEGERS
from .arrays import check_array, refuse_flags
from .sparse_structure import check_offsets, csr_parts

__all__ = ["check_sets"]


def _without_zeros(matrix: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns and offsets of a CSR matrix less the zeros that it stores."""
    if device_of(matrix.data) == "cpu":
        matrix = matrix.copy()
        matrix.eliminate_zeros()
        return matrix.indices, matrix.indptr
    # CuPy drops zeros by a function of cuSPARSE, which does not take booleans.
    kept, xp = matrix.data != 0, backend_of(matrix.data).xp
    before = xp.zeros(kept.size + 1, np.int64)
    before[1:] = xp.cumsum(kept)
    return matrix.indices[kept], before[matrix.indptr]


def _token_row(name: str, row: Any) -> NDArray[Any]:
    """One set as an array; lists with integers beyond int64, of which NumPy makes floats, modulo 2**64."""
    array = check_array(name, row)
    if isinstance(row, (list, tuple)) and array.dtype.kind in "fO":
        types = set(map(type, row))
        is_integer = all(issubclass(t, (int, np.integer)) and not issubclass(t, NO_INTEGERS) for t in types)
        if is_integer and all(-(1 << 63) <= int(token) < 1 << 64 for token in row):
            return np.array([int(token) % (1 << 64) for token in row], dtype=np.uint64)
    return array


def check_sets(
    X: Any, name: str = "X", *, keep_int32: bool = False
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Sets as ``(tokens, offsets)``: row i is ``tokens[offsets[i]:offsets[i + 1]]``.

    Accepts a SciPy sparse matrix (the columns of its non-zero entries), a pair
    ``(tokens, offsets)``, or a list of integer arrays. Tokens are any 64-bit integers; negative ones
    are taken modulo 2**64. Order and repetition within a row do not matter to a set, so neither is
    checked.

    Tokens come back as uint64; with `keep_int32`, for kernels that widen tokens themselves, those of
    int32 (the columns of most sparse matrices) stay as they are and are not copied.
    """
    if hasattr(X, "tocsr"):
        matrix, _, falls = csr_parts(X, name)
        if falls and bool((matrix.data < 0).any()):  # entries of one place may add up to 0
            matrix = matrix.copy()
            matrix.sum_duplicates()
        blocks = backend_of(matrix.data).map_blocks
        if not all(blocks(lambda a, b: bool((matrix.data[a:b] != 0).all()), matrix.data.size, 1 << 20)):
            tokens, offsets = _without_zeros(matrix)
        else:
            tokens, offsets = matrix.indices, matrix.indptr
    elif isinstance(X, tuple) and len(X) == 2:
        tokens, offsets = check_array(f"{name} tokens", X[0]), check_array(f"{name} offsets", X[1])
        if device_of(tokens) != device_of(offsets):
            raise TypeError(f"{name} must be tokens and offsets of one device, got one of each")
        if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
            raise TypeError(
                f"{name} must hold a 1-D array of integer tokens, got dtype {tokens.dtype} and shape "
                f"{tokens.shape}"
            )
        if offsets.dtype.kind not in "iu":
            raise TypeError(f"{name} must have integer offsets, got dtype {offsets.dtype}")
        check_offsets(offsets, tokens.size, f"{name} offsets")
    elif isinstance(X, (list, tuple)):
        if any(device_of(row) == "gpu" for row in X):
            raise TypeError(f"{name} must be a pair (tokens, offsets) on a GPU, got a {type(X).__name__}")
        rows = [_token_row(f"{name}[{i}]", row) for i, row in enumerate(X)]
        for i, row in enumerate(rows):
            if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
                raise TypeError(
                    f"{name}[{i}] must be a 1-D array of integers, got dtype {row.dtype} and shape "
                    f"{row.shape}"
                )
            refuse_flags(f"{name}[{i}]", X[i])
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([row.size for row in rows], out=offsets[1:])
        full = [row.astype(np.uint64, copy=False) for row in rows if row.size]
        tokens = np.concatenate(full) if full else np.empty(0, dtype=np.uint64)
    else:
        raise TypeError(
            f"{name} must be a SciPy sparse matrix, a pair (tokens, offsets) or a list of integer "
            f"arrays, got {type(X).__name__}"
        )
    xp = backend_of(tokens).xp
    offsets = xp.ascontiguousarray(offsets, dtype=np.int64)
    if not (keep_int32 and tokens.dtype == np.int32):
        tokens = tokens.astype(np.uint64, copy=False)
    return xp.ascontiguousarray(tokens), offsets
