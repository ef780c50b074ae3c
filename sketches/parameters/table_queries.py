"""Rows and sums of rows of virtual tables, read from shared parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...lsh.inputs.answers import like
from ...lsh.inputs.arrays import check_finite, how_to_convert
from ...lsh.inputs.weights import check_real_weights
from ...lsh.support.aliases import alias
from ...lsh.support.backend import device_of, read_only
from ...lsh.support.checks import check_int, check_real
from ...lsh.support.threads import cut_range
from ...lsh.support.types import KeysLike
from ..core.base import MergeableSketch
from .parameter_map import ParameterMap, Table
from .table_rows import Bags, read_shapes

__all__ = ["TableQueries"]

NO_OFFSETS = "offsets must be an array of n_bags + 1 integers, got None"
_MOST_COLUMNS = 1 << 20
#: Rows whose places are computed at a time.
_ROWS_BLOCK = 1 << 16
#: The largest magnitude of a factor, which keeps sums of float32 finite.
_LARGEST = 2.0**64


class TableQueries(MergeableSketch):
    """Define how rows of virtual tables are read from shared parameters."""

    _internal = True
    n_parameters: int
    map: ParameterMap
    seed: int
    dtype: str

    @property
    def weights(self) -> NDArray[Any]:
        """The parameters, as a view that cannot be written to."""
        return read_only(self._arrays["weights"])

    def gather(self, rows: KeysLike, n_columns: int, *, table: int = 0, scale: float = 1.0) -> NDArray[Any]:
        """Return rows of a virtual table.

        Parameters
        ----------
        rows : array of integers of any shape, or array or list of strings or bytes, or one row
        n_columns : int
            The number of columns of the table, at most 2**20.
        table : int, default 0
            The number of the virtual table, in [0, 2**32).
        scale : float, default 1.0
            A factor of all entries.

        Returns
        -------
        ndarray of the shape of `rows` and a last dimension of n_columns
            Of the dtype of the parameters.

        Raises
        ------
        TypeError, ValueError
            If the map has no such rows, or an argument has the wrong type or lies outside its range.
        """
        which = self._table(n_columns, table)
        words, shape = self._words(rows, which)
        bags, xp = self._bags(shape, None, None), self._backend.xp
        out: NDArray[Any] = xp.empty((len(words), which.n_columns), self.dtype)
        self.map.gather_into(self._arrays["weights"], words, bags, which, self._scale(scale), out)
        return like(rows, out.reshape(*shape, which.n_columns))

    query = alias(gather)

    def gather_bags(
        self,
        rows: KeysLike,
        offsets: ArrayLike,
        n_columns: int,
        weights: ArrayLike | None = None,
        *,
        table: int = 0,
        scale: float = 1.0,
    ) -> NDArray[Any]:
        """Return sums of rows of a virtual table, without the rows themselves.

        Parameters
        ----------
        rows : array or list of n integers, strings or bytes
        offsets : array of n_bags + 1 integers
            Bag b has the rows from ``offsets[b]`` to ``offsets[b + 1]``. The sum of no rows is 0.
        n_columns : int
        weights : array of n numbers, optional
            The factor of each row, 1 by default.
        table : int, default 0
        scale : float, default 1.0
            As for `gather`.

        Returns
        -------
        ndarray of shape (n_bags, n_columns)

        Raises
        ------
        TypeError, ValueError
            As `gather` does, or if offsets fall, or do not begin at 0 and end at n.

        Examples
        --------
        >>> from mergesketch import SharedParameters
        >>> parameters = SharedParameters(1000).scatter_add([1, 2, 3], [[1.0], [2.0], [3.0]])
        >>> parameters.gather_bags([1, 2, 3], offsets=[0, 2, 3], n_columns=1)
        array([[3.],
               [3.]], dtype=float32)
        """
        which = self._table(n_columns, table)
        words, shape = self._words(rows, which)
        if offsets is None:
            raise TypeError(NO_OFFSETS)
        bags = self._bags(shape, offsets, weights)
        out: NDArray[Any] = self._backend.xp.empty((bags.offsets.size - 1, which.n_columns), self.dtype)
        self.map.gather_into(self._arrays["weights"], words, bags, which, self._scale(scale), out)
        return out

    def gradient_scaler(
        self, shapes: Sequence[Sequence[int]], scales: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Return 1 over the sum of the squared scales of each parameter's entries, a factor for its gradient.

        Parameters
        ----------
        shapes : sequence of pairs of int
            The shape (n_rows, n_columns) of each table, whose number is its place in the sequence. Rows are
            numbered from 0.
        scales : array of a number for each table, optional
            The `scale` that each table is read with; 1 by default.

        Returns
        -------
        ndarray of shape (n_parameters,), float64
            A factor is 1 where the parameter has no entry.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type or shape, or the map has no such tables.

        Notes
        -----
        A parameter that stands for many entries is moved by the gradients of all of them, as if its
        learning rate were that many times as high. Then training may diverge at rates at which it converges
        without sharing. If the loss has a second derivative of at most c in each entry, and entries do not
        interact, then that in a parameter is at most c times the sum of the squared scales of its entries
        (a parameter w is read as ``scale * w``). Divided by this sum, gradient descent is stable at the same
        rates as without sharing. This is the gradient scaler of STABLE-RPS (Desai and Shrivastava 2024).

        Time is that of reading all tables once.

        Examples
        --------
        >>> from mergesketch import CyclicMap, SharedParameters
        >>> shapes = [(3, 2), (1, 2)]
        >>> SharedParameters(4, CyclicMap(shapes)).gradient_scaler(shapes)
        array([0.5, 0.5, 0.5, 0.5])
        """
        pairs = read_shapes(shapes)
        factors = check_real_weights("scales", scales, len(pairs))
        loads = self._backend.xp.zeros(self.n_parameters)
        for number, (n_rows, n_columns) in enumerate(pairs):
            which, scale = self._table(n_columns, number), float(factors[number]) if factors.size else 1.0
            for start, stop in cut_range(0, n_rows, _ROWS_BLOCK):
                words = self.map.numbered_words(start, stop, which, self._backend.xp)
                self.map.add_loads(words, which, self._scale(scale), loads)
        return 1.0 / self._backend.xp.where(loads > 0.0, loads, 1.0)

    # -- checks -----------------------------------------------------------------------------------

    def _table(self, n_columns: Any, number: Any) -> Table:
        """Check the number of columns and of the table."""
        number = check_int("table", number, 0, 2**32 - 1)
        return Table(
            self.n_parameters, check_int("n_columns", n_columns, 1, _MOST_COLUMNS), self.seed, number
        )

    def _scale(self, scale: Any) -> float:
        return check_real("scale", scale, -_LARGEST, _LARGEST)

    def _words(self, rows: Any, which: Table) -> tuple[NDArray[np.uint64], tuple[int, ...]]:
        """Read rows; return their words, where the parameters lie, and the shape of the rows."""
        self._claim_device("rows", rows)
        words, shape = self.map.checked_rows(rows, which)[:2]
        return (words if device_of(words) == self.device else self._backend.xp.asarray(words)), shape

    def _bags(self, shape: tuple[int, ...], offsets: Any, factors: Any) -> Bags:
        """Read bags of rows of a shape."""
        xp, n = self._backend.xp, math.prod(shape)
        if factors is None:
            factors = xp.empty(0, self.dtype)
        elif offsets is not None:
            factors = self._as_our_array("weights", factors)
            with np.errstate(over="ignore"):  # What is beyond float32 becomes infinity, which is refused.
                factors = check_real_weights("weights", factors, n).astype(self.dtype)
            check_finite("weights", factors, self._backend)
        if offsets is None:
            return Bags(read_only(xp.empty(0, np.int64)), read_only(factors))
        ends = self._as_our_array("offsets", offsets)
        if ends.ndim != 1 or ends.size == 0 or ends.dtype.kind not in "iu" or len(shape) != 1:
            raise ValueError(
                "offsets must be n_bags + 1 integers, and rows of one dimension, got offsets of dtype "
                f"{ends.dtype} and shape {ends.shape}, and rows of shape {shape}"
            )
        ends = xp.ascontiguousarray(ends, dtype=np.int64)
        if int(ends[0]) != 0 or int(ends[-1]) != n or not bool((ends[1:] >= ends[:-1]).all()):
            raise ValueError(f"offsets must rise from 0 to the number of rows, {n}, got {ends}")
        return Bags(read_only(ends), read_only(factors))

    def _refuse_overflow(self, name: str, scale: float, *arrays: NDArray[Any]) -> None:
        """Refuse numbers whose products with each other and the scale may lie beyond the dtype."""
        arrays = tuple(part for part in arrays if part.size)
        if len(arrays) < 2 and abs(scale) <= 1:
            return  # Finite numbers stay finite, and need not be read.
        largest = [max(float(part.max()), -float(part.min())) for part in arrays]
        # Factors are multiplied with each other first.
        if math.prod(max(1.0, each) for each in (*largest, abs(scale))) > float(np.finfo(self.dtype).max):
            raise ValueError(
                f"{name} must have products with scale and weights that {self.dtype} can hold, got numbers "
                f"up to {max(largest):g} and a scale of {scale:g}"
            )

    def _numbers(self, name: str, value: Any) -> NDArray[Any]:
        """Read finite numbers of at least one dimension, in the dtype of the parameters and in C order."""
        array = self._as_our_array(name, value)
        if array.size and array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got dtype {how_to_convert(name, array.dtype)}")
        if array.ndim == 0:
            raise ValueError(f"{name} must have a dimension of columns, got a number")
        with np.errstate(over="ignore"):  # What is beyond float32 becomes infinity, which is refused.
            array = self._backend.xp.ascontiguousarray(array, dtype=self.dtype)
        check_finite(name, array, self._backend)
        return array
