"""Rows with named columns of different types: read from a frame of any library, and returned as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.columns import is_arrow, is_table
from ...lsh.inputs.libraries import is_from
from ...lsh.support.install import how_to_install
from .value_kind import ValueKind

__all__ = ["FRAMES", "Columns", "make_frame", "open_frame", "records_as_columns", "series_like"]

#: The kinds of frames: a dict of arrays, and those of three libraries.
FRAMES = ("dict", "pandas", "polars", "pyarrow")


class Columns(NamedTuple):
    """The columns of a frame.

    Attributes
    ----------
    frame : str
        One of `FRAMES`.
    names : list of str
    columns : list of column
        A list, an array or a column of the frame's library for each name.
    """

    frame: str
    names: list[str]
    columns: list[Any]


def open_frame(rows: Any) -> Columns | None:
    """Return the columns of a frame or of a dict of columns; None for other `rows`.

    Raises
    ------
    TypeError
        If a name is no str, or two columns have one name.
    """
    if isinstance(rows, Mapping):
        return _named("dict", list(rows), list(rows.values()))
    if is_from(rows, "pandas", "DataFrame"):
        return _named("pandas", rows.columns.tolist(), [rows.iloc[:, i] for i in range(rows.shape[1])])
    if is_from(rows, "polars", "DataFrame"):
        return _named("polars", rows.columns, rows.get_columns())
    if is_from(rows, "polars", "LazyFrame"):
        raise TypeError("rows must be a frame whose rows exist, got a LazyFrame: call collect() first")
    if is_from(rows, "pyarrow", "Table", "RecordBatch"):
        return _named("pyarrow", rows.schema.names, rows.columns)
    if is_table(rows) and is_arrow(rows):
        table = _library("pyarrow").table(rows)
        return _named("pyarrow", table.schema.names, table.columns)
    return None


def _named(frame: str, names: Sequence[Any], columns: Sequence[Any]) -> Columns:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"rows must have columns whose names are strings, got {name!r}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise TypeError(f"rows must have columns of different names, got {twice!r} twice")
    return Columns(frame, list(names), list(columns))


def records_as_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of records, which all have the same fields.

    Raises
    ------
    ValueError
        If a record lacks a field of the first one, or has another.
    """
    names = list(records[0])
    for place, record in enumerate(records):
        if not isinstance(record, Mapping) or set(record) != set(names):
            raise ValueError(f"rows must be records with the fields {names}, got {record!r} at {place}")
    return {name: [record[name] for record in records] for name in names}


def make_frame(
    frame: str,
    names: Sequence[str],
    kinds: Sequence[ValueKind],
    columns: Sequence[NDArray[Any]],
    keys: Any,
) -> Any:
    """Return columns as a frame; masked items are missing values.

    Parameters
    ----------
    frame : str
        One of `FRAMES`.
    names : sequence of str
    kinds : sequence of ValueKind
    columns : sequence of ndarray or MaskedArray
    keys : object
        The keys that were asked for. A frame of pandas gets the index of a Series.

    Raises
    ------
    ImportError
        If the library of the frame is not installed.
    """
    if frame == "dict":
        return dict(zip(names, columns, strict=True))
    library = _library(frame)
    make = {"pandas": _pandas_column, "polars": _polars_column, "pyarrow": _arrow_column}[frame]
    made = {}
    for name, kind, column in zip(names, kinds, columns, strict=True):
        values, mask = np.ma.getdata(column), _mask_of(column)
        if kind.dtype == "object":
            if mask is not None:
                values = values.copy()
                values[mask] = None
            mask = None
        made[name] = make(library, kind, values, mask)
    if frame == "pandas":
        index = keys.index if is_from(keys, "pandas", "Series") else None
        n = len(columns[0]) if columns else 0
        return library.DataFrame(made, index=library.RangeIndex(n) if index is None else index)
    return library.DataFrame(made) if frame == "polars" else library.table(made)


def series_like(keys: Any, kind: ValueKind, column: NDArray[Any]) -> Any:
    """Return the values of keys as a Series with their index and name if they came in one, else `column`."""
    library = next((name for name in ("pandas", "polars") if is_from(keys, name, "Series")), "")
    if not library:
        return column
    made = make_frame(library, ["values"], [kind], [column], keys)["values"]
    return made.rename(keys.name)


def _mask_of(column: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where a column is masked; None if it cannot be."""
    return np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        what = {"pyarrow": "arrow"}.get(name)
        advice = how_to_install(what) if what else f"pip install {name}"
        raise ImportError(f"the table is a frame of {name}, which is not installed: {advice}") from None


def _pandas_column(pandas: Any, _: ValueKind, values: NDArray[Any], mask: NDArray[np.bool_] | None) -> Any:
    if mask is None:
        return values
    if values.dtype.kind in "mM":
        return np.where(mask, values.dtype.type("NaT"), values)
    arrays = pandas.arrays
    made = {"b": arrays.BooleanArray, "f": arrays.FloatingArray}.get(values.dtype.kind, arrays.IntegerArray)
    return made(values, mask)


def _polars_column(polars: Any, kind: ValueKind, values: NDArray[Any], mask: NDArray[np.bool_] | None) -> Any:
    if kind.dtype == "object":
        types = {"str": polars.String, "bytes": polars.Binary}
        return polars.Series(values.tolist(), dtype=types.get(kind.kind) or polars.Decimal(38, kind.scale))
    column = polars.Series(values)
    return column if mask is None else column.scatter(np.flatnonzero(mask), None)


def _arrow_column(pyarrow: Any, kind: ValueKind, values: NDArray[Any], mask: NDArray[np.bool_] | None) -> Any:
    if kind.dtype == "object":
        types = {"str": pyarrow.string(), "bytes": pyarrow.binary()}
        return pyarrow.array(values.tolist(), types.get(kind.kind) or pyarrow.decimal128(38, kind.scale))
    if values.dtype.kind in "mM":
        mask = np.isnat(values) if mask is None else mask | np.isnat(values)
    return pyarrow.array(values, mask=mask)
