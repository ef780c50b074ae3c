"""The map of ROAST: the tiles of a matrix lie side by side in the array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.checks import check_int
from ...lsh.support.public import publish
from ..kernels import shared_parameters
from .parameter_map import ParameterMap, Runs, Table, table_keys
from .table_rows import TableRows, read_row_numbers

__all__ = ["TileMap"]


class TileMap(ParameterMap):
    """Map each tile of a matrix to a hashed place, from which its entries lie side by side (ROAST).

    Parameters
    ----------
    rows, columns : int, default 64
        The shape of a tile, from 1 to 65536. A product with the matrix reads runs of `columns` parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is no such integer.

    Notes
    -----
    Entry (e, i) lies in tile (e div rows, i div columns), at place ``(h(tile) + (e mod rows) columns + i mod
    columns) mod m`` of the m parameters, and has a sign of its own. Rows are numbers of at least 0.

    Inner products of scattered gradients have the variance that `RobeMap` states, with tiles in place of
    blocks, if m >= rows columns.

    References
    ----------
    - Desai, Zhou, Shrivastava. Hardware-aware compression with random operation access specific tile (ROAST)
      hashing. ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from mergesketch import SharedParameters, TileMap
    >>> parameters = SharedParameters(500, TileMap(rows=8, columns=16), seed=1).initialize(0.1, seed=2)
    >>> X = np.ones((3, 100), np.float32)
    >>> W = parameters.gather(np.arange(100), n_columns=40)
    >>> np.allclose(parameters.matmul(X, (100, 40)), X @ W, atol=1e-5)
    True
    """

    _parameters = ("rows", "columns")

    def __init__(self, rows: int = 64, columns: int = 64) -> None:
        self.rows = check_int("rows", rows, 1, 1 << 16)
        self.columns = check_int("columns", columns, 1, 1 << 16)

    @property
    def longest_run(self) -> int:
        """The number of entries that never share a place, because they lie side by side."""
        return self.rows * self.columns

    def checked_rows(self, rows: Any, table: Table, name: str = "rows") -> TableRows:
        return read_row_numbers(rows, name=name)

    def runs(self, words: NDArray[np.uint64], table: Table) -> Runs:
        backend, (m, n_columns, seed, number) = backend_of(words), table
        runs = Runs.empty(len(words), 1, -(-n_columns // self.columns), xp=backend.xp)
        key, kernel = table_keys(seed, number, 1)[0], backend.kernels(shared_parameters).tile_runs
        kernel(read_only(words), key, self.rows, self.columns, n_columns, m, 0, len(words), *runs)
        return runs


publish("mergesketch", __all__, globals())
