"""Sparse matrices whose parts fit one another: looked at before anything reads one part by another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..kernels import checks
from ..support.backend import Backend, as_array, backend_of, read_only, to_host

__all__ = ["CsrParts", "check_coo", "check_offsets", "check_sparse", "csr_parts"]

#: Rows that are worth a thread of their own.
_ROWS_BLOCK = 1 << 16


def check_sparse(X: Any, name: str) -> Any:
    """Return `X` as a CSR matrix of real numbers whose parts fit one another: itself, if it is one.

    SciPy and CuPy see to that in part, and only where a matrix is made: its parts can be replaced and
    written to, and slices and conversions read and write wherever these say. Entries may still be
    unsorted, repeated or 0.

    Time: one pass over the indices of CSR, 0.1 to 0.5 ns each.

    Raises
    ------
    TypeError, ValueError
        If `X` is no sparse matrix of real numbers, or one of its parts contradicts another.
    """
    return csr_parts(X, name).matrix


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
    """Return the matrix of `check_sparse`, and what was found out about it."""
    if not hasattr(X, "tocsr"):
        raise TypeError(f"{name} must be a SciPy sparse matrix, got {type(X).__name__}")
    if X.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (n, features), got a {X.ndim}-D sparse array")
    for part in ("data", "indices", "indptr", "row", "col", "offsets"):
        if isinstance(getattr(X, part, None), (list, tuple)):
            raise TypeError(f"{name}.{part} must be an array, got {type(getattr(X, part)).__name__}")
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {X.dtype}")
    check = _CHECKS.get(getattr(X, "format", "csr"))
    if check is not None:
        check(X, name)
    matrix, backend = X.tocsr(), backend_of(X)
    given = (matrix.data, matrix.indices, matrix.indptr)
    data, indices, indptr = as_array(given[0]), _integers(given[1], name), _integers(given[2], name)
    wide = indptr.astype(np.int64, copy=False)
    falls = _check_compressed(name, backend, wide, indices, data.shape, *X.shape)
    stored = int(wide[-1])
    if stored < data.size:  # room that was left behind the last entry
        data, indices = data[:stored], indices[:stored]
    if any(a is not b for a, b in zip(given, (data, indices, indptr), strict=True)):
        matrix = type(matrix)((data, indices, indptr), shape=X.shape)
    return CsrParts(matrix, wide, falls, backend)


def check_offsets(offsets: NDArray[np.int64], n_values: int, name: str) -> None:
    """Refuse offsets that do not rise from 0 to `n_values`."""
    if offsets.ndim != 1 or offsets.size == 0:
        raise ValueError(f"{name} must be 1-D with at least one entry, got shape {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != n_values or bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(
            f"{name} must rise from 0 to {n_values} (the number of tokens), got {offsets[0]} to {offsets[-1]}"
        )


def _integers(part: Any, name: str) -> NDArray[Any]:
    """Offsets or indices as int32 or int64 in C order."""
    array = as_array(part)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            f"{name} must have 1-D integer indices and offsets, got dtype {array.dtype} and shape "
            f"{array.shape}"
        )
    dtype = array.dtype if array.dtype in (np.dtype(np.int32), np.dtype(np.int64)) else np.dtype(np.int64)
    return backend_of(array).xp.ascontiguousarray(array, dtype=dtype)


def _check_compressed(
    name: str,
    backend: Backend,
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    stored: tuple[int, ...],
    n: int,
    n_columns: int,
) -> int:
    """Falls of the indices of `n` compressed rows; ValueError if they contradict offsets, values or width."""
    if stored != indices.shape:
        raise ValueError(f"{name}.data must have shape {indices.shape}, as its indices, got shape {stored}")
    if indptr.size != n + 1 or int(indptr[0]) != 0:
        raise ValueError(
            f"{name}.indptr must have {n + 1} entries, the first 0, got {indptr.size}"
            + (f", the first {int(indptr[0])}" if indptr.size else "")
        )
    kernel = partial(backend.kernels(checks).count_falls, read_only(indptr), read_only(indices), n_columns)
    falls = backend.map_blocks(kernel, n, _ROWS_BLOCK)
    if checks.MALFORMED in falls:
        _refuse_contradiction(name, backend.xp, indptr, indices, n_columns)
    return sum(falls)


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


# -- formats that are converted: SciPy's conversions trust them as blindly --------------------------------


def _check_csc(X: Any, name: str) -> None:
    indptr = _integers(X.indptr, name).astype(np.int64, copy=False)
    indices, stored = _integers(X.indices, name), as_array(X.data).shape
    _check_compressed(name, backend_of(X), indptr, indices, stored, *X.shape[::-1])


def _check_bsr(X: Any, name: str) -> None:
    indptr, indices = _integers(X.indptr, name).astype(np.int64, copy=False), _integers(X.indices, name)
    blocks = as_array(X.data).shape
    if len(blocks) != 3 or 0 in blocks[1:] or X.shape[0] % blocks[1] or X.shape[1] % blocks[2]:
        raise ValueError(f"{name}.data must hold blocks that tile {X.shape}, got shape {blocks}")
    n, n_columns = X.shape[0] // blocks[1], X.shape[1] // blocks[2]
    _check_compressed(name, backend_of(X), indptr, indices, blocks[:1], n, n_columns)


def check_coo(X: Any, name: str) -> None:
    """Refuse a COO matrix whose places and values are not as many, or lie outside it."""
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
