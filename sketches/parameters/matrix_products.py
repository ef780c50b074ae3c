"""Products with matrices that are read from shared parameters a part at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.answers import like
from ...lsh.support.checks import check_flag, check_int
from .gradients import Product, add_product, panels
from .parameter_map import Table
from .table_queries import TableQueries

__all__ = ["MatrixProducts"]


class MatrixProducts(TableQueries):
    """Define products with virtual matrices, which are never in memory as a whole."""

    _internal = True

    def matmul(
        self,
        X: ArrayLike,
        shape: tuple[int, int],
        *,
        transposed: bool = False,
        table: int = 0,
        scale: float = 1.0,
    ) -> NDArray[Any]:
        """Return ``X @ W`` for a virtual matrix W, whose rows are those of a virtual table.

        Parameters
        ----------
        X : array of shape (..., n_rows), or (..., n_columns) with `transposed`
            Finite numbers.
        shape : pair of int
            The shape (n_rows, n_columns) of W.
        transposed : bool, default False
            True for ``X @ W.T``, the gradient of `X` where `X` stands for the gradient of the product.
        table : int, default 0
        scale : float, default 1.0
            As for `gather`.

        Returns
        -------
        ndarray of shape (..., n_columns), or (..., n_rows) with `transposed`
            Equal to the product with ``gather(range(n_rows), n_columns)`` up to rounding.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or shape, or lies outside its range.

        Notes
        -----
        Parts of W of two mebibytes are read into the caches, and multiplied by a BLAS. `TileMap` reads long
        runs, and so takes the least time.
        """
        n_rows, table_ = self._matrix(shape, table)
        transposed, scale = check_flag("transposed", transposed), self._scale(scale)
        n_columns = table_.n_columns
        array = self._numbers("X", X)
        wanted, others = (n_columns, n_rows) if transposed else (n_rows, n_columns)
        if array.shape[-1] != wanted:
            raise ValueError(
                f"X must have {wanted} columns, for a matrix of shape {shape}, got {array.shape[-1]}"
            )
        flat, xp = array.reshape(-1, wanted), self._backend.xp
        words, bags = self.map.numbered_words(0, n_rows, table_, xp), self._bags((n_rows,), None, None)
        out: NDArray[Any] = xp.zeros((len(flat), others), self.dtype)
        weights: NDArray[Any] = self._arrays["weights"]
        if len(flat) == 1 and not transposed:
            # The product with one row is a weighted sum of rows, and needs no memory for parts.
            whole = self._bags((n_rows,), [0, n_rows], flat[0])
            self.map.gather_into(weights, words, whole, table_, scale, out)
            return like(X, out.reshape(*array.shape[:-1], others))
        buffer: NDArray[Any] | None = None
        for start, stop in panels(n_rows, n_columns):
            if buffer is None:
                buffer = xp.empty((stop - start, n_columns), self.dtype)
            part = buffer[: stop - start]
            self.map.gather_into(weights, words[start:stop], bags, table_, scale, part)
            if transposed:
                out[:, start:stop] = flat @ part.T
            else:
                add_product(flat[:, start:stop], part, out)
        return like(X, out.reshape(*array.shape[:-1], others))

    def update_product(self, X: ArrayLike, Y: ArrayLike, *, table: int = 0, scale: float = 1.0) -> Any:
        """Add ``X.T @ Y`` as the gradient of a virtual matrix W: that of ``X @ W``, if `Y` is its gradient.

        Parameters
        ----------
        X : array of shape (..., n_rows)
        Y : array of shape (..., n_columns)
            Finite numbers.
        table : int, default 0
        scale : float, default 1.0
            As for `update`.

        Returns
        -------
        The object itself.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or shape, or lies outside its range. Nothing changes then.

        Examples
        --------
        >>> import numpy as np
        >>> from mergesketch import SharedParameters, TileMap
        >>> X, Y = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 5.0]])
        >>> parameters = SharedParameters(100, TileMap()).update_product(X, Y)
        >>> parameters.gather([0, 1], n_columns=3)
        array([[ 3.,  4.,  5.],
               [ 6.,  8., 10.]], dtype=float32)
        """
        return self._take_in({"X": X, "Y": Y}, self._read_product, table, scale)

    def _read_product(self, X: Any, Y: Any, table: Any, scale: Any) -> Product:
        left, right = self._numbers("X", X), self._numbers("Y", Y)
        if left.shape[:-1] != right.shape[:-1]:
            raise ValueError(f"Y must have as many rows as X, of shape {left.shape}, got shape {right.shape}")
        shape = (left.shape[-1], right.shape[-1])
        n_rows, which = self._matrix(shape, table)
        words, scale = self.map.numbered_words(0, n_rows, which, self._backend.xp), self._scale(scale)
        largest = [float(abs(part).max()) if part.size else 0.0 for part in (left, right)]
        n_products = len(left.reshape(-1, n_rows))
        if not math.prod(largest) * n_products * max(1.0, abs(scale)) < float(np.finfo(self.dtype).max):
            raise ValueError(
                f"X and Y must have a product, times scale, that {self.dtype} can hold, got numbers up to "
                f"{max(largest):g}"
            )
        flat = left.reshape(-1, n_rows), right.reshape(-1, shape[1])
        return Product(*flat, words, self._bags((n_rows,), None, None), which, scale)

    def _matrix(self, shape: Any, table: Any) -> tuple[int, Table]:
        """Check the shape of a matrix, and return the number of its rows, and its table."""
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise ValueError(f"shape must be (n_rows, n_columns), got {shape!r}")
        return check_int("n_rows of shape", shape[0], 1, 1 << 40), self._table(shape[1], table)
