"""Projections of rows onto random vectors in blocks: what the families of angles and distances share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backend import backend_of
from .family import HashFamily
from .lazy import lazy
from .threads import map_blocks, single_threaded_blas
from .validation import check_csr, check_dense

__all__ = ["ProjectionFamily", "Rows"]

#: A thread works on tiles of this many rows and products: 1 MB of products, to be packed while in cache.
_TILE_ROWS = 512
_TILE_VALUES = 512
#: Features that are multiplied at a time, for the error bound of a product grows with their number.
_PART = 512
#: Rows that are worth a thread of their own.
_ROWS_BLOCK = 128


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
        """Turn the products of the block's rows into codes, tile by tile."""

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

        def run(start: int, stop: int) -> None:
            block = _Block(self, kernels, rows, min(_TILE_ROWS, stop - start))
            for left in range(start, stop, _TILE_ROWS):
                right = min(left + _TILE_ROWS, stop)
                block.take(left, right)
                self._finish(block, out[left:right])

        with single_threaded_blas():
            map_blocks(run, rows.n, _ROWS_BLOCK)
        return out


class _Block:
    """A thread's working memory, and the rows that it works on at the moment."""

    def __init__(self, family: ProjectionFamily, kernels: Any, rows: Rows, n_rows: int) -> None:
        self.family, self.kernels, self.rows = family, kernels, rows
        n_values = family.n_values
        # Tiles of one width, so that the last is not a sliver.
        tiles = -(-n_values // _TILE_VALUES)
        self.bounds = [n_values * t // tiles for t in range(tiles + 1)]
        self.width = -(-n_values // tiles)
        self.scales, self.norms = np.empty(n_rows), np.empty(n_rows)
        # As long as a tile, in case all are in doubt; what is not used is never touched.
        self.doubted_rows = np.empty(n_rows * self.width, dtype=np.int32)
        self.doubted_places = np.empty(n_rows * self.width, dtype=np.int32)
        self.memory = np.empty(n_rows * self.width, dtype=np.float32)
        if rows.dense is not None:
            features = family.n_features
            parts = -(-features // _PART)
            self.cuts = [features * c // parts for c in range(parts + 1)]
            self.parts = np.empty((parts - 1, n_rows, self.width), dtype=np.float32)
            self.scaled = np.empty((n_rows, features), dtype=np.float32)

    def take(self, start: int, stop: int) -> None:
        """Work on the rows [start, stop) from now on."""
        self.start, self.stop, self.n = start, stop, stop - start
        if self.rows.dense is not None:
            self.kernels.scale_rows_dense(self.rows.dense, start, stop, self.scaled, self.scales, self.norms)
            longest = max(b - a for a, b in pairwise(self.cuts)) + len(self.parts)
        else:
            assert self.rows.csr is not None
            indptr, _, data = self.rows.csr
            self.scaled = np.empty(int(indptr[stop] - indptr[start]), dtype=np.float32)
            self.kernels.scale_rows_csr(indptr, data, start, stop, self.scaled, self.scales, self.norms)
            longest = int(np.diff(indptr[start : stop + 1]).max())
        # A float32 dot product of m terms, in any order, errs by at most m u / (1 - m u) times the product
        # of the norms, u = 2**-24 (Higham 2002, section 3.1). Four more u for rounding the row, the norms
        # and the limit, and for the float64 product.
        unit = (longest + 4) * 2.0**-24
        self.doubt = unit / (1.0 - unit) * self.norms[: self.n] if unit < 0.5 else np.full(self.n, np.inf)

    def tiles(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The rows' products tile by tile, as the place of its first product and a matrix."""
        for first, last in pairwise(self.bounds):
            # Each tile anew from the same memory, so that a kernel finds its rows contiguous.
            values = self.memory[: self.n * (last - first)].reshape(self.n, last - first)
            if self.rows.dense is not None:
                vectors = self.family._vectors[first:last]
                parts = self.parts[:, : self.n, : last - first]
                for (a, b), out in zip(pairwise(self.cuts), (values, *parts), strict=True):
                    np.matmul(self.scaled[: self.n, a:b], vectors[:, a:b].T, out=out)
                if len(parts):
                    self.kernels.add_parts(parts, self.n, values)
            else:
                assert self.rows.csr is not None
                indptr, indices, _ = self.rows.csr
                columns = self.family._columns[:, first:last]
                self.kernels.csr_products(
                    indptr, indices, self.scaled, columns, self.start, self.stop, values
                )
            yield first, values

    def exact(self, n: int, first: int = 0) -> NDArray[np.float64]:
        """The float64 products of the first n listed places, counted from place `first`."""
        dots = np.empty(n)
        if n == 0:
            return dots
        listed = (self.family._vectors[first:], self.doubted_rows, self.doubted_places, n, dots)
        if self.rows.dense is not None:
            self.kernels.exact_dots_dense(self.rows.dense, self.start, self.scales, *listed)
        else:
            assert self.rows.csr is not None
            self.kernels.exact_dots_csr(*self.rows.csr, self.start, self.scales, *listed)
        return dots
