"""Gradients that have been read, and are added to shared parameters: those of rows, and of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.threads import cut_range
from .parameter_map import ParameterMap, Table
from .table_rows import Bags

__all__ = ["Product", "Rows", "add_product", "panels"]

#: Entries of a part of a matrix that is written down at a time.
_PANEL = 1 << 19


class Rows(NamedTuple):
    """Gradients of rows in bags.

    Attributes
    ----------
    words : ndarray of shape (n,), uint64
    bags : Bags
    gradients : ndarray of shape (n_bags, n_columns)
    table : Table
    scale : float
    """

    words: NDArray[np.uint64]
    bags: Bags
    gradients: NDArray[Any]
    table: Table
    scale: float

    @property
    def n_rows(self) -> int:
        """The number of rows that have a gradient."""
        return len(self.words)

    def add_to(self, weights: NDArray[Any], map: ParameterMap) -> None:
        """Add the gradients to the parameters."""
        map.scatter_into(self.words, self.bags, self.gradients, self.table, self.scale, weights)


class Product(NamedTuple):
    """The gradient of a matrix, as a product ``X.T @ Y``.

    Attributes
    ----------
    X : ndarray of shape (n, n_rows)
    Y : ndarray of shape (n, n_columns)
    words : ndarray of shape (n_rows,), uint64
    bags : Bags
    table : Table
    scale : float
    """

    X: NDArray[Any]
    Y: NDArray[Any]
    words: NDArray[np.uint64]
    bags: Bags
    table: Table
    scale: float

    @property
    def n_rows(self) -> int:
        """The number of rows of the matrix."""
        return len(self.words)

    def add_to(self, weights: NDArray[Any], map: ParameterMap) -> None:
        """Add the gradient to the parameters, a part of the matrix at a time."""
        buffer = None
        for start, stop in panels(len(self.words), self.table.n_columns):
            left = self.X[:, start:stop].T
            if buffer is None:
                buffer = backend_of(weights).xp.empty((stop - start, self.table.n_columns), weights.dtype)
            part = np.matmul(left, self.Y, out=buffer[: stop - start])
            map.scatter_into(
                self.words[start:stop], self.bags, read_only(part), self.table, self.scale, weights
            )


def add_product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> None:
    """Add ``left @ right`` to `out`, which is contiguous."""
    if not isinstance(out, np.ndarray) or out.size == 0:
        out += left @ right
        return
    # NumPy would write the product, and then add it. BLAS expects the columns side by side.
    blas = scipy.linalg.blas
    multiply = blas.dgemm if out.dtype == np.float64 else blas.sgemm
    multiply(1.0, right.T, left.T, 1.0, out.T, overwrite_c=True)


def panels(n_rows: int, n_columns: int) -> Iterator[tuple[int, int]]:
    """Return ranges of rows of a matrix whose entries stay in the caches."""
    return cut_range(0, n_rows, max(1, _PANEL // n_columns))
