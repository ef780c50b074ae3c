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

__all__ = ["as_numbers", "filter_arrow", "is_from", "join_columns", "n_rows_of", "take_rows"]

Rows = NDArray[np.int64]


def is_from(value: Any, library: str, *names: str) -> bool:
    """Tell whether a value is an instance of some classes of a library, which is not imported for this."""
    module = sys.modules.get(library)
    return any(isinstance(value, getattr(module, name, ())) for name in names)


def _is_arrow(column: Any) -> bool:
    return is_from(column, "pyarrow", "Array", "ChunkedArray")


def _is_pandas(column: Any) -> bool:
    return is_from(column, "pandas", "Series", "Index") or is_from(
        column, "pandas.api.extensions", "ExtensionArray"
    )


def n_rows_of(column: Any, name: str) -> int:
    """Return the length of a column that the functions of this module accept; TypeError for other values."""
    is_column = isinstance(column, (list, tuple, np.ndarray)) or _is_arrow(column) or _is_pandas(column)
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
    if _is_arrow(column):
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
    if _is_arrow(first):
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
    numbers: Any
    if _is_arrow(column):
        numbers = _arrow_numbers(column)
    elif is_from(column, "polars", "Series"):
        pl = sys.modules["polars"]
        is_number = dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
        numbers = column.cast(pl.Float64).to_numpy() if is_number else None
    elif _is_pandas(column) and str(dtype) != "object":
        types = sys.modules["pandas"].api.types
        is_number = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan) if is_number else None
    elif isinstance(column, np.ndarray) and column.dtype.kind != "O":
        numbers = column
    else:
        numbers = [np.nan if is_null(value) else value for value in column]
    if numbers is None:
        raise TypeError(f"{name} must hold real numbers, got {describe(column)} of {dtype}")
    numbers = check_numbers(name, numbers)
    if numbers.ndim != 1:
        raise ValueError(f"{name} must be 1-D, got shape {numbers.shape}")
    return numbers


def _arrow_numbers(column: Any) -> Any:
    """Return an Arrow column of numbers as a NumPy array, and None if it has other values."""
    import pyarrow as pa

    kinds = pa.types
    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    is_number = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
    if not (is_number or kinds.is_boolean(kind) or kinds.is_null(kind)):
        return None
    if kinds.is_boolean(kind):
        column = column.cast(pa.uint8())
    column = column.cast(pa.float64(), safe=False)
    if isinstance(column, pa.Array):
        return column.to_numpy(zero_copy_only=False)
    return column.to_numpy()
