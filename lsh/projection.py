"""Projections of rows onto random vectors in blocks: what the families of angles and distances share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backend import backend_of
from .family import HashFamily
from .lazy import lazy
from .multiply import make_panels
from .threads import get_num_threads, map_blocks
from .validation import check_csr, check_dense

__all__ = ["ProjectionFamily", "Rows"]

#: Products that are worth a thread of their own.
_VALUES_BLOCK = 1 << 17
#: Rows that the kernels work on at a time.
_ROWS_BLOCK = 192


class Rows(NamedTuple):
    """Checked rows, dense or sparse."""

    n: int
    dense: NDArray[Any] | None
    csr: tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]] | None


def check_rows(X: Any, n_features: int | None) -> Rows:
    """Dense rows as float32 or float64, sparse ones as CSR with rising indices; checked ones as they are."""
    if isinstance(X, Rows):
        return X
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
    def _panels(self) -> NDArray[np.float32]:
        """The vectors as the kernels multiply them."""
        return make_panels(self._vectors)

    @lazy
    def _vector_norms(self) -> NDArray[np.float64]:
        return np.sqrt(np.einsum("pd,pd->p", self._vectors, self._vectors, dtype=np.float64))

    @abstractmethod
    def _draw_vectors(self) -> NDArray[np.float32]: ...

    @abstractmethod
    def _project(self, kernels: Any, rows: Rows, out: NDArray[np.uint32]) -> Callable[[int, int], None]:
        """What writes the codes of the rows [start, stop) to `out`; random parameters are drawn here."""

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
        if rows.n:
            run = self._project(backend_of(X), rows, out)
            # As many ranges for each thread, and more than one only if each holds a block of rows: the
            # vectors are read from memory once a block.
            threads = get_num_threads()
            ranges = threads * min(4, max(1, rows.n // (_ROWS_BLOCK * threads)))
            map_blocks(run, rows.n, max(rows.n // ranges, _VALUES_BLOCK // self.n_values))
        return out
