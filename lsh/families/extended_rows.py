"""Rows that get one coordinate more, block by block: see `inner_product_kernels`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..inputs.rows import Rows, sparse_of
from ..kernels import inner_product
from ..support.backend import Backend, device_of

__all__ = ["UNBOUNDED", "Extension", "extended_blocks", "relative_norms"]

#: Width of rows of hashed projections, which have no last column: the new ones are the last of all.
UNBOUNDED = 2**63 - 1
#: Rows and numbers of a dense block: as many rows as the projections' kernels take at a time.
_ROWS, _DENSE_NUMBERS = 192, {"cpu": 1 << 20, "gpu": 1 << 26}
#: Numbers of a sparse block.
_NUMBERS = 1 << 18
#: Numbers whose squares are worth a thread of their own.
_NUMBERS_BLOCK = 1 << 20


class Extension(NamedTuple):
    """What rows get: in `column` of `width`, what they lack to the length `bound`, 0 for none."""

    bound: float
    column: int
    width: int


def relative_norms(backend: Backend, rows: Rows, bound: float) -> NDArray[np.float64]:
    """Euclidean norms of the rows over the bound."""
    norms = backend.xp.empty(rows.n)
    if rows.dense is not None:
        dense = rows.dense
        block = max(1, _NUMBERS_BLOCK // max(1, dense.shape[1]))
        backend.map_blocks(
            lambda a, b: backend.kernels(inner_product).relative_norms_dense(dense, bound, a, b, norms),
            rows.n,
            block,
        )
    else:
        assert rows.csr is not None
        csr = rows.csr
        block = max(1, _NUMBERS_BLOCK // (1 + csr[1].size // max(1, rows.n)))
        backend.map_blocks(
            lambda a, b: backend.kernels(inner_product).relative_norms_csr(*csr, bound, a, b, norms),
            rows.n,
            block,
        )
    return norms


def extended_blocks(
    backend: Backend, rows: Rows, extension: Extension, start: int, stop: int, norms: NDArray[np.float64]
) -> Iterator[tuple[int, int, Rows]]:
    """The rows [start, stop) extended, as ``(left, right, rows left to right)``; and their relative norms.

    A block is valid until the next one is asked for.
    """
    if rows.dense is not None and extension.width != UNBOUNDED:
        yield from _dense_blocks(backend, rows.dense, extension, start, stop, norms)
        return
    for left, right in _sparse_ranges(rows, start, stop):
        yield left, right, _extend_sparse(backend, rows, extension, left, right, norms)


def _dense_blocks(
    backend: Backend, X: NDArray[Any], extension: Extension, start: int, stop: int, norms: NDArray[np.float64]
) -> Iterator[tuple[int, int, Rows]]:
    bound, column, width = extension
    size = min(stop - start, max(1, _DENSE_NUMBERS[device_of(X)] // width))
    if device_of(X) == "cpu":
        size = min(_ROWS, size)
    # One array for all blocks: the system takes longer to hand out a new one than to fill it.
    block = backend.xp.empty((size, width))
    for left in range(start, stop, size):
        right = min(left + size, stop)
        part = block[: right - left]
        backend.kernels(inner_product).extend_rows_dense(X, bound, column, left, right, part, norms)
        yield left, right, Rows(right - left, part, None)


def _sparse_ranges(rows: Rows, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Ranges of as many rows as have so many numbers, and at least one."""
    if device_of(rows.place) == "gpu":
        # As many numbers more as there are: twice the memory, where asking row by row would wait each time.
        yield start, stop
        return
    while start < stop:
        if rows.csr is None:
            assert rows.dense is not None
            end = start + _NUMBERS // max(1, rows.dense.shape[1])
        else:
            indptr = rows.csr[0]
            end = int(np.searchsorted(indptr, indptr[start] + _NUMBERS, "right")) - 1
        end = min(max(end, start + 1), stop)
        yield start, end
        start = end


def _extend_sparse(
    backend: Backend, rows: Rows, extension: Extension, left: int, right: int, norms: NDArray[np.float64]
) -> Rows:
    """The rows [left, right), sparse."""
    csr, n = rows.csr, right - left
    bound, column, _ = extension
    if csr is None:
        assert rows.dense is not None
        csr = sparse_of(rows.dense[left:right])
        left, right, norms = 0, n, norms[left:right]
    indptr, indices, data = csr
    size = int(indptr[right] - indptr[left]) + n
    dtype = indices.dtype if column <= np.iinfo(indices.dtype).max else np.int64
    xp = backend.xp
    if device_of(data) == "gpu":
        indices = indices.astype(dtype, copy=False)  # all rows are one block there
    extended = xp.empty(n + 1, np.int64), xp.empty(size, dtype), xp.empty(size)
    backend.kernels(inner_product).extend_rows_csr(
        indptr, indices, data, bound, column, left, right, extended, norms
    )
    return Rows(n, None, extended)
