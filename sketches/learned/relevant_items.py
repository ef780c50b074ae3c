"""The items that belong to each row of a training set: labels of a row, or neighbours of a query."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.rows import VectorRows, read_rows
from ...lsh.support.backend import read_only, refuse_gpu
from ...lsh.support.wording import counted

__all__ = ["Relevant", "UsedRows", "read_relevant", "refuse_numbers_of_items"]


class Relevant(NamedTuple):
    """The relevant items of each row, in rising order."""

    #: Where the items of each row begin, and where the last end: int64, shape (n + 1,).
    indptr: NDArray[np.int64]
    #: The items of one row after the other: int32.
    items: NDArray[np.int32]
    #: The row of each item: int32.
    rows: NDArray[np.int32]

    def without_empty_rows(self) -> UsedRows:
        """Return the rows that have items, and their items."""
        numbers = np.flatnonzero(np.diff(self.indptr))
        rows = np.searchsorted(numbers, self.rows).astype(np.int32)
        indptr = np.append(self.indptr[numbers], self.items.size)
        return UsedRows(numbers, Relevant(read_only(indptr), self.items, read_only(rows)))


class UsedRows(NamedTuple):
    """Those of some rows that have relevant items."""

    #: Their numbers among all rows: int64, rising.
    numbers: NDArray[np.int64]
    #: Their items.
    relevant: Relevant


def refuse_numbers_of_items(Y: Any, rows: VectorRows, name: str = "Y") -> None:
    """Refuse what looks like the numbers of items, or of classes, in place of an indicator matrix.

    These are lists with integers above 1, and single columns of them.

    Raises
    ------
    ValueError
        If the rows that were read from `Y` look so.
    """
    data = rows.csr[2]
    if not (isinstance(Y, (list, tuple)) or rows.width == 1) or not data.size:
        return
    if float(data.max()) > 1.0 and (data == np.floor(data)).all():
        raise ValueError(
            f"{name} must be an indicator matrix with a column for each item, got "
            f"{counted(rows.width, 'column')} with integers up to {data.max():g}, which look like numbers of "
            "items: put a 1 into the column of each right item"
        )


def read_relevant(Y: Any, n: int, n_items: int, name: str = "Y") -> Relevant:
    """Read which items are relevant for n rows: an indicator matrix of shape (n, n_items).

    Raises
    ------
    TypeError, ValueError
        If it is no matrix of that shape with finite numbers of at least 0.
    """
    refuse_gpu(name, Y)
    read = read_rows(Y, n_items, name)
    if read.n != n:
        raise ValueError(f"{name} must have {counted(n, 'row')}, as X, got {read.n}")
    refuse_numbers_of_items(Y, read, name)
    indptr, indices, data = read.csr
    if data.size and float(data.min()) < 0.0:
        raise ValueError(f"{name} must have numbers of at least 0, got {data.min()}")
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(indptr))
    is_relevant = data > 0
    rows, items = rows[is_relevant], indices[is_relevant].astype(np.int32)
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=starts[1:])
    return Relevant(read_only(starts), read_only(items), read_only(rows))
