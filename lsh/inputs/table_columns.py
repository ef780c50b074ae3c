"""Columns of tables: take rows, join pieces, read numbers; for pandas, polars, Arrow, NumPy and lists.

A library is never imported here. Only a program that has imported it can have made its columns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import check_numbers
from .columns import describe, is_null
from .libraries import is_arrow_column, is_from, is_pandas_column
from .number_columns import read_numbers

__all__ = ["as_numbers", "filter_arrow", "join_columns", "n_rows_of", "take_rows"]

Rows = NDArray[np.int64]


def n_rows_of(column: Any, name: str) -> int:
    """Return the length of a column that the functions of this module accept; TypeError for other values."""
    is_column = (
        isinstance(column, (list, tuple, np.ndarray)) or is_arrow_column(column) or is_pandas_column(column)
    )
    if not is_column and not is_from(column, "polars", "Series"):
        raise TypeError(
            f"{name} must be a list, a NumPy array, or a column of pandas, polars or Arrow, "
            f"got {describe(column)}"
        )
    if isinstance(column, np.ndarray) and column.ndim == 0:
        raise TypeError(f"{name} must be a column, got an array without a dimension")
    return len(column)


def take_rows(column: Any, rows: Rows) -> Any:
    """Return some rows of a column as a column of the same kind; they may come in any order."""
    if isinstance(column, (list, tuple)):
        return type(column)([column[row] for row in rows.tolist()])
    if is_arrow_column(column):
        return _take_arrow(column, rows)
    if is_from(column, "pandas", "Series"):
        return column.iloc[rows]
    return column[rows]


def _take_arrow(column: Any, rows: Rows) -> Any:
    import pyarrow as pa

    try:
        return column.take(pa.array(rows))
    except pa.ArrowNotImplementedError:
        # Arrow cannot take rows of views and of runs, but it can join slices.
        return _join_slices(column, rows, rows + 1)


def filter_arrow(column: Any, keep: NDArray[np.bool_]) -> Any:
    """Return the rows of an Arrow array or chunked array where `keep` is true, chunk by chunk."""
    import pyarrow as pa

    try:
        return column.filter(pa.array(keep))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]])))
        return _join_slices(column, edges[::2], edges[1::2])


def _join_slices(column: Any, starts: Rows, stops: Rows) -> Any:
    import pyarrow as pa

    bounds = zip(starts.tolist(), stops.tolist(), strict=True)
    slices = [column.slice(start, stop - start) for start, stop in bounds] or [column.slice(0, 0)]
    if isinstance(column, pa.Array):
        return pa.concat_arrays(slices)
    chunks = list(chain.from_iterable(part.chunks for part in slices))
    return pa.chunked_array([pa.concat_arrays(chunks)] if chunks else [], column.type)


def join_columns(pieces: Sequence[Any]) -> Any:
    """Return pieces of columns of one kind, at least one, as one column."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, (list, tuple)):
        return type(first)(chain.from_iterable(pieces))
    if is_arrow_column(first):
        import pyarrow as pa

        if isinstance(first, pa.Array):
            return pa.concat_arrays(pieces)
        return pa.chunked_array(list(chain.from_iterable(piece.chunks for piece in pieces)), first.type)
    if is_from(first, "polars", "Series"):
        return sys.modules["polars"].concat(pieces)
    if isinstance(first, np.ndarray):
        return np.concatenate(pieces)
    pd = sys.modules["pandas"]
    pieces = [pd.Series(piece) for piece in pieces]
    if len({str(piece.dtype) for piece in pieces}) > 1:
        # pandas would convert large integers beside fractions to the nearest float64.
        pieces = [piece.astype(object) for piece in pieces]
    return pd.concat(pieces, ignore_index=True)


def as_numbers(column: Any, name: str) -> NDArray[np.float64]:
    """Return a column of real numbers as float64, with NaN in place of nulls.

    Raises
    ------
    TypeError
        If the column has other values. Strings of digits are no numbers.
    """
    dtype: Any = getattr(column, "dtype", getattr(column, "type", None))
    found = read_numbers(column)
    numbers: Any
    if found is not None:
        numbers = found.values
    elif isinstance(column, np.ndarray) and column.dtype.kind != "O":
        numbers = column
    elif isinstance(column, (list, tuple, np.ndarray)) or str(dtype) == "object":
        numbers = [np.nan if is_null(value) else value for value in column]
    else:
        raise TypeError(f"{name} must hold real numbers, got {describe(column)} of {dtype}")
    numbers = check_numbers(name, numbers)
    if numbers.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got shape {numbers.shape}")
    return numbers
