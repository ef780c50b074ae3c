"""Rows of numbers, dense or sparse, checked once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ..support.backend import backend_of, device_of
from .arrays import check_dense, check_finite
from .sparse_structure import csr_parts

__all__ = ["Rows", "check_csr", "check_rows", "sparse_of"]


def check_csr(
    X: Any, n_features: int | None = None, name: str = "X"
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """``(indptr, indices, data)`` of a SciPy sparse matrix, rows sorted and free of duplicates.

    Unsorted rows and duplicate entries (which add up, as in SciPy) are put right on a copy.
    `indptr` comes back as int64, `indices` as int32 or int64, `data` as float32 or float64.
    """
    matrix, indptr, falls = csr_parts(X, name)
    if n_features is not None and matrix.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {matrix.shape[1]}")
    xp = backend_of(matrix.data).xp
    if falls:
        matrix = matrix.copy()
        matrix.sum_duplicates()
        indptr = xp.ascontiguousarray(matrix.indptr, dtype=np.int64)
    indices, data = matrix.indices, matrix.data
    if data.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        data = data.astype(np.float32 if data.dtype.itemsize <= 2 else np.float64)
    data = xp.ascontiguousarray(data)
    check_finite(f"{name}.data", data)
    return indptr, xp.ascontiguousarray(indices), data


class Rows(NamedTuple):
    """Checked rows, dense or sparse."""

    n: int
    dense: NDArray[Any] | None
    csr: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]] | None

    @property
    def place(self) -> NDArray[Any]:
        """An array that lies where all of them do."""
        return self.dense if self.csr is None else self.csr[2]  # type: ignore[return-value]

    def sparse(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """The rows as CSR arrays, made of dense ones if need be."""
        return self.csr if self.csr is not None else sparse_of(self.place)


def sparse_of(dense: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Dense rows as CSR arrays, where they live."""
    if device_of(dense) == "cpu":
        matrix = scipy.sparse.csr_array(dense)
        return matrix.indptr.astype(np.int64), matrix.indices, matrix.data
    xp = backend_of(dense).xp
    rows, columns = xp.nonzero(dense)
    indptr = xp.zeros(len(dense) + 1, np.int64)
    indptr[1:] = xp.cumsum(xp.count_nonzero(dense, axis=1))
    return indptr, xp.ascontiguousarray(columns), dense[rows, columns]


def check_rows(X: Any, n_features: int | None, name: str = "X") -> Rows:
    """Dense rows as float32 or float64, sparse ones as CSR with rising indices; checked ones as they are."""
    if isinstance(X, Rows):
        return X
    if hasattr(X, "tocsr"):
        csr = check_csr(X, n_features, name)
        return Rows(csr[0].size - 1, None, csr)
    dense = check_dense(X, n_features, name)
    return Rows(dense.shape[0], dense, None)
