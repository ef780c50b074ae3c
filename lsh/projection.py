"""Projections of rows onto random vectors in blocks: what the families of angles and distances share."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backend import backend_of
from .family import HashFamily
from .lazy import lazy
from .threads import map_blocks, single_threaded_blas
from .validation import check_csr, check_dense

__all__ = ["ProjectionFamily", "Rows"]

#: Products that a thread holds at a time, 2 MB, but no fewer rows than make it worth BLAS's while to pack
#: the vectors anew for each block.
_BLOCK_VALUES = 1 << 19
_LEAST_ROWS = 512


class Rows(NamedTuple):
    """Checked rows, dense or sparse."""

    n: int
    dense: NDArray[Any] | None
    csr: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]] | None


def check_rows(X: Any, n_features: int | None) -> Rows:
    """Dense rows as float32 or float64, sparse ones as CSR with rising indices."""
    if hasattr(X, "tocsr"):
        csr = check_csr(X, n_features)
        return Rows(csr[0].size - 1, None, csr)
    dense = check_dense(X, n_features)
    return Rows(dense.shape[0], dense, None)


class ProjectionFamily(HashFamily):
    """A family whose hashes come from products of rows and ``n_values`` random vectors."""

    n_features: int
    power: int

    @property
    def n_values(self) -> int:
        """Products of a row: ``n_hashes * power``. Product ``k * n_hashes + h`` is the k-th of hash h."""
        return self.n_hashes * self.power

    @lazy
    def _vectors(self) -> NDArray[np.float32]:
        """The random vectors, shape (n_values, n_features)."""
        return self._draw_vectors()

    @lazy
    def _columns(self) -> NDArray[np.float32]:
        """The vectors transposed, for sparse rows; made when the first come."""
        return np.ascontiguousarray(self._vectors.T)

    @lazy
    def _vector_norms(self) -> NDArray[np.float64]:
        return np.sqrt(np.einsum("pd,pd->p", self._vectors, self._vectors, dtype=np.float64))

    @abstractmethod
    def _draw_vectors(self) -> NDArray[np.float32]: ...

    @abstractmethod
    def _finish(self, block: _Block, out: NDArray[np.uint32]) -> None:
        """Turn a block's products into codes."""

    def hash(self, X: Any) -> NDArray[np.uint32]:
        """Codes of the rows of `X`.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of shape (n, n_features)
            Finite numbers; float32 and float64 are used as they are.

        Returns
        -------
        ndarray of shape (n, n_hashes), uint32

        Raises
        ------
        TypeError, ValueError
            If `X` holds no real numbers, NaN or infinity, or has another width.
        """
        rows = check_rows(X, self.n_features)
        out = np.empty((rows.n, self.n_hashes), dtype=np.uint32)
        if rows.n == 0:
            return out
        kernels = backend_of(X)
        # Drawn here, for two threads would both draw them.
        vectors = self._vectors if rows.csr is None else self._columns
        assert vectors.size >= 0 and self._vector_norms.size == self.n_values
        step = max(_LEAST_ROWS, _BLOCK_VALUES // self.n_values)

        def run(start: int, stop: int) -> None:
            block = _Block(self, kernels, rows, min(step, stop - start))
            for left in range(start, stop, step):
                right = min(left + step, stop)
                block.project(left, right)
                self._finish(block, out[left:right])

        with single_threaded_blas():
            map_blocks(run, rows.n, min(step, 256))
        return out


class _Block:
    """A thread's working memory, and the products of the rows that it holds at the moment."""

    def __init__(self, family: ProjectionFamily, kernels: Any, rows: Rows, n_rows: int) -> None:
        self.family, self.kernels, self.rows = family, kernels, rows
        self.values = np.empty((n_rows, family.n_values), dtype=np.float32)
        self.scales, self.norms = np.empty(n_rows), np.empty(n_rows)
        # As long as all values, in case all are in doubt; what is not used is never touched.
        self.doubted_rows = np.empty(self.values.size, dtype=np.int32)
        self.doubted_places = np.empty(self.values.size, dtype=np.int32)
        if rows.dense is not None:
            self.scaled = np.empty((n_rows, family.n_features), dtype=np.float32)

    def project(self, start: int, stop: int) -> None:
        """Compute the products of the rows [start, stop) in float32."""
        self.start, self.n = start, stop - start
        family, kernels = self.family, self.kernels
        if self.rows.dense is not None:
            X = self.rows.dense
            kernels.scale_rows_dense(X, start, stop, self.scaled, self.scales, self.norms)
            np.matmul(self.scaled[: self.n], family._vectors.T, out=self.values[: self.n])
            terms = X.shape[1]
        else:
            assert self.rows.csr is not None
            indptr, indices, data = self.rows.csr
            scaled = np.empty(int(indptr[stop] - indptr[start]), dtype=np.float32)
            kernels.scale_rows_csr(indptr, data, start, stop, scaled, self.scales, self.norms)
            kernels.csr_products(indptr, indices, scaled, family._columns, start, stop, self.values)
            terms = int(np.diff(indptr[start : stop + 1]).max())
        # A float32 dot product of m terms in any order errs by at most m u / (1 - m u) times the product of
        # the norms, u = 2**-24 (Higham 2002, section 3.1), and with independent rounding errors by more
        # than 10 sqrt(m) u with probability below 1e-21 (Higham and Mary 2019, theorem 2.4). Four more u
        # for rounding the row and the limit.
        unit = (min(terms, 10.0 * math.sqrt(terms)) + 4) * 2.0**-24
        self.doubt = unit / (1.0 - unit) * self.norms[: self.n] if unit < 0.5 else np.full(self.n, np.inf)

    def exact(self, n: int) -> NDArray[np.float64]:
        """The float64 products of the first n listed places."""
        dots = np.empty(n)
        listed = (self.doubted_rows, self.doubted_places, n, dots)
        vectors = self.family._vectors
        if self.rows.dense is not None:
            self.kernels.exact_dots_dense(self.rows.dense, self.start, self.scales, vectors, *listed)
        else:
            assert self.rows.csr is not None
            self.kernels.exact_dots_csr(*self.rows.csr, self.start, self.scales, vectors, *listed)
        return dots
