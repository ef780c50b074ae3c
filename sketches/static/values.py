"""Values of any container, read once: an array of numbers or of texts, and their kind."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...lsh.inputs.arrays import check_array
from ...lsh.inputs.columns import arrow_chunks, describe, is_arrow, is_table, open_column, refuse_masked
from ...lsh.inputs.strings import arrow_strings
from ...lsh.support.checks import check_real
from .nulls import fill_nulls, flat_items, split_nulls
from .value_kind import MAX_SCALE, ValueKind

__all__ = ["Values", "read_missing", "read_values"]


class Values(NamedTuple):
    """Values that have been read.

    Attributes
    ----------
    kind : ValueKind
    array : ndarray
        Of numbers, dates, durations, or objects of one type; zeros or None stand in place of missing values.
    missing : ndarray of bool, or None
        Of the shape of `array`; None if no value is missing.
    """

    kind: ValueKind
    array: NDArray[Any]
    missing: NDArray[np.bool_] | None


def read_values(values: Any, name: str, precision: float | None = None) -> Values:
    """Read values in any container.

    Parameters
    ----------
    values : array, list of lists or column
    name : str
        The name of the argument, for messages.
    precision : float, optional
        For floats: the values become multiples of it.

    Raises
    ------
    TypeError
        If the values have mixed types, or a type that no static function stores.
    ValueError
        If integers exceed 64 bits, decimal numbers are not finite, or the precision is not positive.
    """
    values, missing = split_nulls(values, name)
    array = _read_array(values, name)
    if missing is not None:
        if not array.size:  # no value tells a type
            return Values(ValueKind("str", "object"), np.full(missing.shape, None, object), missing)
        return Values(_kind_of_array(array, precision, name), fill_nulls(array, missing), missing)
    if array.dtype.kind in "mM" and np.isnat(array).any():
        missing = np.isnat(array)
    if array.size:
        return Values(_kind_of_array(array, precision, name), array, missing)
    try:
        return Values(_kind_of_array(array, None, "values"), array, missing)
    except TypeError:  # the dtype of an empty list says nothing
        return Values(ValueKind("int", "int64"), array, missing)


def read_missing(missing: Any, kind: ValueKind, n_columns: int) -> NDArray[Any]:
    """Read the value, or the value for each column, that look-ups return for absent keys."""
    array, dtype = _read_array(missing, "missing"), np.dtype(kind.dtype)
    accepted = {"int": "iu", "bool": "b", "str": "UO", "bytes": "SO", "datetime": "M", "timedelta": "m"}.get(
        kind.kind, "O" if kind.kind == "decimal" else "fiu"
    )
    wanted = f"missing must be {kind.kind if kind.is_text else dtype.name}, as the values are"
    is_other_text = array.dtype.kind == "O" and any(
        type(item).__name__.lower() != kind.kind for item in array.flat
    )
    if array.dtype.kind not in accepted or is_other_text:
        raise TypeError(f"{wanted}, got {missing!r}")
    if array.shape not in ((), (n_columns,)):
        raise ValueError(f"missing must be one value or {n_columns}, got shape {array.shape}")
    if kind.kind == "int" and not (array.astype(dtype) == array).all():
        raise ValueError(f"{wanted}, got {missing!r}, which lies outside its range")
    if dtype.kind in "SU" and array.astype(array.dtype.kind).dtype.itemsize > dtype.itemsize:
        raise ValueError(f"{wanted}, of at most {dtype.name}, got {missing!r}")
    return array


def _read_array(values: Any, name: str) -> NDArray[Any]:
    """Return values as an array of numbers, of dtype S, U or T, or of str or bytes objects.

    The types of Python objects are checked before NumPy converts them: NumPy would turn 1 beside "a" into
    "1", and 1 beside 0.5 into 1.0.
    """
    if is_table(values):
        # NumPy would convert columns of several types to one type.
        raise TypeError(f"{name} must be an array or lists, got {describe(values)}: pass its to_numpy()")
    values = open_column(values, name)
    if is_arrow(values):
        return _read_arrow(values, name)
    if isinstance(values, (list, tuple)):
        items = list(flat_items(values))
        is_text = bool(items) and isinstance(items[0], (str, bytes))
        array = _of_texts(values, name) if is_text else check_array(name, values)
    else:
        array = check_array(name, values)
        if array.dtype.kind != "O":
            # StringDType has no byte order.
            native = array.dtype.newbyteorder("=") if array.dtype.kind in "iufUmM" else array.dtype
            return array.astype(native, copy=False)
        items = array.ravel().tolist()
    if not items:
        return array
    kind = _kind_of_items(items, name)
    if kind in ("str", "bytes", "decimal"):
        return _object_array(items).reshape(array.shape)
    if kind in _TIMES:
        return _times(items, kind, name).reshape(array.shape)
    return (_integers(items, name) if kind == "int" else np.array(items)).reshape(array.shape)


def _read_arrow(values: Any, name: str) -> NDArray[Any]:
    import pyarrow as pa

    chunks = arrow_chunks(values, name)
    if not chunks:
        return np.empty(0, dtype=np.int64)
    types, column = pa.types, pa.chunked_array(chunks)
    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_date, types.is_duration)
    if types.is_timestamp(column.type) and column.type.tz is not None:
        raise TypeError(
            f"{name} must be timestamps without a time zone, got {column.type.tz}: {_WITHOUT_ZONE}"
        )
    if types.is_timestamp(column.type) or any(is_kind(column.type) for is_kind in numbers):
        return np.asarray(column)
    if types.is_decimal(column.type):
        return _object_array(column.to_pylist())
    text = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if not any(is_text(column.type) for is_text in text):
        raise TypeError(
            f"{name} must be {describe(values)} of numbers, booleans, dates, timestamps, durations, strings "
            f"or bytes, got one of {column.type}"
        )
    for chunk in chunks:
        arrow_strings(chunk, name, values)  # refuses offsets that lie outside of the bytes
    return _object_array(column.to_pylist())


def _of_texts(values: Any, name: str) -> NDArray[Any]:
    """Return lists of texts as an array of objects: NumPy would give each text the width of the longest."""
    refuse_masked(values, name)
    array = np.array(values, dtype=object)
    if any(isinstance(item, (list, tuple, np.ndarray)) for item in array.flat):
        raise ValueError(f"{name} must be an array or a list of equal rows")
    return array


def _object_array(items: list[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


#: The accepted types of items. A subclass comes before its base: bool before int, timedelta64 before integer,
#: and a date with a time before a date.
_KINDS: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("str", (str,)),
    ("bytes", (bytes,)),
    ("bool", (bool, np.bool_)),
    ("duration", (timedelta, np.timedelta64)),
    ("datetime", (datetime, np.datetime64)),
    ("date", (date,)),
    ("decimal", (Decimal,)),
    ("int", (int, np.integer)),
    ("float", (float, np.floating)),
)


def _kind_of_items(items: list[Any], name: str) -> str:
    """Return the one kind of all items; raise TypeError if there are several or another one."""
    types = set(map(type, items))
    kinds = {next((kind for kind, bases in _KINDS if issubclass(t, bases)), "") for t in types}
    if len(kinds) == 1 and "" not in kinds:
        return kinds.pop()
    found = ", ".join(sorted(t.__name__ for t in types))
    raise TypeError(
        f"{name} must be all int, all bool, all float, all str, all bytes, all Decimal, all dates, all "
        f"timestamps or all durations, got {found}"
    )


#: The dtypes of dates, times and durations that Python's own objects have.
_TIMES = {"date": "datetime64[D]", "datetime": "datetime64[us]", "duration": "timedelta64[us]"}


def _times(items: list[Any], kind: str, name: str) -> NDArray[Any]:
    """Return dates, times or durations in the finest unit among them."""
    zone = next((item.tzinfo for item in items if getattr(item, "tzinfo", None) is not None), None)
    if zone is not None:
        raise TypeError(f"{name} must be timestamps without a time zone, got {zone}: {_WITHOUT_ZONE}")
    # The times of pandas have nanoseconds, which NumPy would cut off.
    plain = [item.to_numpy() if hasattr(item, "to_numpy") else item for item in items]
    largest = max((abs(item) for item in plain if isinstance(item, timedelta)), default=timedelta())
    if largest // timedelta(microseconds=1) >= 1 << 63:
        raise ValueError(f"{name} must be durations that fit 64 bits in microseconds, got {largest}")
    unit = _TIMES[kind]
    if not any(isinstance(item, np.generic) for item in plain):
        return np.array(plain, unit)
    found = np.array([item if isinstance(item, np.generic) else np.array(item, unit) for item in plain])
    # NumPy's times of a coarse unit may lie outside the range of a finer one, and would wrap around.
    for item, time in zip(plain, found, strict=True):
        if not isinstance(item, np.generic) or item.dtype == found.dtype or np.isnat(item):
            continue
        if time.astype(item.dtype) != item:
            raise ValueError(
                f"{name} must be timestamps that fit 64 bits in the unit {found.dtype}, got {item}"
            )
    return found


#: What to do with times in a time zone.
_WITHOUT_ZONE = "convert them to UTC, and drop the zone"


def _integers(items: list[Any], name: str) -> NDArray[Any]:
    if len(set(map(type, items))) == 1 and isinstance(items[0], np.integer):
        return np.array(items)
    # NumPy turns integers beyond int64 beside smaller ones into floats, and its own integers wrap around.
    items = list(map(int, items))
    for dtype in (np.int64, np.uint64):
        try:
            return np.array(items, dtype=dtype)
        except OverflowError:
            continue
    raise ValueError(f"{name} must fit int64, or uint64, got integers beyond or of both ranges")


def _kind_of_array(array: NDArray[Any], precision: float | None, name: str) -> ValueKind:
    dtype = array.dtype
    if precision is not None:
        if dtype.kind != "f" or dtype.itemsize not in (4, 8):
            raise TypeError(f"{name} must be float32 or float64 to have a precision, got dtype {dtype}")
        return ValueKind("step", dtype.name, check_real("precision", precision, 0.0, np.inf))
    if dtype.kind in "iu":
        return ValueKind("int", dtype.name)
    if dtype.kind == "b":
        return ValueKind("bool", "bool")
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return ValueKind("float", dtype.name)
    if dtype.kind in "US":
        return ValueKind("str" if dtype.kind == "U" else "bytes", dtype.str)
    if dtype.kind in "mM":
        if np.datetime_data(dtype)[0] == "generic":
            what = "times" if dtype.kind == "M" else "durations"
            raise TypeError(f"{name} must be {what} with a unit, got dtype {dtype}")
        return ValueKind("datetime" if dtype.kind == "M" else "timedelta", dtype.name)
    if dtype.kind == "O" and array.size and isinstance(array.flat[0], Decimal):
        return ValueKind("decimal", "object", scale=_scale(array, name))
    if dtype.kind in "OT" and array.size:
        return ValueKind("bytes" if isinstance(array.flat[0], bytes) else "str", "object")
    raise TypeError(
        f"{name} must be integers, booleans, float32 or float64, decimals, dates, timestamps, durations, "
        f"strings or bytes, got dtype {dtype}"
    )


def _scale(numbers: NDArray[Any], name: str) -> int:
    """Return the most digits behind the point of decimal numbers."""
    scale = 0
    for number in numbers.flat:
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int):
            raise ValueError(f"{name} must be finite decimal numbers, got {number}")
        scale = max(scale, -exponent)
    if scale > MAX_SCALE:
        raise ValueError(f"{name} must have at most {MAX_SCALE} digits behind the point, got {scale}")
    return scale
