"""Rows of any form, which a family checks as it hashes them: they are only counted and cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..support.backend import CPU, Backend, as_array, backend_of, device_of
from .arrays import check_array
from .columns import is_arrow
from .rows import Rows
from .sets import SetRows, read_sets
from .sparse_structure import csr_parts

__all__ = ["RawRows", "read_raw_rows"]


class RawRows(Rows):
    """Rows in the form in which the caller gave them; `cut` returns slices of that.

    Attributes
    ----------
    given : array, CSR matrix, list, tuple or SetRows
    """

    form = "raw"

    def __init__(self, given: Any, n: int, backend: Backend) -> None:
        self.given, self.n, self.backend = given, n, backend

    @property
    def arrays(self) -> tuple[Any, ...]:
        return (self.cut(0, self.n),)

    def cut(self, start: int, stop: int) -> Any:
        if isinstance(self.given, SetRows):
            return self.given.cut(start, stop).words()
        return self.given[start:stop]


def read_raw_rows(X: Any, name: str = "X") -> RawRows:
    """Read rows of a form that only their family knows: count them, and check what cutting them needs.

    Parameters
    ----------
    X : array, sparse matrix, pair ``(tokens, offsets)``, list or tuple of rows, or RawRows
    name : str
        Name of the argument in messages.

    Returns
    -------
    RawRows

    Raises
    ------
    TypeError, ValueError
        If `X` is none of the above, or its parts contradict each other.
    """
    if isinstance(X, RawRows):
        return X
    if hasattr(X, "tocsr"):
        matrix, _, _, backend = csr_parts(X, name)
        return RawRows(matrix, matrix.shape[0], backend)
    if _is_pair(X):
        sets = read_sets(X, name)
        return RawRows(sets, sets.n, sets.backend)
    if isinstance(X, (list, tuple)):
        return RawRows(X, len(X), CPU)
    if device_of(X) == "gpu":
        array = as_array(X, name)
    elif hasattr(X, "__array__") or hasattr(X, "__dataframe__") or is_arrow(X):
        array = check_array(name, X)
    else:
        raise TypeError(f"{name} must be rows: a matrix, dense or sparse, or sets; got {type(X).__name__}")
    if array.ndim == 0:
        raise ValueError(f"{name} must be rows: a matrix, dense or sparse, or sets; got a single value")
    return RawRows(array, int(array.shape[0]), backend_of(array))


def _is_pair(X: Any) -> bool:
    """Tell whether `X` looks like ``(tokens, offsets)``."""
    if not isinstance(X, tuple) or len(X) != 2:
        return False
    return (X[1].ndim if device_of(X[1]) == "gpu" else np.ndim(X[1])) == 1
