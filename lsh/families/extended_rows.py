"""Rows with one more coordinate, made block by block; see `lsh.kernels.inner_product`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.rows import DenseRows, SparseRows, VectorRows
from ..kernels import inner_product
from ..support.threads import cut_range

__all__ = ["UNBOUNDED", "Extension", "extended_blocks", "relative_norms"]

#: Width that stands for rows of hashed projections, which have any width. New columns are the last of all.
UNBOUNDED = 2**63 - 1
#: Number of rows of a dense block, which is that of the projections' kernels, and its number of numbers.
_ROWS, _DENSE_NUMBERS = 192, {"cpu": 1 << 20, "gpu": 1 << 26}
#: Number of numbers of a sparse block.
_NUMBERS = 1 << 18
#: Number of numbers whose squares are worth a thread of their own.
_NUMBERS_BLOCK = 1 << 20


class Extension(NamedTuple):
    """A coordinate in `column` of `width` that brings rows to the length `bound`; with bound 0 it is 0."""

    bound: float
    column: int
    width: int


def relative_norms(rows: VectorRows, bound: float) -> NDArray[np.float64]:
    """Return the Euclidean norms of the rows over the bound."""
    backend, arrays = rows.backend, rows.arrays
    norms, kernels = backend.xp.empty(rows.n), backend.kernels(inner_product)
    kernel = kernels.relative_norms_dense if rows.form == "dense" else kernels.relative_norms_csr
    block = max(1, _NUMBERS_BLOCK // (1 + arrays[-1].size // max(1, rows.n)))
    backend.map_blocks(lambda a, b: kernel(*arrays, bound, a, b, norms), rows.n, block)
    return norms


def extended_blocks(
    rows: VectorRows, extension: Extension, start: int, stop: int, norms: NDArray[np.float64]
) -> Iterator[tuple[int, int, VectorRows]]:
    """Yield the rows [start, stop) extended, as ``(left, right, rows left to right)``; set their `norms`.

    A block is valid until the next one is asked for. `norms` are relative to the bound.
    """
    if rows.form == "dense" and extension.width != UNBOUNDED:
        yield from _dense_blocks(rows, extension, start, stop, norms)
        return
    for left, right in _sparse_ranges(rows, start, stop):
        yield left, right, _extend_sparse(rows, extension, left, right, norms)


def _dense_blocks(
    rows: VectorRows, extension: Extension, start: int, stop: int, norms: NDArray[np.float64]
) -> Iterator[tuple[int, int, VectorRows]]:
    bound, column, width = extension
    backend, (X,) = rows.backend, rows.arrays
    size = min(stop - start, max(1, _DENSE_NUMBERS[backend.device] // width))
    if backend.device == "cpu":
        size = min(_ROWS, size)
    # All blocks share one array: allocating a new one takes longer than filling it.
    block = backend.xp.empty((size, width))
    for left, right in cut_range(start, stop, size):
        part = block[: right - left]
        backend.kernels(inner_product).extend_rows_dense(X, bound, column, left, right, part, norms)
        yield left, right, DenseRows(part, part.dtype, backend)


def _sparse_ranges(rows: VectorRows, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that have `_NUMBERS` numbers at most, or are one row."""
    if rows.backend.device == "gpu":
        # One block takes twice the memory. Smaller ones would wait for the device at each row.
        yield start, stop
        return
    while start < stop:
        if rows.form == "dense":
            end = start + _NUMBERS // max(1, rows.width)
        else:
            indptr = rows.arrays[0]
            end = int(np.searchsorted(indptr, indptr[start] + _NUMBERS, "right")) - 1
        end = min(max(end, start + 1), stop)
        yield start, end
        start = end


def _extend_sparse(
    rows: VectorRows, extension: Extension, left: int, right: int, norms: NDArray[np.float64]
) -> SparseRows:
    """Return the rows [left, right) extended, as sparse rows."""
    backend, n = rows.backend, right - left
    bound, column, width = extension
    if rows.form == "dense":
        rows, left, right, norms = rows.cut(left, right), 0, n, norms[left:right]
    indptr, indices, data = rows.csr
    size = int(indptr[right] - indptr[left]) + n
    dtype = indices.dtype if column <= np.iinfo(indices.dtype).max else np.int64
    xp = backend.xp
    if backend.device == "gpu":
        indices = indices.astype(dtype, copy=False)  # all rows are one block there
    extended = xp.empty(n + 1, np.int64), xp.empty(size, dtype), xp.empty(size)
    backend.kernels(inner_product).extend_rows_csr(
        indptr, indices, data, bound, column, left, right, extended, norms
    )
    return SparseRows(extended, width, backend)
