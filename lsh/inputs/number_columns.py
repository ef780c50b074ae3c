"""Columns of numbers of pandas, polars and Arrow, as NumPy arrays.

No library is imported here but pyarrow, for its own columns.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import decoded
from .libraries import is_arrow_column, is_from, is_pandas_column

__all__ = ["NumberColumn", "read_numbers"]


class NumberColumn(NamedTuple):
    """The numbers of a column.

    Attributes
    ----------
    values : ndarray
        Booleans, integers or floating-point numbers; nulls are NaN. The memory may be the caller's.
    is_null : ndarray of bool, or None
        The rows of nulls; None if there are none. NaN of NumPy's own dtypes is a number.
    """

    values: NDArray[Any]
    is_null: NDArray[np.bool_] | None = None


def read_numbers(column: Any) -> NumberColumn | None:
    """Return the numbers of a column of pandas, polars or Arrow, and None if it holds other values.

    A category, dictionary or run-length encoding of numbers holds numbers. Decimals become float64.
    """
    if is_arrow_column(column):
        return _of_arrow(column)
    if is_from(column, "polars", "Series"):
        return _of_polars(column)
    return _of_pandas(column) if is_pandas_column(column) else None


def _of_pandas(column: Any) -> NumberColumn | None:
    dtype, types = column.dtype, sys.modules["pandas"].api.types
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O" and len(column) == 0:  # as pandas makes columns of a frame without rows
            return NumberColumn(np.empty(0))
        return NumberColumn(np.asarray(column)) if dtype.kind in "fiub" else None
    held = dtype.categories.dtype if str(dtype) == "category" else dtype
    is_number = types.is_numeric_dtype(held) and not types.is_complex_dtype(held)
    if not is_number and not types.is_bool_dtype(held):
        return None
    is_null = np.asarray(column.isna(), np.bool_)
    if is_null.any():
        if held is not dtype:
            return NumberColumn(np.asarray(column, dtype=np.float64), is_null)
        return NumberColumn(column.to_numpy(dtype=np.float64, na_value=np.nan), is_null)
    values = np.asarray(column)
    return NumberColumn(values if values.dtype.kind in "fiub" else values.astype(np.float64))


def _of_polars(column: Any) -> NumberColumn | None:
    pl, dtype = sys.modules["polars"], column.dtype
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        return None
    is_null = column.is_null().to_numpy() if column.null_count() else None
    # NumPy has no decimals and no integers of 128 bits.
    as_float = is_null is not None or dtype.is_decimal() or dtype == pl.Null or str(dtype).endswith("128")
    return NumberColumn((column.cast(pl.Float64) if as_float else column).to_numpy(), is_null)


def _of_arrow(column: Any) -> NumberColumn | None:
    import pyarrow as pa

    kinds = pa.types
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    chunks = [decoded(chunk) for chunk in chunks]
    kind = chunks[0].type if chunks else column.type
    is_number = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)
    if not (is_number or kinds.is_boolean(kind) or kinds.is_null(kind)):
        return None
    is_null = None
    if any(chunk.null_count for chunk in chunks):
        is_null = np.concatenate([chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks])
    if is_null is not None or kinds.is_decimal(kind) or kinds.is_null(kind):
        # Arrow casts booleans to integers only.
        if kinds.is_boolean(kind):
            chunks = [chunk.cast(pa.uint8()) for chunk in chunks]
        chunks = [chunk.cast(pa.float64(), safe=False) for chunk in chunks]
    arrays = [chunk.to_numpy(zero_copy_only=False) for chunk in chunks]
    if not arrays:
        return NumberColumn(np.empty(0))
    return NumberColumn(arrays[0] if len(arrays) == 1 else np.concatenate(arrays), is_null)
