"""The places of entries of virtual tables, and how much each parameter is used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ...lsh.support.threads import cut_range
from ..kernels import parameter_places, shared_parameters
from .parameter_map import ParameterMap, Runs, Table
from .table_rows import Bags

__all__ = ["add_loads", "entry_places"]

#: Entries of rows whose runs are written down at a time.
_PART = 1 << 18


def entry_places(
    map: ParameterMap, words: NDArray[np.uint64], table: Table, dtype: Any
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the places of the entries of rows, and their coefficients.

    Parameters
    ----------
    map : ParameterMap
    words : ndarray of shape (n,), uint64
        Rows, as `ParameterMap.checked_rows` returns them.
    table : Table
    dtype : dtype
        Of the coefficients.

    Returns
    -------
    places : ndarray of shape (n, n_copies, n_columns), int64
    coefficients : ndarray of the same shape
        The factor of the copy, times 1 or -1.
    """
    backend, runs = backend_of(words), map.runs(words, table)
    shape = (*runs.starts.shape[:2], table.n_columns)
    places, signs = np.empty(shape, np.int64), np.empty(shape, dtype)
    kernel = backend.kernels(parameter_places).run_places
    kernel(*(read_only(part) for part in runs), table.n_parameters, 0, len(words), places, signs)
    if map.copy_factor != 1.0:
        signs *= map.copy_factor
    return places, signs


def add_loads(map: ParameterMap, n_rows: int, table: Table, square: float, loads: NDArray[Any]) -> None:
    """Add to each parameter the sum of the squared coefficients of the entries of a table that it stands for.

    Parameters
    ----------
    map : ParameterMap
    n_rows : int
        Rows 0 to n_rows - 1 of the table are counted.
    table : Table
    square : float
        The square of the table's scale.
    loads : ndarray of shape (n_parameters,), float32 or float64
    """
    scale = square * map.copy_factor**2
    no_words = np.empty((0, 0, 0), np.uint64)
    bags = Bags(read_only(np.empty(0, np.int64)), read_only(np.empty(0, loads.dtype)))
    for start, stop in cut_range(0, n_rows, max(1, _PART // table.n_columns)):
        words = map.checked_rows(np.arange(start, stop), table).words
        # Runs without words have no signs, so that the kernel adds up squares.
        runs = Runs(*map.runs(words, table)[:2], no_words)
        ones = np.ones((stop - start, table.n_columns), loads.dtype)
        given = (*(read_only(part) for part in runs), *bags, read_only(ones), scale)
        shared_parameters.scatter_runs(*given, 0, loads.size, loads)
