"""The map of STABLE-RPS: whole copies of the array, each begun at a place of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.public import publish
from ..kernels import shared_parameters
from .parameter_map import ParameterMap, Runs, Table, table_keys
from .table_rows import TableRows, read_row_numbers, read_shapes

__all__ = ["CyclicMap"]

_MOST_ENTRIES = 1 << 62


class CyclicMap(ParameterMap):
    """Map the entries of all tables, one after the other, to the array in cycles: every parameter is used.

    Parameters
    ----------
    shapes : sequence of pairs of int
        The shape (n_rows, n_columns) of each table, whose number is its place in the sequence.

    Attributes
    ----------
    n_entries : int
        The number of entries of all tables.

    Raises
    ------
    TypeError, ValueError
        If `shapes` is no such sequence, or has 2**62 entries or more.

    Notes
    -----
    Let g be the place of an entry in the concatenation of all tables, each in row-major order. With m
    parameters, the entry lies at ``(h(g div m) + g mod m) mod m``, and has no sign. So two parameters stand
    for numbers of entries that differ by at most one. With m >= n_entries every entry has a parameter of its
    own, and training gives the same numbers as for tables that share nothing, bit for bit.

    References
    ----------
    - Desai, Shrivastava. In defense of parameter sharing for model-compression. ICLR 2024.

    Examples
    --------
    >>> from mergesketch import CyclicMap, SharedParameters
    >>> parameters = SharedParameters(6, CyclicMap([(2, 2), (1, 2)])).scatter_add([0, 1], [[1, 2], [3, 4]])
    >>> parameters.gather([1, 0], n_columns=2)
    array([[3., 4.],
           [1., 2.]], dtype=float32)
    >>> parameters.gather(0, n_columns=2, table=1)
    array([0., 0.], dtype=float32)
    """

    _parameters = ("shapes",)
    folds = False

    def __init__(self, shapes: Sequence[Sequence[int]]) -> None:
        self.shapes = read_shapes(shapes)
        self._first = (0, *accumulate(n_rows * n_columns for n_rows, n_columns in self.shapes))
        if self.n_entries >= _MOST_ENTRIES:
            raise ValueError(f"shapes must have fewer than 2**62 entries, got {self.n_entries}")

    @property
    def n_entries(self) -> int:
        """The number of entries of all tables."""
        return self._first[-1]

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        if table.number >= len(self.shapes):
            raise ValueError(f"table must be from 0 to {len(self.shapes) - 1}, got {table.number}")
        n_rows, n_columns = self.shapes[table.number]
        if table.n_columns != n_columns:
            raise ValueError(
                f"n_columns must be {n_columns}, as shapes say of table {table.number}, got {table.n_columns}"
            )
        return read_row_numbers(rows, n_rows, name)

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        backend, (m, n_columns, seed, number) = backend_of(words), table
        # A row begins in one chunk, and reaches into as many more as fit in it, and one.
        runs = Runs.empty(len(words), 1, 2 + (n_columns - 1) // m, xp=backend.xp, signed=False)
        key, kernel = table_keys(seed, 0, 1)[0], backend.kernels(shared_parameters).cyclic_runs
        kernel(read_only(words), key, self._first[number], n_columns, m, 0, len(words), *runs[:2])
        return runs


publish("mergesketch", __all__, globals())
