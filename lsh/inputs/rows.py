"""Rows that have been read: checked once, counted, and cut into blocks without another check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..support.backend import Backend, read_only
from ..support.lazy import lazy
from ..support.wording import counted
from .arrays import check_finite, float_dtype, read_matrix
from .sparse_structure import csr_parts

__all__ = ["CsrArrays", "DenseRows", "Rows", "SparseRows", "VectorRows", "read_rows"]

#: ``(indptr, indices, data)`` of sparse rows.
CsrArrays = tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]


class Rows(ABC):
    """Rows that have been read, as `HashFamily.read_rows` returns them; they do not change.

    Attributes
    ----------
    n : int
        Number of rows.
    form : str
        "dense", "csr", "sets", or "raw" for rows that a family checks itself.
    backend : Backend
        Where the rows lie.
    arrays : tuple of ndarray
        The rows as kernels take them, as views that cannot be written to. The caller's arrays are used where
        they are fit for that. Others are converted at the first use of the attribute: to convert a large
        batch block by block, cut it first.
    """

    form: ClassVar[str]
    n: int
    backend: Backend

    @property
    @abstractmethod
    def arrays(self) -> tuple[NDArray[Any], ...]: ...

    @abstractmethod
    def cut(self, start: int, stop: int) -> Any:
        """Return the rows [start, stop) without copying or checking them: `Rows`, or a slice of raw rows."""


class VectorRows(Rows):
    """Rows of finite numbers, of form "dense" or "csr".

    Attributes
    ----------
    width : int
        Number of columns.
    dense : ndarray of shape (n, width), float32 or float64
        The rows as a matrix, made of sparse ones where needed.
    values : ndarray
        All numbers, or those that sparse rows store, in the caller's dtype.
    csr : tuple of ndarray
        The rows as ``(indptr, indices, data)``, made of dense ones where needed, and then without zeros.
    """

    width: int
    values: NDArray[Any]

    @abstractmethod
    def cut(self, start: int, stop: int) -> VectorRows: ...

    @property
    @abstractmethod
    def dense(self) -> NDArray[Any]: ...

    @property
    @abstractmethod
    def csr(self) -> CsrArrays: ...


class DenseRows(VectorRows):
    """Rows of a matrix; ``arrays`` is the matrix in C order, of float32 or float64."""

    form = "dense"

    def __init__(self, values: NDArray[Any], dtype: np.dtype[Any], backend: Backend) -> None:
        self.values, self.dtype, self.backend = values, dtype, backend
        self.n, self.width = values.shape

    @lazy
    def arrays(self) -> tuple[NDArray[Any]]:
        return (read_only(self.backend.xp.ascontiguousarray(self.values, dtype=self.dtype)),)

    def cut(self, start: int, stop: int) -> DenseRows:
        return DenseRows(self.values[start:stop], self.dtype, self.backend)

    @property
    def dense(self) -> NDArray[Any]:
        return self.arrays[0]

    @lazy
    def csr(self) -> CsrArrays:
        dense, xp = self.dense, self.backend.xp
        rows, columns = xp.nonzero(dense)
        indptr = xp.zeros(self.n + 1, np.int64)
        indptr[1:] = xp.cumsum(xp.count_nonzero(dense, axis=1))
        values = dense[rows, columns]
        if xp is np and self.width < 1 << 31:
            # Kernels are compiled for the indices of most sparse matrices, which are int32.
            columns = columns.astype(np.int32)
        return read_only(indptr), read_only(xp.ascontiguousarray(columns)), read_only(values)


class SparseRows(VectorRows):
    """Rows of a CSR matrix whose column indices rise within each row.

    ``arrays`` are its offsets as int64, its indices as int32 or int64, and its values.
    """

    form = "csr"

    def __init__(self, parts: CsrArrays, width: int, backend: Backend) -> None:
        self.parts, self.width, self.backend = parts, width, backend
        self.n, self.values = parts[0].size - 1, parts[2]

    @lazy
    def arrays(self) -> CsrArrays:
        indptr, indices, data = self.parts
        data = self.backend.xp.ascontiguousarray(data, dtype=float_dtype(data.dtype))
        return read_only(indptr), read_only(indices), read_only(data)

    def cut(self, start: int, stop: int) -> SparseRows:
        indptr, indices, data = self.parts
        offsets = indptr[start : stop + 1]
        part = slice(int(offsets[0]), int(offsets[-1]))
        return SparseRows((offsets - part.start, indices[part], data[part]), self.width, self.backend)

    @lazy
    def dense(self) -> NDArray[Any]:
        (indptr, indices, data), xp = self.arrays, self.backend.xp
        matrix: NDArray[Any] = xp.zeros((self.n, self.width), data.dtype)
        matrix[xp.searchsorted(indptr, xp.arange(data.size), side="right") - 1, indices] = data
        return read_only(matrix)

    @property
    def csr(self) -> CsrArrays:
        return self.arrays


def read_rows(X: Any, n_features: int | None = None, name: str = "X") -> VectorRows:
    """Read rows of finite numbers: a dense matrix, or a SciPy or CuPy sparse one.

    Parameters
    ----------
    X : array_like or sparse matrix of shape (n, n_features), or Rows
        Rows that have been read are returned as they are.
    n_features : int, optional
        Width that the rows must have.
    name : str
        Name of the argument in messages.

    Returns
    -------
    VectorRows
        Of float32 or float64, which are kept. Other real dtypes (integers, booleans, float16) become float32
        where that is exact for their range, and float64 otherwise. Sparse rows that are unsorted, or have
        several entries of one column, are put right in a copy; entries of one column add up, as in SciPy.

    Raises
    ------
    TypeError, ValueError
        If `X` holds no real numbers, NaN or infinity, has another width, or parts that contradict each other.
    """
    if isinstance(X, VectorRows):
        if n_features is not None and X.width != n_features:
            raise ValueError(f"{name} must have {n_features} columns, got {X.width}")
        return X
    if hasattr(X, "tocsr"):
        return _read_sparse(X, n_features, name)
    return DenseRows(*read_matrix(X, n_features, name))


def _read_sparse(X: Any, n_features: int | None, name: str) -> SparseRows:
    matrix, indptr, n_falls, backend = csr_parts(X, name)
    width = int(matrix.shape[1])
    if n_features is not None and width != n_features:
        raise ValueError(f"{name} must have {counted(n_features, 'column')}, got {width}")
    xp = backend.xp
    if n_falls:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        indptr = xp.ascontiguousarray(matrix.indptr, dtype=np.int64)
    check_finite(f"{name}.data", matrix.data, backend)
    return SparseRows((indptr, xp.ascontiguousarray(matrix.indices), matrix.data), width, backend)
