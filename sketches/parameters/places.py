"""The places of entries of virtual tables, for gradients that are sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.support.backend import backend_of, read_only
from ..kernels import parameter_places
from .parameter_map import ParameterMap, Table

__all__ = ["entry_places"]


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
