"""Rows in the tables of other libraries: pandas, polars, Arrow, and all that exchange tables through Arrow.

A table is read column by column, so that messages name the column that is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.install import how_to_install
from .columns import describe, is_arrow
from .libraries import is_arrow_column, is_from, is_pandas_column
from .number_columns import read_numbers

__all__ = ["column_labels", "column_names", "open_rows"]

#: Letters of a column's type that messages show; the type of a polars Enum lists all its texts.
_TYPE_SHOWN = 60


def open_rows(values: Any, name: str) -> Any:
    """Return a table, or a column of vectors, as one array, and other `values` as they are.

    Nothing is copied where the numbers already lie in one block of memory, as in a pandas frame or a polars
    frame that was made from a matrix, or in an Arrow array of vectors.

    Raises
    ------
    TypeError
        If a column holds no numbers, or the table must be computed or read first.
    ValueError
        If a column of numbers has nulls, or vectors have unequal lengths.
    """
    if isinstance(values, (np.ndarray, list, tuple)):
        return values
    if is_from(values, "pandas", "DataFrame"):
        return _of_pandas(values, name)
    if is_from(values, "polars", "DataFrame"):
        return _of_polars(values, name)
    if is_from(values, "pyarrow", "Table", "RecordBatch"):
        return _joined(zip(values.schema.names, values.columns, strict=True), values.num_rows, name)
    if is_arrow_column(values):
        return _of_vectors(values, name)
    if is_pandas_column(values) or is_from(values, "polars", "Series"):
        return _of_series(values, name)
    if type(values).__name__ == "LazyFrame":
        raise TypeError(f"{name} must be rows, got {describe(values)}: call collect() first")
    if is_from(values, "pyarrow", "RecordBatchReader"):
        raise TypeError(f"{name} must be rows, got {describe(values)}: call read_all() first")
    # NumPy reads arrays of other libraries that also export Arrow.
    is_array = hasattr(values, "__array__")
    if is_arrow(values) and (hasattr(values, "columns") or not is_array):
        return _of_other(values, name)
    return _of_other(values, name) if hasattr(values, "__dataframe__") and not is_array else values


def column_labels(values: Any) -> list[Any] | None:
    """Return the labels of the columns of a table, and None for other values."""
    if isinstance(values, (np.ndarray, list, tuple)) or type(values).__name__ == "LazyFrame":
        return None
    if is_from(values, "pyarrow", "Table", "RecordBatch"):
        return list(values.schema.names)
    # In pandas, a Series may have a row "columns".
    labels = None if is_from(values, "pandas", "Series") else getattr(values, "columns", None)
    return None if labels is None else list(labels)


def column_names(values: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a table if all are strings, and None for other values.

    pandas numbers columns that have no names. So labels that are no strings are no names, as in scikit-learn.
    """
    labels = column_labels(values)
    if not labels or not all(isinstance(label, str) for label in labels):
        return None
    return tuple(map(str, labels))


# -- tables ---------------------------------------------------------------------------------------


def _of_pandas(frame: Any, name: str) -> NDArray[Any]:
    dtypes = set(frame.dtypes)
    if all(isinstance(d, np.dtype) and d.kind in "fiu" for d in dtypes) or dtypes == {np.dtype(np.bool_)}:
        return np.asarray(frame)
    # By place, for several columns may have one label.
    columns = ((label, frame.iloc[:, place]) for place, label in enumerate(frame.columns))
    return _joined(columns, len(frame), name)


def _of_polars(frame: Any, name: str) -> NDArray[Any]:
    columns, dtypes = frame.get_columns(), set(frame.dtypes)
    if len(dtypes) == 1:
        (dtype,) = dtypes
        is_plain = (dtype.is_integer() and not str(dtype).endswith("128")) or dtype.is_float()
        if is_plain and not any(column.null_count() for column in columns):
            return np.asarray(frame.to_numpy())
    return _joined(((column.name, column) for column in columns), frame.height, name)


def _of_other(values: Any, name: str) -> Any:
    """Return the numbers of an object that exports Arrow, or a table by the older protocol of frames."""
    try:
        import pyarrow as pa
        from pyarrow.interchange import from_dataframe
    except ImportError:
        if hasattr(values, "__array__"):
            return values
        raise TypeError(
            f"{name} is {describe(values)}, which needs pyarrow to read: {how_to_install('arrow')}"
        ) from None
    try:
        table = pa.table(values) if is_arrow(values) else from_dataframe(values)
    except (TypeError, ValueError, pa.ArrowException) as error:
        if not hasattr(values, "columns"):
            with suppress(TypeError, ValueError, pa.ArrowException):
                return open_rows(_column_of(values), name)
        raise TypeError(f"{name} must be rows that Arrow can read, got {describe(values)}: {error}") from None
    return open_rows(table, name)


def _column_of(values: Any) -> Any:
    import pyarrow as pa

    return pa.array(values) if hasattr(values, "__arrow_c_array__") else pa.chunked_array(values)


def _joined(columns: Iterable[tuple[Any, Any]], n: int, name: str) -> NDArray[Any]:
    """Return n rows of columns under labels as one array."""
    arrays = [_numbers(column, f"{name}[{label!r}]") for label, column in columns]
    # Each column is copied as a whole. Blocks of rows, which fit the caches, are put in order later.
    return np.stack(arrays).T if arrays else np.empty((n, 0))


def _numbers(column: Any, label: str) -> NDArray[Any]:
    """Return a column of a table as an array; messages begin with `label`."""
    found = read_numbers(column)
    if found is None:
        raise TypeError(f"{label} must hold numbers, got {_type_of(column)}: {_advice(column, label)}")
    _refuse_nulls(found.is_null, 1, label)
    return found.values


def _type_of(column: Any) -> str:
    text = str(getattr(column, "dtype", getattr(column, "type", None)))
    return text if len(text) <= _TYPE_SHOWN else f"{text[:_TYPE_SHOWN]}..."


def _advice(column: Any, label: str) -> str:
    kind = _type_of(column).lower()
    if kind.startswith(("category", "categorical", "enum", "dictionary")):
        codes = f"{label}.cat.codes" if is_pandas_column(column) else "its codes"
        if is_from(column, "polars", "Series"):
            codes = f"{label}.to_physical()"
        return f"pass {codes}, or one-hot columns"
    if kind.startswith(("list", "large_list", "fixed_size_list", "array")):
        return f"pass {label} alone if its vectors are the rows"
    return "convert it to numbers, or leave the column out"


def _refuse_nulls(is_null: Any, width: int, label: str) -> None:
    """Refuse nulls among numbers, of which `width` make up a row."""
    if is_null is not None and is_null.any():
        raise ValueError(
            f"{label} must have no nulls, got {int(is_null.sum())}, the first in row "
            f"{int(is_null.argmax()) // width}; drop or fill them first"
        )


def _without_nulls(column: Any, name: str) -> Any:
    """Return a column as it is. Nulls among its numbers are refused, which NumPy would make NaN."""
    found = read_numbers(column)
    if found is not None:
        _refuse_nulls(found.is_null, 1, name)
    return column


# -- columns of vectors ---------------------------------------------------------------------------


def _of_series(series: Any, name: str) -> Any:
    """Return a Series of vectors as a matrix, and another one as it is; nulls among numbers are refused."""
    if is_pandas_column(series):
        kind = getattr(series.dtype, "pyarrow_dtype", None)
        # A Series of pandas exports its index neither as a column nor otherwise.
        is_nested = kind is not None and kind.num_fields
        return open_rows(_column_of(series), name) if is_nested else _without_nulls(series, name)
    pl, dtype = sys.modules["polars"], series.dtype
    if dtype == pl.Struct:
        raise TypeError(
            f"{name} must be rows, got {describe(series)} of structs: pass {name}.struct.unnest()"
        )
    if dtype not in (pl.Array, pl.List):
        return _without_nulls(series, name)
    _refuse_nulls(series.is_null().to_numpy(), 1, name)
    lengths = series.list.len().to_numpy() if dtype == pl.List else np.full(len(series), dtype.size)
    return _matrix(series.explode(), lengths, dtype.size if dtype == pl.Array else None, name, dtype)


def _of_vectors(column: Any, name: str) -> Any:
    """Return an Arrow column of lists as a matrix, and another one as it is; as `_of_series` does."""
    import pyarrow as pa

    kinds, kind = pa.types, column.type
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if isinstance(kind, pa.FixedShapeTensorType):
        chunks, kind = [chunk.storage for chunk in chunks], kind.storage_type
    if kinds.is_struct(kind):
        raise TypeError(
            f"{name} must be rows, got {describe(column)} of structs: pass "
            f"pyarrow.Table.from_struct_array({name})"
        )
    is_fixed = kinds.is_fixed_size_list(kind)
    if not (is_fixed or kinds.is_list(kind) or kinds.is_large_list(kind)):
        return _without_nulls(column, name)
    width = kind.list_size if is_fixed else None
    if not chunks:
        return np.empty((0, width or 0))
    lists = pa.concat_arrays(chunks) if len(chunks) > 1 else chunks[0]
    _refuse_nulls(lists.is_null().to_numpy(zero_copy_only=False), 1, name)
    lengths = np.full(len(lists), width) if is_fixed else lists.value_lengths().to_numpy(zero_copy_only=False)
    return _matrix(lists.flatten(), lengths, width, name, kind)


def _matrix(numbers: Any, lengths: NDArray[Any], width: int | None, name: str, kind: Any) -> NDArray[Any]:
    """Return the numbers of vectors, one vector after the other, as the rows of a matrix."""
    if width is None:
        width = int(lengths[0]) if lengths.size else 0
    if (lengths != width).any():
        row = int((lengths != width).argmax())
        raise ValueError(
            f"{name} must hold vectors of one length, got {width} numbers in row 0 and {lengths[row]} in row "
            f"{row}"
        )
    if not width:
        return np.empty((lengths.size, 0))
    found = read_numbers(numbers)
    if found is None:
        raise TypeError(f"{name} must hold vectors of numbers, got {kind}")
    _refuse_nulls(found.is_null, width, name)
    return found.values.reshape(-1, width)
