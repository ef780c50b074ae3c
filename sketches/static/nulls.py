"""Missing values among values: None, masked items, and the nulls of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.columns import arrow_chunks, is_arrow, is_null, is_table
from ...lsh.inputs.libraries import is_from, is_pandas_column

__all__ = ["fill_nulls", "flat_items", "split_nulls"]

#: The types of objects that stand for a missing value, beside NaN.
_MISSING = ("NoneType", "NAType", "NaTType")
#: The types of which NaN is a number, unless it stands beside strings.
_FLOATS = (float, np.floating)


def split_nulls(values: Any, name: str) -> tuple[Any, NDArray[np.bool_] | None]:
    """Return the values that are present, and where values are missing.

    Parameters
    ----------
    values : array, list of lists or column
    name : str
        The name of the argument, for messages.

    Returns
    -------
    present : array, list or column
        The values themselves if none is missing. Otherwise the present ones, in one dimension.
    missing : ndarray of bool, or None
        Of the shape of `values`; None if no value is missing.

    Notes
    -----
    None, NA and NaT of pandas, masked items and nulls of Arrow are missing. NaN is a number, but beside
    strings it is missing: pandas marks missing strings by it.
    """
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        return (values.compressed(), masked) if masked.any() else (np.ma.getdata(values), None)
    if isinstance(values, (list, tuple)) or _is_object_array(values):
        return _split_items(values)
    if isinstance(values, np.ndarray) or is_table(values):
        return values, None
    if is_pandas_column(values):
        return _split_pandas(values)
    if is_from(values, "polars", "Series"):
        return _take_present(values, values.is_null().to_numpy(), values.drop_nulls)
    if is_arrow(values):
        return _split_arrow(values, name)
    return values, None


def fill_nulls(present: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return an array of the shape of `missing` with the present values in their places.

    In the other places are zeros, or None in an array of objects.
    """
    full = np.zeros(missing.shape, present.dtype)
    if present.dtype == object:
        full[...] = None
    full[~missing] = present
    return full


def flat_items(values: Any) -> Iterator[Any]:
    """Yield the items of nested lists, tuples and arrays, in order."""
    if not any(issubclass(t, (list, tuple, np.ndarray)) for t in set(map(type, values))):
        yield from values
        return
    for value in values:
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
            yield from flat_items(value)
        else:
            yield value


def _is_object_array(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == object and values.ndim > 0


def _split_pandas(column: Any) -> tuple[Any, NDArray[np.bool_] | None]:
    """Split a column of pandas. Arrow would take NaN for a null, and cannot read sparse columns."""
    if column.dtype == object:
        present, missing = _split_items(np.asarray(column))
        return (column, None) if missing is None else (present, missing)
    if isinstance(column.dtype, np.dtype) or str(column.dtype).startswith("Sparse"):
        return np.asarray(column), None  # NaN and NaT stay in place
    return _take_present(column, np.asarray(column.isna(), np.bool_))


def _split_arrow(column: Any, name: str) -> tuple[Any, NDArray[np.bool_] | None]:
    """Split a column of Arrow. Encodings hide nulls, and Arrow cannot select from all of them."""
    import pyarrow as pa

    chunks = arrow_chunks(column, name, keep_nulls=True)
    if not chunks:
        return column, None
    values = pa.chunked_array(chunks)
    return _take_present(values, np.asarray(values.is_null(), np.bool_), values.drop_null)


def _take_present(
    column: Any, missing: NDArray[np.bool_], drop: Callable[[], Any] | None = None
) -> tuple[Any, NDArray[np.bool_] | None]:
    if not missing.any():
        return column, None
    return (drop() if drop is not None else column[~missing]), missing


def _split_items(values: Any) -> tuple[Any, NDArray[np.bool_] | None]:
    """Split lists, tuples and arrays of objects; rows of unequal lengths are left to the caller."""
    array = values if isinstance(values, np.ndarray) else None
    items = list(flat_items(values)) if array is None else array.ravel().tolist()
    types = set(map(type, items))
    has_text = any(issubclass(t, (str, bytes)) for t in types)
    has_floats = any(issubclass(t, _FLOATS) for t in types)
    if not any(t.__name__ in _MISSING for t in types) and not (has_text and has_floats):
        return values, None
    flags = np.fromiter(
        (is_null(item) and (has_text or not isinstance(item, _FLOATS)) for item in items),
        np.bool_,
        len(items),
    )
    shape = np.array(values, dtype=object).shape if array is None else array.shape
    if not flags.any() or flags.size != np.prod(shape):
        return values, None
    present = [item for item, flag in zip(items, flags.tolist(), strict=True) if not flag]
    return present, flags.reshape(shape)
