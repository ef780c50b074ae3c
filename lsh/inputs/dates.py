"""Dates and timestamps of every container, as whole days, or as seconds and nanoseconds since 1970.

A date is a day of the calendar. A timestamp without a time zone is what a clock on a wall shows, and a
timestamp with one is an instant. Nothing tells which instant a clock on a wall means, so these are three
kinds of keys. Within a kind, neither the unit nor the container matters.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import is_null, refuse_nulls

__all__ = [
    "CLOCKS",
    "DATES",
    "INSTANTS",
    "arrow_times",
    "is_time_dtype",
    "list_times",
    "moment_of",
    "numpy_times",
    "polars_instants",
]

#: The kinds, and the letter that the bytes of a key begin with, so that no date is another kind of key.
DATES, CLOCKS, INSTANTS = "date", "datetime", "timestamp"
_LETTERS = {DATES: b"D", CLOCKS: b"L", INSTANTS: b"T"}

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}
_SECONDS = {"m": 60, "h": 3600}
_DAY = 86400
_NAT = np.iinfo(np.int64).min


def is_time_dtype(array: Any) -> bool:
    """Tell whether an array holds NumPy's dates or timestamps."""
    return isinstance(array, np.ndarray) and array.dtype.kind == "M"


def numpy_times(array: NDArray[Any], name: str, kind: str = "") -> tuple[str, NDArray[np.uint8]]:
    """Return the kind of a ``datetime64`` array without NaT, and the bytes of each key in a row.

    With `kind`, that is the kind. Otherwise days are dates, and all finer units are timestamps without a
    time zone.
    """
    unit, step = np.datetime_data(array.dtype)
    if unit not in ("D", *_SECONDS, *_PER_SECOND):
        raise TypeError(
            f"{name} must have days or a finer unit, got dtype {array.dtype}: convert them with "
            f'.astype("datetime64[D]")'
        )
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    ticks = np.ascontiguousarray(native).view(np.int64)
    return _packed(ticks, unit, step, kind or (DATES if unit == "D" else CLOCKS), name)


def _packed(
    ticks: NDArray[np.int64], unit: str, step: int, kind: str, name: str
) -> tuple[str, NDArray[np.uint8]]:
    """Return the kind, and the bytes of times that are counted in multiples of a unit."""
    scale = step * {"D": _DAY if kind != DATES else 1, **_SECONDS}.get(unit, 1)
    if scale > 1:
        if ticks.size and max(int(ticks.max()), -int(ticks.min())) > np.iinfo(np.int64).max // scale:
            raise ValueError(f"{name} must lie within 2**63 seconds of 1970, got {unit} beyond")
        ticks = ticks * scale
    if kind == DATES:
        return kind, _fields(kind, ticks)
    per_second = _PER_SECOND.get(unit, 1)
    seconds = ticks // per_second
    rest = ticks - seconds * per_second
    if per_second > 10**9:
        finer = per_second // 10**9
        if (rest % finer).any():
            raise ValueError(f"{name} must be whole nanoseconds, got finer ones in {unit}")
        return kind, _fields(kind, seconds, rest // finer)
    return kind, _fields(kind, seconds, rest * (10**9 // per_second))


def _fields(
    kind: str, whole: NDArray[np.int64], nanoseconds: NDArray[np.int64] | None = None
) -> NDArray[np.uint8]:
    """Return rows of the letter of a kind, days or seconds in 8 bytes, and nanoseconds in 4."""
    columns: list[tuple[str, Any]] = [("letter", "S1"), ("whole", "<i8")]
    if nanoseconds is not None:
        columns.append(("nanoseconds", "<u4"))
    rows = np.empty(whole.size, np.dtype(columns))
    rows["letter"], rows["whole"] = _LETTERS[kind], whole
    if nanoseconds is not None:
        rows["nanoseconds"] = nanoseconds
    return rows.view(np.uint8).reshape(whole.size, rows.dtype.itemsize)


def list_times(items: Sequence[Any], name: str) -> tuple[str, NDArray[np.uint8]] | None:
    """Read a list of dates or of timestamps, those of NumPy and pandas too; None if it is of neither.

    Raises
    ------
    TypeError
        If the list mixes dates, timestamps with a time zone and timestamps without one.
    """
    types = set(map(type, items))
    if not types or not all(issubclass(t, (dt.date, np.datetime64)) for t in types):
        return None
    if any(t.__name__ == "NaTType" for t in types):
        return None
    refuse_nulls(np.fromiter(map(is_null, items), np.bool_, len(items)), name)
    kinds = {DATES} if types == {dt.date} else {_kind_of(item) for item in items}
    if len(kinds) > 1:
        raise TypeError(
            f"{name} must be all dates, all timestamps with a time zone or all without one, got "
            + " and ".join(sorted(_NAMES[kind] for kind in kinds))
        )
    kind = kinds.pop()
    if kind == DATES:
        days = [item.astype("M8[D]") if isinstance(item, np.datetime64) else item for item in items]
        return numpy_times(np.array(days, "M8[D]"), name)
    if all(t is dt.datetime for t in types) and kind == CLOCKS:
        return numpy_times(np.array(items, "M8[us]"), name)
    pairs = [_seconds_of(item, name) for item in items]
    seconds, nanoseconds = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    return kind, _fields(kind, seconds, nanoseconds)


_NAMES = {DATES: "dates", CLOCKS: "timestamps without a time zone", INSTANTS: "timestamps with a time zone"}
_EPOCH, _MICROSECOND = dt.datetime(1970, 1, 1), dt.timedelta(microseconds=1)


def _kind_of(item: Any) -> str:
    if isinstance(item, np.datetime64):
        return DATES if np.datetime_data(item.dtype)[0] == "D" else CLOCKS
    if not isinstance(item, dt.datetime):
        return DATES
    return CLOCKS if item.utcoffset() is None else INSTANTS


def _seconds_of(item: Any, name: str) -> tuple[int, int]:
    """Return a timestamp as seconds since 1970 and nanoseconds."""
    if isinstance(item, np.datetime64):
        _, row = numpy_times(np.array([item]), name)
        return int(row[:, 1:9].copy().view("<i8")[0, 0]), int(row[:, 9:].copy().view("<u4")[0, 0])
    if hasattr(item, "asm8"):  # a pandas Timestamp, which may lie beyond the years of a datetime
        return _seconds_of(item.tz_convert("UTC").tz_localize(None).asm8 if item.tzinfo else item.asm8, name)
    offset = item.utcoffset() or dt.timedelta(0)
    microseconds = (item.replace(tzinfo=None) - _EPOCH - offset) // _MICROSECOND
    seconds, rest = divmod(microseconds, 10**6)
    return seconds, rest * 1000


def arrow_times(chunk: Any, name: str) -> tuple[str, NDArray[np.uint8]] | None:
    """Read an Arrow array of dates or timestamps without nulls; None if it has another type."""
    import pyarrow as pa

    kind = chunk.type
    if pa.types.is_date32(kind):
        days = chunk.view(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int64)
        return DATES, _fields(DATES, days)
    if pa.types.is_date64(kind):
        milliseconds = chunk.view(pa.int64()).to_numpy(zero_copy_only=False)
        return DATES, _fields(DATES, milliseconds // (_DAY * 1000))
    if not pa.types.is_timestamp(kind):
        return None
    ticks = chunk.view(pa.int64()).to_numpy(zero_copy_only=False)
    return _packed(ticks, kind.unit, 1, CLOCKS if kind.tz is None else INSTANTS, name)


def polars_instants(column: Any) -> NDArray[Any] | None:
    """Return a polars Series of timestamps with a time zone as ``datetime64`` in UTC; None for others.

    NumPy would get the time of the zone's clocks.
    """
    if getattr(getattr(column, "dtype", None), "time_zone", None) is None:
        return None
    unit = column.dtype.time_unit
    return np.asarray(column.to_physical().fill_null(_NAT)).view(f"M8[{unit}]")


def moment_of(raw: bytes) -> Any:
    """Return the date or timestamp of a key's bytes; ValueError if they are of none.

    That is a `datetime.date` or `datetime.datetime`, the latter in UTC if it has a time zone. What these
    cannot hold (nanoseconds, years beyond 9999) is a `numpy.datetime64`, in UTC.
    """
    kinds = {letter: kind for kind, letter in _LETTERS.items()}
    kind = kinds.get(raw[:1])
    if kind is None or len(raw) != (9 if kind == DATES else 13):
        raise ValueError(f"a date must have 9 bytes and a timestamp 13, got {raw!r}")
    whole = int.from_bytes(raw[1:9], "little", signed=True)
    if kind == DATES:
        return np.datetime64(whole, "D").item() if _is_in_years(whole * _DAY) else np.datetime64(whole, "D")
    nanoseconds = int.from_bytes(raw[9:], "little")
    if nanoseconds >= 10**9:
        raise ValueError(f"a timestamp must have fewer than 10**9 nanoseconds, got {nanoseconds}")
    if nanoseconds % 1000 == 0 and _is_in_years(whole):
        moment = _EPOCH + dt.timedelta(seconds=whole, microseconds=nanoseconds // 1000)
        return moment if kind == CLOCKS else moment.replace(tzinfo=dt.UTC)
    unit: Any
    for unit, per_second in _PER_SECOND.items():
        if nanoseconds % (10**9 // per_second) == 0:
            return np.datetime64(whole * per_second + nanoseconds * per_second // 10**9, unit)
    raise AssertionError("a nanosecond is a unit")


def _is_in_years(seconds: int) -> bool:
    """Tell whether a time lies in the years 1 to 9999."""
    return -62135596800 <= seconds < 253402300800
