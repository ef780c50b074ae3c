"""Rows that have been read: checked once, counted, and cut into blocks without another check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ..support.backend import Backend, backend_of
from ..support.lazy import lazy
from .arrays import check_finite, check_matrix, float_dtype
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
        The rows as kernels take them. The caller's arrays are used where they are fit for that. Others are
        converted at the first use of the attribute: to convert a large batch block by block, cut it first.
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
    dtype : dtype
        float32 or float64, which the values have in ``arrays``.
    """

    width: int
    dtype: np.dtype[Any]

    @abstractmethod
    def cut(self, start: int, stop: int) -> VectorRows: ...

    @abstractmethod
    def csr(self) -> CsrArrays:
        """Return the rows as ``(indptr, indices, data)``; those made of dense rows have no zeros."""


class DenseRows(VectorRows):
    """Rows of a matrix, of any real dtype and memory order; ``arrays`` is the matrix in C order."""

    form = "dense"

    def __init__(self, matrix: NDArray[Any], dtype: np.dtype[Any], backend: Backend) -> None:
        self.matrix, self.dtype, self.backend = matrix, dtype, backend
        self.n, self.width = matrix.shape

    @lazy
    def arrays(self) -> tuple[NDArray[Any], ...]:
        return (self.backend.xp.ascontiguousarray(self.matrix, dtype=self.dtype),)

    def cut(self, start: int, stop: int) -> DenseRows:
        return DenseRows(self.matrix[start:stop], self.dtype, self.backend)

    def csr(self) -> CsrArrays:
        (dense,), xp = self.arrays, self.backend.xp
        if xp is np:
            matrix = scipy.sparse.csr_array(dense)
            return matrix.indptr.astype(np.int64), matrix.indices, matrix.data
        rows, columns = xp.nonzero(dense)
        indptr = xp.zeros(self.n + 1, np.int64)
        indptr[1:] = xp.cumsum(xp.count_nonzero(dense, axis=1))
        return indptr, xp.ascontiguousarray(columns), dense[rows, columns]


class SparseRows(VectorRows):
    """Rows of a CSR matrix whose column indices rise within each row.

    ``arrays`` are its offsets as int64, its indices as int32 or int64, and its values.
    """

    form = "csr"

    def __init__(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[Any],
        data: NDArray[Any],
        width: int,
        dtype: np.dtype[Any],
        backend: Backend,
    ) -> None:
        self.indptr, self.indices, self.data = indptr, indices, data
        self.width, self.dtype, self.backend = width, dtype, backend
        self.n = indptr.size - 1

    @lazy
    def arrays(self) -> CsrArrays:
        return self.indptr, self.indices, self.backend.xp.ascontiguousarray(self.data, dtype=self.dtype)

    def cut(self, start: int, stop: int) -> SparseRows:
        offsets = self.indptr[start : stop + 1]
        part = slice(int(offsets[0]), int(offsets[-1]))
        indices, data = self.indices[part], self.data[part]
        return SparseRows(offsets - part.start, indices, data, self.width, self.dtype, self.backend)

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
        return X
    if hasattr(X, "tocsr"):
        return _read_sparse(X, n_features, name)
    matrix = check_matrix(X, n_features, name)
    backend, dtype = backend_of(matrix), float_dtype(matrix.dtype)
    check_finite(name, matrix, backend)
    return DenseRows(matrix, dtype, backend)


def _read_sparse(X: Any, n_features: int | None, name: str) -> SparseRows:
    matrix, indptr, n_falls, backend = csr_parts(X, name)
    width = int(matrix.shape[1])
    if n_features is not None and width != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {width}")
    xp = backend.xp
    if n_falls:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        indptr = xp.ascontiguousarray(matrix.indptr, dtype=np.int64)
    data = matrix.data
    check_finite(f"{name}.data", data, backend)
    return SparseRows(
        indptr, xp.ascontiguousarray(matrix.indices), data, width, float_dtype(data.dtype), backend
    )
