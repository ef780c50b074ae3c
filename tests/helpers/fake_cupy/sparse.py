"""Sparse matrices of the stand-in: SciPy's, as far as sketches use them."""

from __future__ import annotations

from typing import Any

import cupy
from scipy import sparse as _sparse


class csr_matrix:
    ndim = 2

    def __init__(self, matrix: Any, shape: tuple[int, int] | None = None) -> None:
        if isinstance(matrix, tuple):
            matrix = tuple(part.get() for part in matrix)
        self._matrix = _sparse.csr_matrix(matrix, shape=shape)
        if self._matrix.dtype.char not in "?fdFD":
            raise ValueError("Only bool, float32, float64, complex64 and complex128 are supported")

    @property
    def shape(self) -> tuple[int, int]:
        return self._matrix.shape

    @property
    def dtype(self) -> Any:
        return self._matrix.dtype

    @property
    def data(self) -> Any:
        return cupy.ndarray._of(self._matrix.data)

    @data.setter
    def data(self, part: Any) -> None:
        self._matrix.data = part.get()

    @property
    def indices(self) -> Any:
        return cupy.ndarray._of(self._matrix.indices)

    @indices.setter
    def indices(self, part: Any) -> None:
        self._matrix.indices = part.get()

    @property
    def indptr(self) -> Any:
        return cupy.ndarray._of(self._matrix.indptr)

    @indptr.setter
    def indptr(self, part: Any) -> None:
        self._matrix.indptr = part.get()

    def tocsr(self) -> csr_matrix:
        return self

    def toarray(self) -> Any:
        return cupy.ndarray._of(self._matrix.toarray())

    def copy(self) -> csr_matrix:
        return csr_matrix(self._matrix.copy())

    def sum_duplicates(self) -> None:
        self._matrix.sum_duplicates()

    def eliminate_zeros(self) -> None:
        if self.dtype == bool:
            raise ValueError("unsupported dtype")
        self._matrix.eliminate_zeros()

    def __getitem__(self, rows: slice) -> csr_matrix:
        return csr_matrix(self._matrix[rows])
