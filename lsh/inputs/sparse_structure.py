"""Checks that the parts of a sparse matrix fit one another, made before one part is read by another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..kernels import checks
from ..support.backend import Backend, as_array, backend_of, read_only, to_host
from .columns import refuse_masked

__all__ = ["CsrParts", "check_coo", "check_offsets", "csr_parts"]

#: Number of rows that are worth a thread of their own.
_ROWS_BLOCK = 1 << 16


class CsrParts(NamedTuple):
    """A CSR matrix whose parts fit one another."""

    matrix: Any
    #: Its offsets.
    indptr: NDArray[np.int64]
    #: Number of column indices that are not above the one before in their row.
    n_falls: int
    #: Where it lies.
    backend: Backend


def csr_parts(X: Any, name: str) -> CsrParts:
    """Return `X` as a CSR matrix whose parts fit one another, and what was found out about it.

    A CSR matrix that fits is not copied. SciPy and CuPy check this in part, and only when a matrix is made.
    Its parts can be replaced and written to afterwards, and slices and conversions then read and write
    outside the arrays. Entries may still be unsorted, repeated or 0.

    Time: one pass over the indices of CSR, 0.1 to 0.5 ns each.

    Raises
    ------
    TypeError, ValueError
        If `X` is no sparse matrix of real numbers, or one of its parts contradicts another.
    """
    if not hasattr(X, "tocsr"):
        raise TypeError(f"{name} must be a SciPy sparse matrix, got {type(X).__name__}")
    if X.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (n, features), got a {X.ndim}-D sparse array")
    for part in ("data", "indices", "indptr", "row", "col", "offsets"):
        given = getattr(X, part, None)
        if isinstance(given, (list, tuple)):
            raise TypeError(f"{name}.{part} must be an array, got {type(given).__name__}")
        refuse_masked(given, f"{name}.{part}")
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {X.dtype}")
    check = _CHECKS.get(getattr(X, "format", "csr"))
    if check is not None:
        check(X, name)
    matrix = X.tocsr()
    own, data = (matrix.data, matrix.indices, matrix.indptr), as_array(matrix.data)
    parts = _check_compressed(name, matrix.indptr, matrix.indices, data.shape, *X.shape)
    indices, n_stored = parts.indices, int(parts.indptr[-1])
    if n_stored < data.size:  # room that was left behind the last entry
        data, indices = data[:n_stored], indices[:n_stored]
    if any(a is not b for a, b in zip(own, (data, indices, parts.indptr), strict=True)):
        matrix = type(matrix)((data, indices, parts.indptr), shape=X.shape)
    return CsrParts(matrix, parts.wide_indptr, parts.n_falls, parts.backend)


def check_offsets(offsets: NDArray[np.int64], n_values: int, name: str) -> None:
    """Refuse offsets that do not rise from 0 to `n_values`."""
    if offsets.ndim != 1 or offsets.size == 0:
        raise ValueError(f"{name} must be 1-D with at least one entry, got shape {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != n_values or bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(
            f"{name} must rise from 0 to {n_values} (the number of tokens), got {offsets[0]} to {offsets[-1]}"
        )


def _integers(part: Any, name: str) -> NDArray[Any]:
    """Return offsets or indices as int32 or int64 in C order."""
    array = as_array(part)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"{name} must have 1-D integer indices and offsets, got dtype {array.dtype} and shape "
            f"{array.shape}"
        )
    dtype = array.dtype if array.dtype in (np.dtype(np.int32), np.dtype(np.int64)) else np.dtype(np.int64)
    return backend_of(array).xp.ascontiguousarray(array, dtype=dtype)


class _Compressed(NamedTuple):
    """Offsets and indices of compressed rows that fit one another, as int32 or int64 in C order."""

    indptr: NDArray[Any]
    wide_indptr: NDArray[np.int64]
    indices: NDArray[Any]
    n_falls: int
    backend: Backend


def _check_compressed(
    name: str, indptr: Any, indices: Any, stored: tuple[int, ...], n: int, n_columns: int
) -> _Compressed:
    """Read `n` compressed rows; ValueError if they contradict the stored values' shape or the width."""
    indptr, indices = _integers(indptr, name), _integers(indices, name)
    wide, backend = indptr.astype(np.int64, copy=False), backend_of(indices)
    if stored != indices.shape:
        raise ValueError(f"{name}.data must have shape {indices.shape}, as its indices, got shape {stored}")
    if wide.size != n + 1 or int(wide[0]) != 0:
        raise ValueError(
            f"{name}.indptr must have {n + 1} entries, the first 0, got {wide.size}"
            + (f", the first {int(wide[0])}" if wide.size else "")
        )
    kernel = partial(backend.kernels(checks).count_falls, read_only(wide), read_only(indices), n_columns)
    falls = backend.map_blocks(kernel, n, _ROWS_BLOCK)
    if checks.MALFORMED in falls:
        _refuse_contradiction(name, backend.xp, wide, indices, n_columns)
    return _Compressed(indptr, wide, indices, sum(falls), backend)


def _refuse_contradiction(
    name: str, xp: Any, indptr: NDArray[np.int64], indices: NDArray[Any], n_columns: int
) -> NoReturn:
    bad = (indptr[1:] < indptr[:-1]) | (indptr[1:] > indices.size)
    if bool(bad.any()):
        row = int(xp.flatnonzero(bad)[0])
        raise ValueError(
            f"{name}.indptr must not fall and lie in [0, {indices.size}], the number of {name}.indices, got "
            f"{int(indptr[row])} to {int(indptr[row + 1])} for row {row}"
        )
    stored = indices[: int(indptr[-1])]
    raise ValueError(
        f"{name}.indices must lie in [0, {n_columns}), got {int(stored.min())} to {int(stored.max())}"
    )


# -- formats that are converted: SciPy's conversions do not check them ------------------------------------


def _check_csc(X: Any, name: str) -> None:
    _check_compressed(name, X.indptr, X.indices, as_array(X.data).shape, *X.shape[::-1])


def _check_bsr(X: Any, name: str) -> None:
    blocks = as_array(X.data).shape
    if len(blocks) != 3 or 0 in blocks[1:] or X.shape[0] % blocks[1] or X.shape[1] % blocks[2]:
        raise ValueError(f"{name}.data must hold blocks that tile {X.shape}, got shape {blocks}")
    n, n_columns = X.shape[0] // blocks[1], X.shape[1] // blocks[2]
    _check_compressed(name, X.indptr, X.indices, blocks[:1], n, n_columns)


def check_coo(X: Any, name: str) -> None:
    """Refuse a COO matrix whose places lie outside it, or differ from its values in number."""
    data = as_array(X.data)
    for part, given, limit in (("row", X.row, X.shape[0]), ("col", X.col, X.shape[1])):
        places = _integers(given, name)
        if places.shape != data.shape:
            raise ValueError(
                f"{name}.{part} must have shape {data.shape}, as {name}.data, got shape {places.shape}"
            )
        if places.size and (int(places.min()) < 0 or int(places.max()) >= limit):
            raise ValueError(
                f"{name}.{part} must lie in [0, {limit}), got {int(places.min())} to {int(places.max())}"
            )


def _check_dia(X: Any, name: str) -> None:
    offsets, shape = _integers(X.offsets, name), as_array(X.data).shape
    if len(shape) != 2 or shape[0] != offsets.size or np.unique(to_host(offsets)).size != offsets.size:
        raise ValueError(
            f"{name}.data must have a row for each of {offsets.size} distinct diagonals, got shape {shape}"
        )


def _check_lil(X: Any, name: str) -> None:
    columns, values = list(map(len, X.rows)), list(map(len, X.data))
    if len(columns) != X.shape[0] or columns != values:
        raise ValueError(f"{name}.rows and {name}.data must have {X.shape[0]} lists of equal lengths each")
    places = np.array([place for row in X.rows for place in row])
    if places.size and (places.dtype.kind not in "iu" or places.min() < 0 or places.max() >= X.shape[1]):
        raise ValueError(f"{name}.rows must hold columns in [0, {X.shape[1]}), got others")


def _check_dok(X: Any, name: str) -> None:
    places = np.array(list(X.keys()), np.int64).reshape(-1, 2)
    if ((places < 0) | (places >= X.shape)).any():
        raise ValueError(f"{name} must have places within {X.shape}, got {places.min(0)} to {places.max(0)}")


_CHECKS: dict[str, Callable[[Any, str], None]] = {
    "csc": _check_csc,
    "bsr": _check_bsr,
    "coo": check_coo,
    "dia": _check_dia,
    "lil": _check_lil,
    "dok": _check_dok,
}
